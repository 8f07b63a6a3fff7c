"""The audit's oldest events, forgotten once their time is over.

Owns when that is looked after. Where several instances share a store its judge does it, and the copies of all
follow. Must never know how the chain is kept whole.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import orjson

from proxy.core.fleet import Role
from proxy.core.trimming import last_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.audit import Record
    from proxy.ports import Clock, Trail, Trimming

log = logging.getLogger("dualpath.control")

_PAGE: Final = 500
_MOST_PAGES: Final = 20  # at one time; the rest is forgotten the next time


class Trimmer:
    """`look` from time to time. `retention_s` says how long events are kept; 0 keeps them all."""

    def __init__(
        self,
        trail: Trail,
        trimming: Trimming | None,
        clock: Clock,
        role: Callable[[], Role],
        retention_s: Callable[[], float],
    ) -> None:
        self._trail = trail
        self._trimming = trimming
        self._clock = clock
        self._role = role
        self._retention_s = retention_s

    async def look(self) -> None:
        """Forget what is over. Raises as the store does."""
        retention_s = self._retention_s()
        if self._trimming is None or retention_s <= 0 or self._role() is not Role.JUDGE:
            return
        before, last = self._clock.wall() - retention_s, None
        for _ in range(_MOST_PAGES):
            page = await self._trail.records(limit=_PAGE)
            over = last_over(page.records, page.head.seq, before, _instant)
            if over is None or not await self._trimming.trim(over):
                break
            last = over
        if last is not None:
            log.info("audit: what is older than %g s is forgotten, up to event %d", retention_s, last.seq)

    def __repr__(self) -> str:
        return f"Trimmer({self._trimming!r}, {self._retention_s():g} s)"


def _instant(record: Record) -> float | None:
    """When it happened; None if that cannot be read."""
    try:
        at = orjson.loads(record.text)["at"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return float(at) if isinstance(at, int | float) else None
