"""An instance's own copy of what the fleet's store holds, in a SQLite file.

Owns how the two chains are compared, and what each can give the other. It decides nothing: the control plane
says when the copy follows, refills or gives way. Must never know what a state means.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.core.audit import GENESIS, Head, Record
from proxy.core.peers import Followed, Kept, Standing
from proxy.errors import ForeignFile, StoreCorrupt, StoreUnavailable
from proxy.stores.redis_refill import refill
from proxy.stores.sqlite_copy import begin_behind, cut_behind, kept_in, take_in
from proxy.stores.sqlite_file import set_aside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from proxy.core.audit import Begin
    from proxy.ports import Trail
    from proxy.stores.redis_store import RedisStore
    from proxy.stores.sqlite import SqliteStore

log = logging.getLogger("dualpath.fleet")

_PAGE: Final = 200
_MOST_LOST: Final = 20
_ATTEMPTS: Final = 3  # how often others may be quicker with refilling


class FleetCopy:
    """`ports.Copy` of `store` in `file`."""

    def __init__(self, store: RedisStore, file: SqliteStore) -> None:
        self._store = store
        self._file = file
        self._own = Kept(Head(), {})
        self._trouble = ""  # why the file does not take anything
        self._unlike: Head | None = None  # an end of the shared chain that cannot be reached from ours

    async def open(self) -> Kept:
        """What was last followed. A file that cannot be used is set aside if the shared store answers and
        holds something; else it is left as it is, because it may be all that there is."""
        try:
            await self._file.open()
            self._own = await kept_in(self._file)
        except ForeignFile:
            raise
        except StoreCorrupt as error:
            await self._file.close()
            await self._begin_anew(error)
        return self._own

    async def _begin_anew(self, damage: StoreCorrupt) -> None:
        try:
            shared = await self._store.kept()
        except StoreUnavailable as gone:
            raise StoreCorrupt(f"{damage}; and the shared store does not help: {gone}") from None
        if not shared.head.seq:  # restarted empty, perhaps: what was aborted would begin as configured
            raise StoreCorrupt(f"{damage}; and the shared store holds nothing")
        aside = set_aside(self._file.path)
        log.error(
            "the copy of the shared store cannot be used: %s; it is %s now, and begins anew", damage, aside
        )
        await self._file.open()
        self._own = await kept_in(self._file)

    async def follow(self) -> Followed:
        """Copy what is new, a page of it at most: whoever asks does so again for the rest."""
        before, shared = self._own, await self._store.kept()
        fork = await self._fork(before, shared)
        if fork == before.head.seq:
            if _has_lost_states(before, shared):
                return Followed(Standing.SHORTER, shared, before)
            left = await self._take(shared)
            return Followed(Standing.SAME, shared, before, left=left)
        standing = Standing.SHORTER if fork == shared.head.seq else Standing.DIVERGED
        lost = (await self._file.records(after=fork, limit=_MOST_LOST)).records
        return Followed(standing, shared, before, lost, before.head.seq - fork)

    async def refill(self) -> Kept:
        """Give the shared store what it has lost."""
        for _ in range(_ATTEMPTS):
            own, shared = self._own, await self._store.kept()
            fork = await self._fork(own, shared)
            if fork == own.head.seq and own.states and _has_lost_states(own, shared):
                own = replace(shared, states={**own.states, **shared.states})
            elif fork == own.head.seq or fork != shared.head.seq:
                return shared
            if await refill(self._store, shared.head, own, self._behind(shared.head.seq, own.head.seq)):
                break
        return await self._store.kept()

    async def adopt(self) -> Kept:
        """Take the shared chain in place of ours."""
        shared = await self._store.kept()
        fork = await self._fork(self._own, shared)
        if fork < self._own.head.seq:
            await cut_behind(self._file, fork)
            self._own = await kept_in(self._file)
        while await self._take(shared):
            pass
        return self._own

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()

    def __repr__(self) -> str:
        return f"FleetCopy({self._file!r} of {self._store!r}, {self._own.head.seq} events)"

    # ... from there to here

    async def _take(self, shared: Kept) -> int:
        """Add what the shared chain has beyond ours, a page at most; how much is left. Where it has a fault,
        ours ends before that, and the states are followed all the same."""
        own = self._own.head
        if own.seq < shared.begin.seq:  # what follows ours is forgotten there: it is no use any more
            began = await self._into_anew(shared.begin)
            if began is None:
                self._own = replace(shared, head=own, begin=self._own.begin)
                return 0
            own = began
            self._own = replace(self._own, head=own, begin=shared.begin)
        await self._forget(shared.begin)
        if _same(own, shared.head) or self._unlike == shared.head:
            self._own = replace(shared, head=own, begin=self._own.begin)
            return 0
        written: Head | None = None
        if own.seq < shared.head.seq:
            limit = min(_PAGE, shared.head.seq - own.seq)
            page = (await self._store.records(after=own.seq, limit=limit)).records
            wanted = [record for record in page if record.seq <= shared.head.seq]
            written = await self._into_file(wanted, shared)  # what is in force is known after a crash, too
            if written is not None and own.seq < written.seq < shared.head.seq:
                self._own = replace(shared, head=written, begin=self._own.begin)
                return shared.head.seq - written.seq
            own = own if written is None else written
        if written is None:
            written = await self._into_file((), shared)
        self._unlike = None if written is None or _same(own, shared.head) else shared.head
        self._own = replace(shared, head=own, begin=self._own.begin)
        return 0

    async def _forget(self, begin: Begin) -> None:
        """What the shared store has forgotten."""
        if begin.seq <= self._own.begin.seq or begin.seq >= self._own.head.seq:
            return
        try:
            if await self._file.trim(Record(begin.seq, "", begin.hash)):
                self._own = replace(self._own, begin=begin)
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("the copy of the shared store forgets nothing: %s", error)

    async def _into_file(self, records: Sequence[Record], shared: Kept | None = None) -> Head | None:
        """Where the file's chain ends then; None if it takes nothing. A full disk is no reason not to follow
        what others decide: what is missing is added as soon as that can be written."""
        return await self._tried(take_in(self._file, records, shared))

    async def _into_anew(self, begin: Begin) -> Head | None:
        return await self._tried(begin_behind(self._file, begin))

    async def _tried(self, writing: Awaitable[Head]) -> Head | None:
        try:
            end = await writing
        except (StoreUnavailable, StoreCorrupt) as error:
            if str(error) != self._trouble:
                log.error("the copy of the shared store cannot be written: %s", error)
            self._trouble = str(error)
            return None
        self._trouble = ""
        return end

    # ... from here to there

    async def _behind(self, after: int, upto: int) -> AsyncIterator[Sequence[Record]]:
        while after < upto:
            page = (await self._file.records(after=after, limit=min(_PAGE, upto - after))).records
            if not page:
                return
            after = page[-1].seq
            yield page

    # ... both

    async def _fork(self, own: Kept, shared: Kept) -> int:
        """The last event that both chains have."""
        low, high = 0, min(own.head.seq, shared.head.seq)
        if own.head.seq < shared.begin.seq:
            return own.head.seq  # nobody knows any more, and nothing of ours is asked for
        if (least := max(own.begin.seq, shared.begin.seq)) <= high:
            low = least
        if _same(own.head, shared.head) or await self._agree(high, own, shared):
            return high
        while high - low > 1:  # they agree at `low`, and not at `high`
            middle = (low + high) // 2
            if await self._agree(middle, own, shared):
                low = middle
            else:
                high = middle
        return low

    async def _agree(self, seq: int, own: Kept, shared: Kept) -> bool:
        if seq == 0:
            return True
        mine = own.head.hash if seq == own.head.seq else await _hash_at(self._file, seq)
        theirs = shared.head.hash if seq == shared.head.seq else await _hash_at(self._store, seq)
        return mine is not None and mine == theirs


def _has_lost_states(own: Kept, shared: Kept) -> bool:
    """Whether somebody has removed states, such as an eviction: what was stored stays so."""
    return bool(own.states.keys() - shared.states.keys()) or (shared.head.seq > 0 and not shared.states)


def _same(one: Head, other: Head) -> bool:
    return (one.seq, one.hash) == (other.seq, other.hash)


async def _hash_at(trail: Trail, seq: int) -> str | None:
    """The hash of one event; None if it is not there."""
    if seq == 0:
        return GENESIS
    page = await trail.records(after=seq - 1, limit=1)
    if page.begin.seq == seq:
        return page.begin.hash
    return page.records[0].hash if page.records and page.records[0].seq == seq else None
