"""What a judge knows of the others' evidence: first the last windows, then what each goes on to tell.

Owns how far the stream of reports has been read, and under which lease. Must never know how the lease is got,
nor a judgment.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.controlplane.replaying import Replay
from proxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.controlplane.controller import Controller
    from proxy.controlplane.mending import Place
    from proxy.controlplane.shared_evidence import SharedEvidence
    from proxy.core.peers import Exchange, Lease

log = logging.getLogger("dualpath.fleet")

_MOST_PAGES: Final = 10  # at one time; the rest is heard the next time
_BREATH: Final = 50  # reports
_SILENT_LEASES: Final = 2.5  # and whoever was silent has nothing under way
_UNKNOWN_LEASES: Final = 60.0  # several times as long as a report may be told again


class Hearing:
    """`catch_up` as soon as the lease is ours, and `hear` while it is; `token` is the lease's under which all
    has been read."""

    def __init__(self, place: Place, controller: Callable[[], Controller], evidence: SharedEvidence) -> None:
        self.token = 0
        self._place = place
        self._controller = controller
        self._evidence = evidence
        self._last = ""  # the last report that was read
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
        since = exchange.now - place.window_s
        replay = Replay(names, place.identity, exchange, reached_at, since)
        try:
            await replay.read(place.peers, controller.revision)
            present = lease()
            if present is not None and present.token == ours.token:
                await controller.relive(replay.seen, lambda: self._know(controller, replay, ours.token))
        except ControlError as error:
            log.error("the evidence cannot be read: %s", error)
            return
        log.info("read the evidence of all in %.2f s: %r", place.clock.monotonic() - began, replay)

    def _know(self, controller: Controller, replay: Replay, token: int) -> None:
        """Judge by what was read, and by what we have counted since."""
        replay.merging.received = self._evidence.merging.received
        self._evidence.merging = replay.merging
        for report in self._evidence.own_after(replay.own):
            controller.count(
                {
                    one.name: one.tally
                    for one in report.rollouts
                    if one.revision >= controller.revision(one.name)
                }
            )
        self._last, self.token = replay.last, token

    async def caught_up(self) -> None:
        """Until what is being read of the last windows is read."""
        if self._replaying is not None:
            await asyncio.wait([self._replaying])

    def forget(self) -> None:
        """Somebody else judges: what the others have counted is not ours to know."""
        self.token = 0
        self._evidence.merging.clear()

    def cancel(self) -> None:
        """Read no further."""
        if self._replaying is not None:
            self._replaying.cancel()

    async def hear(self) -> None:
        """What the others have counted since."""
        place, now = self._place, self._place.clock.monotonic()
        try:
            for _ in range(_MOST_PAGES):  # a page may be short and not the last
                told = await place.peers.dispatches(self._last)
                if not told:
                    break
                for start in range(0, len(told), _BREATH):
                    if not self.token:  # the lease is lost meanwhile
                        return
                    part = told[start : start + _BREATH]
                    self._evidence.hear(now, part)
                    self._last = part[-1].id
                    await asyncio.sleep(0)
        except ControlError as error:
            log.warning("the others' reports: %s", error)
        lease_s = place.lease_s
        self._evidence.merging.forget(now - lease_s * _SILENT_LEASES, now - lease_s * _UNKNOWN_LEASES)

    def __repr__(self) -> str:
        return f"Hearing(up to {self._last or 'nothing'}, {self._evidence!r})"
