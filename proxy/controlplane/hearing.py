"""What a judge knows of the others' evidence: first the last windows, then what each goes on to tell.

Owns how far the stream of reports has been read, and under which lease. Must never know how the lease is got,
nor a judgment.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.controlplane.journaling import Journaling
from proxy.controlplane.replaying import SILENT_LEASES, UNKNOWN_LEASES, Replay, pieces
from proxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.controlplane.controller import Controller
    from proxy.controlplane.mending import Place
    from proxy.controlplane.shared_evidence import SharedEvidence
    from proxy.core.peers import Exchange, Lease

log = logging.getLogger("dualpath.fleet")

_MOST_PAGES: Final = 10  # at one time; the rest is heard the next time
_HEARING_LEASES: Final = 0.25  # and what is not written down by then is written the next time


class Hearing:
    """`catch_up` as soon as the lease is ours, and `hear` while it is; `token` is the lease's under which all
    has been read."""

    def __init__(self, place: Place, controller: Callable[[], Controller], evidence: SharedEvidence) -> None:
        self.token = 0
        self._place = place
        self._controller = controller
        self._evidence = evidence
        self._journaling = Journaling(place.journal, place.window_s)
        self._last = ""  # the last report that was read
        self._since = 0  # from then on by the store's clock, if there is none
        self._in_vain = 0  # readings that have failed, one after the other
        self._replaying: asyncio.Task[None] | None = None

    def catch_up(self, exchange: Exchange, reached_at: float, lease: Callable[[], Lease | None]) -> None:
        """Read the evidence of the last windows, in a task of its own; `lease` says whether it is still ours,
        and it was `exchange.now` by the store's clock at monotonic `reached_at`."""
        if self._replaying is None or self._replaying.done():
            reading = self._catch_up(exchange, reached_at, lease)
            self._replaying = asyncio.create_task(reading, name="fleet replay")

    async def _catch_up(
        self, exchange: Exchange, reached_at: float, lease: Callable[[], Lease | None]
    ) -> None:
        ours = lease()
        if ours is None:
            return
        place, controller = self._place, self._controller()
        began = place.clock.monotonic()
        names = [state.name for state in controller.states()]
        replay = Replay(names, place.identity, exchange, reached_at, place.window_s)
        try:
            # What cannot be read in time, such as what strangers have put there, is not waited for.
            by_journal = self._in_vain % 2 == 0
            await replay.read(place.peers, place.journal if by_journal else None, place.lease_s)
            self._in_vain = 0
            present = lease()
            if names != [state.name for state in controller.states()]:
                log.info("the rollouts have changed meanwhile: the evidence is read again")
            elif present is not None and present.token == ours.token:
                await controller.relive(
                    lambda name: replay.seen(name, controller.revision(name)),
                    lambda: self._know(controller, replay, ours.token),
                )
        except ControlError as error:
            self._in_vain += 1
            log.error("the evidence cannot be read: %s", error)
            return
        log.info("read the evidence of all in %.2f s: %r", place.clock.monotonic() - began, replay)

    def _know(self, controller: Controller, replay: Replay, token: int) -> None:
        """Judge by what was read, and by what we have counted since."""
        merging = replay.merging()
        merging.received = self._evidence.merging.received
        self._evidence.merging, self._evidence.book = merging, replay.book
        self._journaling.begin(replay.leaves, anew=not replay.goes_on)
        for report in self._evidence.own_after(replay.own()):
            controller.count(
                {
                    one.name: one.tally
                    for one in report.rollouts
                    if one.revision >= controller.revision(one.name)
                }
            )
        self._last, self._since, self.token = replay.last, replay.book.until, token

    async def caught_up(self) -> None:
        """Until what is being read of the last windows is read."""
        if self._replaying is not None:
            await asyncio.wait([self._replaying])

    def forget(self) -> None:
        """Somebody else judges: what the others have counted is not ours to know."""
        self.token = 0
        self._evidence.merging.clear()
        self._evidence.book = None

    def cancel(self) -> None:
        """Read no further."""
        if self._replaying is not None:
            self._replaying.cancel()

    async def hear(self, lease: Lease) -> None:
        """What the others have counted since; and write it down for whoever judges next."""
        place, now = self._place, self._place.clock.monotonic()
        try:
            for _ in range(_MOST_PAGES):  # a page may be short and not the last
                told = await place.peers.dispatches(self._last, since=self._since)
                if not told:
                    break
                for part in pieces(told):
                    if not self.token:  # the lease is lost meanwhile
                        return
                    for leaf in self._evidence.hear(now, part):
                        self._journaling.add(leaf)
                    self._last = part[-1].id
                    await asyncio.sleep(0)
        except ControlError as error:
            log.warning("the others' reports: %s", error)
        lease_s = place.lease_s
        self._evidence.merging.forget(now - lease_s * SILENT_LEASES, now - lease_s * UNKNOWN_LEASES)
        if self.token:  # the lease is renewed in between, however slow the store is
            until = now + lease_s * _HEARING_LEASES
            await self._journaling.write(lease, lambda: place.clock.monotonic() < until)

    def __repr__(self) -> str:
        return f"Hearing(up to {self._last or 'nothing'}, {self._evidence!r})"
