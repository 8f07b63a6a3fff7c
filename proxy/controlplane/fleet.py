"""One instance of a fleet: what it exchanges with the others, twice within each lease, and what it is for.

Owns the rhythm, the lease, and in which order following, refilling and replaying happen. The table of
`core.fleet` says what is to be done. Nothing here is in the way of a request or of a decision to the safe
side: all of it happens in tasks of its own, and a store that hangs delays only these. Must never know a
judgment, nor how the store does what it does.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from proxy import __version__
from proxy.controlplane.hearing import Hearing
from proxy.controlplane.mending import Mending
from proxy.controlplane.roll_call import RollCall
from proxy.controlplane.ticker import wait_or_end
from proxy.core import members
from proxy.core.fleet import Duty, Role, Task, duty, next_try_s
from proxy.core.members import FleetReport, MemberRecord, Pace, Serving
from proxy.core.peers import Presence, Standing
from proxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.controlplane.controller import Controller
    from proxy.controlplane.mending import Place
    from proxy.controlplane.shared_evidence import SharedEvidence
    from proxy.core.peers import Exchange, Lease
    from proxy.ports import Random

log = logging.getLogger("dualpath.fleet")

_MEMBER_LEASES: Final = 2.5  # how long an instance counts as present
_LOOK_EVERY: Final = 3  # rounds, where nothing depends on the members
_FOLLOW_EVERY: Final = 10  # rounds, without an event: somebody may have removed states by hand
_FIRST_LEASES: Final = 0.6  # until those who are there already have told so
_SETTLING_LEASES: Final = 1.25  # after an outage
_LEAVING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class About:
    """What people are told of this instance."""

    admin: Callable[[], str]
    workers: Callable[[], int]
    config: Callable[[], str]  # a hash of what all instances should have the same


class Fleet:
    """`open` it in place of the controller, `begin`, `end`. `role` may be asked at any time."""

    def __init__(
        self,
        place: Place,
        controller: Callable[[], Controller],
        evidence: SharedEvidence,
        about: About,
        rng: Random,
    ) -> None:
        self._place = place
        self._the_controller = controller
        self._evidence = evidence
        self._about = about
        self._rng = rng
        self._exchange: Exchange | None = None
        self._reached_at = float("-inf")
        self._took_s = 0.0
        self._lease: Lease | None = None
        self._leased_until = 0.0
        self._settled_at = float("-inf")  # until then nobody judges
        self._hearing = Hearing(place, controller, evidence)
        self._roll = RollCall(place.peers, place.identity, place.lease_s)
        self._mending = Mending(place, controller, self._roll)
        self._pace = Pace()
        self._rounds = 0
        self._began = 0.0
        self._trouble = ""
        self._said: Duty | None = None
        self._ending = asyncio.Event()
        self._news = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []
        place.store.on_stale = self._step_down

    @property
    def _controller(self) -> Controller:
        return self._the_controller()

    # ... what this instance is for

    def role(self) -> Role:
        """What may be decided here, now."""
        return self._duty().role

    def _duty(self) -> Duty:
        place, now = self._place, self._place.clock.monotonic()
        alone = now - self._reached_at > place.lease_s
        lease = self._lease if self._settled_at <= now < self._leased_until else None
        return duty(
            None if alone else place.store.standing,
            lease=lease is not None,
            evidence=lease is not None and lease.token == self._hearing.token,
        )

    def _step_down(self) -> None:
        """Somebody else judges, or nobody: the store has said so."""
        if self._lease is not None:
            log.warning("no longer the judge")
        self._lease = None
        self._leased_until = 0.0
        self._place.fenced.fence(None)
        self._hearing.forget()

    # ... from its beginning to its end

    async def open(self) -> None:
        """The states that all share are in force; or, where the store does not answer, those last known.
        Raises `StoreCorrupt`, and `StoreUnavailable` for the copy."""
        store = self._place.store
        await store.open()
        self._controller.enter_alone(store.kept)
        self._began = self._place.clock.monotonic()
        await self.exchange()
        if store.is_reached and store.standing is None:  # and empty: others may have what it has lost
            await asyncio.sleep(self._place.lease_s * _FIRST_LEASES)
            await self.exchange()
        if not store.is_reached:
            log.error("the shared store cannot be reached: %s; by what was last known", store.trouble)

    async def begin(self) -> None:
        """Exchange from now on."""
        self._ending.clear()
        self._running = [
            asyncio.create_task(self._keep(self._rounds_on), name="fleet"),
            asyncio.create_task(self._keep(self._listen), name="fleet changes"),
        ]

    async def end(self) -> None:
        """Exchange nothing any more, and let others judge at once."""
        self._ending.set()
        running, self._running = self._running, []
        self._hearing.cancel()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if running and self._place.store.is_reached:
            try:
                async with asyncio.timeout(_LEAVING_S):
                    await self._place.peers.leave()
            except (ControlError, TimeoutError) as error:
                log.info("left without a word: %r", error)
        self._step_down()

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._ending.is_set():
            try:
                await work()
            except Exception:
                log.exception("an exchange failed")
                await wait_or_end(self._ending, self._place.lease_s / 2)

    async def _rounds_on(self) -> None:
        began = self._place.clock.monotonic()
        await self.exchange()
        took_s = self._place.clock.monotonic() - began
        other = self._exchange.lease if self._exchange is not None and self._lease is None else None
        left_s = None if other is None else other.remaining_s - took_s
        wait_s = next_try_s(self._place.lease_s / 2, left_s, self._rng.random())
        await wait_or_end(self._ending, max(wait_s - took_s, 0.02))

    async def _listen(self) -> None:
        """Follow what is pushed: a change is in force here as soon as that arrives."""
        async with aclosing(self._place.peers.changes()) as changes:
            async for number in changes:
                store = self._place.store
                if store.is_reached and (number is None or number > store.kept.head.seq):
                    await self._mending.follow()

    # ... one exchange

    async def exchange(self) -> None:
        """Tell and learn once, and do what follows from it."""
        place, clock = self._place, self._place.clock
        reports = self._evidence.reports()
        asked = clock.monotonic()
        try:
            if not await place.store.reach():
                raise ControlError(place.store.trouble)
            exchange = await place.peers.exchange(self._presence(reports))
        except ControlError as error:
            self._unreached(str(error))
            return
        self._took_s = clock.monotonic() - asked
        self._evidence.arrived(reports[-1][0])
        clock.heard(exchange.now, self._took_s)
        self._reached(exchange, asked)
        await self._look_at_members()
        is_due = self._rounds % _FOLLOW_EVERY == 0
        if (is_due or self._is_odd(exchange)) and not self._is_lost(exchange):
            await self._mending.follow()
        await self._carry_out(self._duty())
        if self._lease is not None and self._lease.token == self._hearing.token:
            await self._hearing.hear(self._lease)
        self._say()

    def _is_odd(self, exchange: Exchange) -> bool:
        """Whether the store may hold something else than what we know."""
        store = self._place.store
        ours, theirs = store.kept.head, exchange.head
        return (
            store.standing is not Standing.SAME
            or store.left > 0
            or (ours.seq, ours.hash) != (theirs.seq, theirs.hash)
        )

    def _is_lost(self, exchange: Exchange) -> bool:
        """Whether an instance that knows nothing meets a store that holds nothing, and others may have what
        it has lost: then it must not be the first to write."""
        store, now = self._place.store, self._place.clock.monotonic()
        if exchange.head.seq or store.kept.head.seq or store.standing is not None:
            return False
        known = self._roll.most_copied() > 0
        return known or now - self._began < self._place.lease_s * _FIRST_LEASES * 0.9

    def _presence(self, reports: tuple[tuple[int, bytes], ...]) -> Presence:
        lease_s = self._place.lease_s
        return Presence(
            record=orjson.dumps(members.written(self._record())),
            reports=reports,
            lease_s=lease_s,
            member_s=lease_s * _MEMBER_LEASES,
            window_s=self._place.window_s,
        )

    def _record(self) -> MemberRecord:
        controller = self._controller
        return MemberRecord(
            version=__version__,
            role=self.role(),
            wall=self._place.clock.own_wall(),
            admin=self._about.admin(),
            workers=self._about.workers(),
            config=self._about.config(),
            copied=self._place.store.copied,
            rollouts={one.name: Serving(one.revision, one.weight) for one in controller.states()},
            per_minute=self._pace.take(self._place.clock.monotonic(), self._evidence.counted),
        )

    def _reached(self, exchange: Exchange, asked: float) -> None:
        self._exchange, self._reached_at = exchange, asked
        self._place.store.is_reached = True
        if self._trouble:
            log.warning("the shared store answers again")
            # Whoever has lowered something meanwhile writes it first.
            self._settled_at = self._place.clock.monotonic() + self._place.lease_s * _SETTLING_LEASES
            self._trouble = ""
            self._controller.tell_of_store("")
        lease = exchange.lease
        if lease is None or lease.holder != self._place.identity:
            if self._lease is not None:
                self._step_down()
        else:
            if self._lease is None or self._lease.token != lease.token:
                self._place.fenced.fence(lease)
            # From before it was asked for: so it ends here before it ends there.
            self._lease, self._leased_until = lease, asked + self._place.lease_s
        self._controller.judged_by = "" if lease is None else lease.holder.instance

    def _unreached(self, trouble: str) -> None:
        place = self._place
        place.store.is_reached, place.store.trouble = False, trouble
        if not self._trouble and self.role() is Role.ALONE:
            self._trouble = trouble
            log.error("the shared store cannot be reached: %s; nothing is raised here", trouble)
            self._controller.tell_of_store(f"the shared store cannot be reached: {trouble}")
            self._say()

    def _say(self) -> None:
        found = self._duty()
        if found != self._said:
            self._said = found
            log.info("%s is %s%s", self._place.identity.instance, found.role, _to(found.task))

    # ... what is to be done

    async def _carry_out(self, found: Duty) -> None:
        try:
            match found.task:
                case Task.REFILL:
                    await self._mending.refill(is_judge=self._lease is not None)
                case Task.RECONCILE:
                    await self._mending.reconcile()
                case Task.REPLAY if self._exchange is not None:
                    self._hearing.catch_up(self._exchange, self._reached_at, lambda: self._lease)
                case _:
                    pass
        except ControlError as error:
            log.error("%s: %s", found.task, error)

    async def replayed(self) -> None:
        """Until what is being read of the last windows is read."""
        await self._hearing.caught_up()

    # ... who is there

    async def _look_at_members(self) -> None:
        self._rounds += 1
        needed = self._lease is not None or self._place.store.standing is not Standing.SAME
        if needed or self._rounds % _LOOK_EVERY == 1:
            try:
                await self._roll.ask()
                self._evidence.version = self._roll.reports()
            except ControlError as error:
                log.warning("who is there: %s", error)

    def report(self) -> FleetReport:
        """The fleet as it is seen from here."""
        place, exchange, now = self._place, self._exchange, self._place.clock.monotonic()
        lease = None if exchange is None else exchange.lease
        revisions = {name: state.revision for name, state in place.store.kept.states.items()}
        return FleetReport(
            instance=place.identity.instance,
            role=self.role(),
            judge=None if lease is None or not place.store.is_reached else lease.holder.instance,
            lease_s=0.0 if lease is None else lease.remaining_s,
            reached=place.store.is_reached,
            reached_s_ago=max(now - self._reached_at, 0.0) if exchange is not None else 0.0,
            store_s=self._took_s,
            skew_s=place.clock.skew_s,
            head=0 if exchange is None else exchange.head.seq,
            copied=place.store.copied,
            members=()
            if exchange is None
            else tuple(self._roll.views(exchange.now + now - self._reached_at, revisions)),
            received=self._evidence.merging.received,
            sent=self._evidence.sent,
            trouble=self._trouble,
        )

    def __repr__(self) -> str:
        return f"<Fleet {self._place.identity.instance} {self.role()} {self._place.store!r}>"


def _to(task: Task) -> str:
    return "" if task is Task.NONE else f", and is to {task}"
