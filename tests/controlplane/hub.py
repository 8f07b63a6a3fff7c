"""A store that several controllers of one test share, with everything that `ports` asks of one, in memory.

Time is the test's. It can be gone, lose its newest events, or be written by somebody else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from proxy.controlplane.controller import Controller
from proxy.controlplane.fleet import About, Fleet
from proxy.controlplane.mending import Place
from proxy.controlplane.shared_evidence import SharedEvidence
from proxy.controlplane.shared_store import SharedStore
from proxy.controlplane.store_clock import StoreClock
from proxy.core.audit import Head
from proxy.core.peers import (
    Dispatch,
    Exchange,
    Followed,
    Identity,
    Journalled,
    Kept,
    Lease,
    Member,
    Presence,
    Standing,
    needs_fence,
)
from proxy.errors import StaleFence, StoreUnavailable
from proxy.stores.memory import MemoryStore
from proxy.stores.records import decode_transition
from tests.fakes import (
    FakeClock,
    FakeEndpoints,
    FakeRandom,
    FakeRouter,
    RecordingOverrides,
    RecordingSink,
    ScriptedEvidence,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from proxy.config.schema import Config
    from proxy.core.audit import Record
    from proxy.core.notice import Notice
    from proxy.model import Event, RolloutState, Transition

LEASE_S = 2.0


class Hub:
    """What is shared."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.gone = False
        self.token = 0
        self.lease: tuple[Identity, int, float] | None = None
        self.reports: list[Dispatch] = []
        self.present: dict[Identity, Member] = {}
        self.refilled: list[int] = []  # each time, with how many events
        self.page = 1_000  # reports that are given at once, at most
        self.journal: dict[int, bytes] = {}
        self.heard = b""
        self.told = 0  # reports that were read, by whomever

    def answer(self) -> None:
        """Raises if it does not."""
        if self.gone:
            raise StoreUnavailable("gone")

    def holder(self) -> Lease | None:
        """Who judges now."""
        if self.lease is None or self.lease[2] <= self.clock.wall():
            return None
        return Lease(self.lease[0], self.lease[1], self.lease[2] - self.clock.wall())

    async def records(self) -> Sequence[Record]:
        """The whole audit."""
        return (await self.store.records(after=0, limit=10_000)).records

    async def lose(self, newest: int) -> None:
        """Forget the newest events, as a replica does that was behind."""
        kept = (await self.records())[:-newest]
        self.store = await restored(kept)


async def restored(records: Sequence[Record]) -> MemoryStore:
    """A store with exactly these records, and the states that they end in."""
    store = MemoryStore()
    for record in records:
        await store.commit(decode_transition(record.text))
    return store


class HubStore:
    """`ports.Store`, `OverrideStore` and `Fenced` of one instance."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lease: Lease | None = None

    def fence(self, lease: Lease | None) -> None:
        self._lease = lease

    async def open(self) -> None:
        self._hub.answer()

    async def load(self) -> Mapping[str, RolloutState]:
        self._hub.answer()
        return await self._hub.store.load()

    async def commit(self, transition: Transition) -> Event:
        self._hub.answer()
        now = self._hub.holder()
        if needs_fence(transition) and (self._lease is None or now is None or now.token != self._lease.token):
            raise StaleFence("another judges")
        return await self._hub.store.commit(transition)

    async def events(self, **wanted: Any) -> Sequence[Event]:
        self._hub.answer()
        return await self._hub.store.events(**wanted)

    async def overrides(self) -> Sequence[Any]:
        self._hub.answer()
        return await self._hub.store.overrides()

    async def put(self, override: Any, event: Transition) -> Event:
        self._hub.answer()
        return await self._hub.store.put(override, event)

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        self._hub.answer()
        return await self._hub.store.remove(rollout, key, event)

    async def close(self) -> None:
        pass


class HubPeers:
    """`ports.Peers` of one instance."""

    def __init__(self, hub: Hub, identity: Identity) -> None:
        self._hub = hub
        self._me = identity
        self.listening: list[AsyncGenerator[int | None, None]] = []  # held, so that nobody closes it unasked
        self.open = 0

    async def exchange(self, presence: Presence) -> Exchange:
        hub = self._hub
        hub.answer()
        now = hub.clock.wall()
        for number, report in presence.reports:
            hub.reports.append(Dispatch(str(len(hub.reports) + 1), now, self._me, number, report))
        hub.present[self._me] = Member(self._me, now, presence.record)
        holder = hub.holder()
        if holder is None:
            hub.token += 1
            hub.lease = (self._me, hub.token, now + presence.lease_s)
        elif holder.holder == self._me:
            hub.lease = (self._me, holder.token, now + presence.lease_s)
        return Exchange(now, (await hub.store.records(after=0, limit=0)).head, hub.holder())

    async def members(self) -> Sequence[Member]:
        self._hub.answer()
        return list(self._hub.present.values())

    async def dispatches(
        self, after: str = "", *, since: float = 0.0, limit: int = 1000
    ) -> Sequence[Dispatch]:
        self._hub.answer()
        behind = int(after or 0)
        found = [one for one in self._hub.reports[behind:] if after or one.at >= since]
        found = found[: min(limit, self._hub.page)]
        self._hub.told += len(found)
        return found

    def changes(self) -> AsyncGenerator[int | None, None]:
        self.listening.append(self._changes())
        return self.listening[-1]

    async def _changes(self) -> AsyncGenerator[int | None, None]:
        self.open += 1
        try:
            yield None
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def leave(self) -> None:
        self._hub.answer()
        self._hub.lease = None
        self._hub.present.pop(self._me, None)


class HubJournal:
    """`ports.Journal`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def keep(
        self, lease: Lease, entries: Sequence[tuple[int, bytes]], heard: bytes, *, window_s: float, anew: bool
    ) -> bool:
        hub = self._hub
        hub.answer()
        holder = hub.holder()
        if holder is None or (holder.holder, holder.token) != (lease.holder, lease.token):
            return False
        hub.journal = ({} if anew else hub.journal) | dict(entries)
        hub.heard = heard
        return True

    async def kept(self, since: int, after: int, limit: int) -> Journalled:
        self._hub.answer()
        found = [one for one in sorted(self._hub.journal.items()) if one[0] > max(since, after)]
        return Journalled(found[: min(limit, self._hub.page)], b"" if found else self._hub.heard)


class HubCopy:
    """`ports.Copy` of one instance."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.own: Sequence[Record] = ()
        self._kept = Kept(Head(), {})

    async def open(self) -> Kept:
        return self._kept

    async def follow(self) -> Followed:
        self._hub.answer()
        theirs, mine = await self._hub.records(), self.own
        shared = Kept(head_of(theirs), await self._hub.store.load(), tuple(await self._hub.store.overrides()))
        if [one.hash for one in theirs[: len(mine)]] == [one.hash for one in mine]:
            self.own, self._kept = theirs, shared
            return Followed(Standing.SAME, shared, shared)
        shorter = [one.hash for one in mine[: len(theirs)]] == [one.hash for one in theirs]
        lost = tuple(one for one in mine if one.hash not in {other.hash for other in theirs})
        standing = Standing.SHORTER if shorter else Standing.DIVERGED
        return Followed(standing, shared, self._kept, lost, len(lost))

    async def refill(self) -> Kept:
        self._hub.answer()
        self._hub.store = await restored(self.own)
        self._hub.refilled.append(len(self.own))
        return self._kept

    async def adopt(self) -> Kept:
        self.own = await self._hub.records()
        return self._kept

    async def close(self) -> None:
        pass


def head_of(records: Sequence[Record]) -> Head:
    return Head(records[-1].seq, records[-1].hash) if records else Head()


class Instance:
    """One instance on a hub."""

    def __init__(self, hub: Hub, config: Config, name: str, epoch: str = "1") -> None:
        self.hub = hub
        identity = Identity(name, epoch)
        self.own = ScriptedEvidence(len(config.rollouts))
        self.sink = RecordingSink()
        self.announced: list[Notice] = []
        self.copy = HubCopy(hub)
        self.inner = HubStore(hub)
        self.peers = HubPeers(hub, identity)
        self.journal = HubJournal(hub)
        self.store = SharedStore(self.inner, self.inner, self.copy)
        self.evidence = SharedEvidence(
            self.own, config.rollouts, identity, lambda name: self.controller.revision(name)
        )
        place = Place(
            identity,
            self.store,
            self.inner,
            self.peers,
            self.copy,
            self.journal,
            StoreClock(hub.clock),
            LEASE_S,
            60.0,
        )
        about = About(lambda: f"{name}:9900", lambda: 2, lambda: "same")
        self.fleet = Fleet(place, lambda: self.controller, self.evidence, about, FakeRandom())
        self.controller = Controller(
            config,
            store=self.store,
            evidence=self.evidence,
            sinks=[self.sink],
            endpoints=FakeEndpoints(),
            router=FakeRouter(),
            clock=hub.clock,
            overrides=self.store,
            override_sinks=[RecordingOverrides()],
            announcers=[self],
            role=self.fleet.role,
        )

    def announce(self, notice: Notice) -> None:
        self.announced.append(notice)

    @property
    def role(self) -> str:
        return str(self.fleet.role())

    async def round(self, *, tick: bool = True) -> None:
        """One exchange, with what it leads to, and a tick."""
        await self.fleet.exchange()
        await self.fleet.replayed()
        if tick:
            await self.controller.tick()
