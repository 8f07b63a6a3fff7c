"""What is looked up in the store: the audit as it was written, and the minutes of a rollout.

Owns how much is read at a time, and that a store which does not answer keeps nobody waiting. Must never know
a request; the application hands it what was asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from proxy.admin import views
from proxy.core.audit import Head, TrailPage
from proxy.errors import StoreCorrupt, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.admin.inputs import MinuteQuery
    from proxy.core.minute import Minute
    from proxy.ports import Minutes, Trail

T = TypeVar("T")

_TIMEOUT_S = 2.0
_NEVER = -1.0  # no minute began before
_AT_ONCE = 60  # minutes in one question to the store; between any two of them requests have their turn


class Archive:
    """Reads from the ports that the composition root fills in; without them there is nothing to be read."""

    def __init__(
        self,
        trail: Trail | None = None,
        minutes: Minutes | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        is_local: Callable[[], bool] = lambda: False,
    ) -> None:
        self.is_local = is_local  # whether what was read of the audit last is only what this instance knows
        self._trail = trail
        self._minutes = minutes
        self._timeout_s = timeout_s

    async def records(self, *, after: int, limit: int) -> views.JsonObject:
        """A page of records, and the head. Raises `StoreUnavailable`, `StoreCorrupt`."""
        page = TrailPage((), Head())
        if self._trail is not None:
            page = await self._within(self._trail.records(after=after, limit=limit))
        return views.trail_view(page, local_only=self.is_local())

    async def minutes(self, rollout: str, query: MinuteQuery) -> views.JsonObject:
        """The minutes of a rollout that began in `query`'s time. Raises `StoreUnavailable`,
        `StoreCorrupt`."""
        shown: list[views.JsonObject] = []
        start, more = query.start, True
        while more and len(shown) < query.limit:
            wanted = min(_AT_ONCE, query.limit - len(shown))
            part = await self._part(rollout, start, query.end, wanted)
            for minute in part:
                shown.append(views.minute_view(minute))
                await asyncio.sleep(0)
            more = len(part) == wanted
            start = _behind(part[-1].at) if part else start
        more = more and start < query.end
        return {"rollout": rollout, "minutes": shown, "next": views.instant(start) if more else None}

    async def trouble(self) -> str | None:
        """Why the store cannot be written; None if it can. It is tried, with a write that changes nothing."""
        if self._minutes is None:
            return None
        try:
            await self._within(self._minutes.prune(_NEVER, 1))
        except (StoreUnavailable, StoreCorrupt) as error:
            return str(error)
        return None

    async def _part(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        if self._minutes is None:
            return ()
        return await self._within(self._minutes.between(rollout, start, end, limit))

    async def _within(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None

    def __repr__(self) -> str:
        return f"Archive({self._trail!r}, {self._minutes!r})"


def _behind(at: float) -> float:
    """The next instant that can be written: minutes begin at whole milliseconds."""
    return round(at + 0.001, 3)
