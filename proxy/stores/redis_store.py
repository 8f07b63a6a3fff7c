"""The store in a Redis or Valkey that several instances share: state and audit in one script.

Owns how a transition becomes a link of the chain there. Must never know what a rollout may do, nor who
judges: it is told the lease, and Redis says whether that still holds.

A commit looks, computes the hash of its record, and has a script write all of it if nothing has moved since:
neither the end of the chain nor the state that the transition starts from. Whoever was slower looks again.
The script refuses to run once its writer has given up waiting, by Redis' own clock: a write that was not
answered in time is done already or never. One that is cancelled runs to its end all the same, and later calls
wait for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from proxy.core.audit import TrailPage, link
from proxy.core.peers import Kept, needs_fence
from proxy.errors import RevisionConflict, StaleFence, StoreCorrupt, StoreUnavailable
from proxy.model import Event
from proxy.stores.records import decode_transition, encode_transition, require_successor
from proxy.stores.redis_fitness import require_fit
from proxy.stores.redis_keys import FORMAT
from proxy.stores.redis_records import (
    begin_of,
    encode_override,
    encode_state,
    entry_number,
    kept_head,
    lease_text,
    override_field,
    overrides_of,
    present_head,
    record_of,
    state_of,
    states_of,
)
from proxy.stores.redis_scripts import COMMIT, LOOK, OF_ROLLOUT, PAGE, SNAPSHOT, TRIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.audit import Record
    from proxy.core.peers import Lease
    from proxy.model import KeyOverride, RolloutState, Transition
    from proxy.stores.redis_keys import Keys
    from proxy.stores.redis_link import RedisLink

_ATTEMPTS: Final = 8  # how often others may be quicker
_PAUSE_S: Final = 0.02
_MOST_PAUSE_S: Final = 0.1
_END: Final = "-"
_LAST: Final = "+"
_BEYOND: Final = 1 << 62  # no event has this number


class _Moved(Exception):
    """Somebody else was quicker."""


@dataclass(frozen=True, slots=True)
class _Override:
    """What a commit does to an override: keep `text`, or nothing any more."""

    field: str = ""
    text: str = ""


class RedisStore:
    """`ports.Store`, `OverrideStore`, `Trail` and `Fenced` in Redis. Usable by any number of processes.

    Raises `StoreUnavailable` (cannot be reached, slow, full, read-only), `StoreCorrupt` (holds what is not
    ours), `RevisionConflict` and `StaleFence`.
    """

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self.link = link
        self.keys = keys
        self._lease: Lease | None = None
        self._writing: asyncio.Lock = asyncio.Lock()

    async def open(self) -> None:
        """Whether it can be reached, and holds what we can read. An empty one is fine."""
        try:
            await self.kept()
            await require_fit(self.link, self.keys.head)
        except BaseException:
            await self.link.close()
            raise

    async def load(self) -> Mapping[str, RolloutState]:
        """The present state of every rollout, by name."""
        return (await self.kept()).states

    async def commit(self, transition: Transition) -> Event:
        """Write state and event in one step, if `before.revision` is still the stored one."""
        return await self._in_turn(transition, _Override())

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with `seq` > `after`, oldest first, at most `limit`; `after=-1` gives the newest `limit`."""
        await self._settled()
        if limit <= 0:
            return []
        command, start, end = ("XREVRANGE", _LAST, _END) if after < 0 else ("XRANGE", _behind(after), _LAST)
        if rollout is None:
            entries = await self.link.call(command, self.keys.audit, start, end, "COUNT", limit)
        else:
            entries = await self._of_rollout(command, start, end, limit, rollout)
        events = [self._event(entry) for entry in entries]
        return events[::-1] if after < 0 else events

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """Records as they were written, and where the chain ends."""
        await self._settled()
        start, limit = (_behind(after), limit) if limit > 0 else (_behind(_BEYOND), 1)
        told, entries = await self.link.run(PAGE, (self.keys.head, self.keys.audit), start, limit)
        records = tuple(record_of(entry) for entry in entries)
        return TrailPage(records, kept_head(self._place, told), begin_of(told))

    async def trim(self, upto: Record) -> bool:
        """Forget the oldest events."""
        keys = (self.keys.head, self.keys.audit)
        return bool(await self.link.run(TRIM, keys, upto.seq, upto.hash))

    async def overrides(self) -> Sequence[KeyOverride]:
        """All overrides, by rollout and key."""
        return (await self.kept()).overrides

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        """Keep `override` and write `event`, in one step."""
        field = override_field(override.rollout, override.key)
        return await self._in_turn(event, _Override(field, encode_override(override)))

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        """Keep the override no longer and write `event`, in one step."""
        return await self._in_turn(event, _Override(override_field(rollout, key)))

    def fence(self, lease: Lease | None) -> None:
        """By which what only a judge may write is written from now on."""
        self._lease = lease

    async def kept(self) -> Kept:
        """All that is in force, and where the audit ends, as of one moment."""
        await self._settled()
        keys = (self.keys.head, self.keys.audit, self.keys.states, self.keys.overrides)
        told, states, overrides = await self.link.run(SNAPSHOT, keys)
        return Kept(
            present_head(self._place, told),
            states_of(self._place, states),
            overrides_of(self._place, overrides),
            begin_of(told),
        )

    async def close(self) -> None:
        """Wait for what runs, then close. Closing twice is fine."""
        await self._settled()
        await self.link.close()

    def __repr__(self) -> str:
        return f"RedisStore({self._place!r}, {self.keys.prefix!r})"

    @property
    def _place(self) -> str:
        return str(self.link.place)

    # ... one write at a time, to its end

    async def _in_turn(self, transition: Transition, override: _Override) -> Event:
        require_successor(transition)
        return await asyncio.shield(asyncio.ensure_future(self._persistently(transition, override)))

    async def _settled(self) -> None:
        async with self._writing:
            pass

    async def _persistently(self, transition: Transition, override: _Override) -> Event:
        async with self._writing:
            try:
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(_Moved),
                    stop=stop_after_attempt(_ATTEMPTS),
                    wait=wait_random_exponential(_PAUSE_S, _MOST_PAUSE_S),
                    reraise=True,
                ):
                    with attempt:
                        return await self._write(transition, override)
            except _Moved:
                pass
        raise StoreUnavailable(f"{self._place}: others write without a pause, or the clock there leaps")

    async def _write(self, transition: Transition, override: _Override) -> Event:
        name = transition.after.name
        keys = (self.keys.head, self.keys.audit, self.keys.states)
        told, state, now_ms = await self.link.run(LOOK, keys, name)
        head = present_head(self._place, told)
        self._require_revision(transition, state)
        seq, text = max(head.seq, entry_number(told[4])) + 1, encode_transition(transition)
        event = Event(seq, transition, link(head.hash, seq, text))
        lease = self._fencing(transition)
        answer = await self.link.run(
            COMMIT,
            (*(self.keys.head, self.keys.states, self.keys.overrides), self.keys.audit, self.keys.lease),
            int(now_ms + self.link.timeout_s * 1000),
            FORMAT,
            told[1] or b"",
            told[2] or b"",
            lease,
            name,
            state or b"",
            encode_state(transition.after) if transition.changes_state else b"",
            seq,
            text,
            event.hash,
            head.adopted,
            self.keys.changes,
            override.field,
            override.text,
        )
        if answer == b"fenced":
            raise StaleFence(f"{name}: another instance judges by now, or none: {transition.reason}")
        if answer != b"done":
            raise _Moved
        return event

    def _fencing(self, transition: Transition) -> str:
        if not needs_fence(transition):
            return ""
        if self._lease is None:
            raise StaleFence(f"{transition.after.name}: this instance does not judge: {transition.reason}")
        return lease_text(self._lease)

    def _require_revision(self, transition: Transition, kept: bytes | None) -> None:
        name, expected = transition.after.name, transition.before.revision
        if kept is None:
            if expected or not transition.changes_state:
                raise RevisionConflict(f"rollout {name!r} is not stored")
        elif (present := state_of(self._place, name.encode(), kept)).revision != expected:
            raise RevisionConflict(f"rollout {name!r} is at revision {present.revision}, not {expected}")
        elif transition.changes_state and present != transition.before:  # written where ours was lost
            raise RevisionConflict(f"rollout {name!r} has another revision {expected}: {present.reason}")

    # ... what was read

    async def _of_rollout(self, command: str, start: str, end: str, limit: int, rollout: str) -> list[Any]:
        found: list[Any] = []
        while True:
            last, some = await self.link.run(
                OF_ROLLOUT, (self.keys.audit,), command, start, end, limit - len(found), rollout
            )
            found += some
            if not last or len(found) >= limit:
                return found
            start = "(" + last.decode()

    def _event(self, entry: Any) -> Event:
        record = record_of(entry)
        try:
            return Event(record.seq, decode_transition(record.text), record.hash)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{self._place}: event {record.seq}: {error}") from None


def _behind(after: int) -> str:
    """The first id behind the event with this number; of the beginning what nobody of us has written too."""
    return f"{after + 1}-0" if after else _END
