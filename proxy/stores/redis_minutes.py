"""Minutes in Redis, a sorted set for each rollout.

Owns these sets and the index of their names. What is forgotten is forgotten in small pieces, so that nothing
waits long for it: Redis does one thing at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.errors import StoreCorrupt
from proxy.stores.minute_records import decode_minute, encode_minute
from proxy.stores.redis_scripts import KEEP_MINUTES, PRUNE_MINUTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.minute import Minute
    from proxy.stores.redis_store import RedisStore

_TRIAL: Final = "0" * 32_768
_TRIAL_MS: Final = 1_000


class RedisMinutes:
    """`ports.Minutes` where `store` is."""

    def __init__(self, store: RedisStore) -> None:
        self._link = store.link
        self._keys = store.keys

    async def append(self, minutes: Sequence[Minute]) -> None:
        """Keep them all, or none."""
        names = sorted({minute.rollout for minute in minutes})
        if not names:
            return
        values: list[str | float] = [len(names), *names]
        for minute in minutes:
            place = names.index(minute.rollout) + 1
            values += [place, repr(minute.at), f"{minute.at!r} {encode_minute(minute)}"]
            await asyncio.sleep(0)  # requests have their turn in between
        await self._link.run(KEEP_MINUTES, self._all_keys(names), *values)

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        """Those of one rollout that began then, oldest first."""
        if limit <= 0:
            return []
        key = self._keys.minutes_of(rollout)
        rows = await self._link.call("ZRANGEBYSCORE", key, repr(start), f"({end!r}", "LIMIT", 0, limit)
        found = []
        for row in rows:
            found.append(self._minute(rollout, row))
            await asyncio.sleep(0)
        return found

    async def prune(self, before: float, limit: int) -> int:
        """Forget the oldest. Returns how many. Before all time there is nothing to forget: who asks for that
        wants to know whether the store can be written, which is tried."""
        if before < 0.0:
            await self._link.call("SET", self._keys.trial, _TRIAL, "PX", _TRIAL_MS)
            return 0
        kept = await self._link.call("SMEMBERS", self._keys.minutes)
        names = sorted(name.decode(errors="replace") for name in kept)
        if not names:
            return 0
        gone = await self._link.run(PRUNE_MINUTES, self._all_keys(names), repr(before), max(limit, 0), *names)
        return int(gone)

    def __repr__(self) -> str:
        return f"RedisMinutes({str(self._link.place)!r}, {self._keys.prefix!r})"

    def _all_keys(self, names: Sequence[str]) -> list[str]:
        return [self._keys.minutes, *map(self._keys.minutes_of, names)]

    def _minute(self, rollout: str, row: bytes) -> Minute:
        at, _, record = row.partition(b" ")
        try:
            return decode_minute(rollout, float(at), record)
        except (StoreCorrupt, ValueError) as error:
            shown = at[:40].decode(errors="replace")
            raise StoreCorrupt(f"{self._link.place}: minute {shown} of {rollout!r}: {error}") from None
