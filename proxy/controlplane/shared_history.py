"""The audit as people read it: from the shared store, or while that does not answer from our own copy.

Owns the choice, and that it can be told. Whoever decides what to write next reads the store itself: the copy
may lack the newest events. Must never know what a record tells.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from proxy.errors import StoreCorrupt, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.controlplane.shared_store import SharedStore
    from proxy.core.audit import TrailPage
    from proxy.model import Event
    from proxy.ports import History, Trail

T = TypeVar("T")

log = logging.getLogger("dualpath.fleet")

_PATIENCE_S: Final = 1.0
"""Less than whoever asks has, however long `store.timeout` is: there must be time left for the copy."""


class SharedHistory:
    """`ports.History` and `ports.Trail`. `is_local` says where what was read last has come from."""

    def __init__(
        self, store: SharedStore, trail: Trail, own: History, patience_s: float = _PATIENCE_S
    ) -> None:
        self.is_local = False
        self._patience_s = patience_s
        self._store = store
        self._trail = trail
        self._own = own

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """As `ports.Store.events`."""
        return await self._either(
            lambda: self._store.events(after=after, limit=limit, rollout=rollout),
            lambda: self._own.events(after=after, limit=limit, rollout=rollout),
        )

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """As `ports.Trail.records`."""
        return await self._either(
            lambda: self._records(after, limit),
            lambda: self._own.records(after=after, limit=limit),
        )

    async def _records(self, after: int, limit: int) -> TrailPage:
        self._store.require_reached()
        return await self._trail.records(after=after, limit=limit)

    async def _either(self, shared: Callable[[], Awaitable[T]], own: Callable[[], Awaitable[T]]) -> T:
        """Raises what the store has said if the copy cannot be read either."""
        try:
            found = await self._in_time(shared())
        except StoreUnavailable as gone:
            try:
                found = await own()
            except (StoreUnavailable, StoreCorrupt) as error:
                log.warning("the copy of the audit cannot be read either: %s", error)
                raise gone from None
            self.is_local = True
            return found
        self.is_local = False
        return found

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._patience_s):
                return await answer
        except TimeoutError:
            raise StoreUnavailable(
                f"the shared store has not answered within {self._patience_s:g} s"
            ) from None

    def __repr__(self) -> str:
        return f"SharedHistory({self._store!r}, {self._own!r})"
