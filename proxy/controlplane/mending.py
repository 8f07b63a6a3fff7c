"""The shared audit and our copy of it, kept the same; and mended where the store has lost something.

Owns who gives back what a store has lost, and when; and in which order several tell of what is lost for good.
Must never know who judges otherwise, nor how the chain is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.peers import Standing
from proxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.controlplane.controller import Controller
    from proxy.controlplane.roll_call import RollCall
    from proxy.controlplane.shared_store import SharedStore
    from proxy.controlplane.store_clock import StoreClock
    from proxy.core.peers import Followed, Identity
    from proxy.ports import Copy, Fenced, Journal, Peers

log = logging.getLogger("dualpath.fleet")

_PATIENCE_LEASES: Final = 1.25  # until all have told how much they know, before a store is refilled
_OVERDUE: Final = 3  # times as long, and whoever can refills it
_COPYING_LEASES: Final = 0.2
_NEWEST: Final = 20  # events among which a loss is looked for


@dataclass(frozen=True, slots=True)
class Place:
    """Where this instance stands: who it is, what it shares with the others, and by which clock."""

    identity: Identity
    store: SharedStore
    fenced: Fenced
    peers: Peers
    copy: Copy
    journal: Journal
    clock: StoreClock
    lease_s: float
    window_s: float  # how much evidence a judge looks back on


class Mending:
    """`follow` at each change; `refill` and `reconcile` again and again, for as long as that is the task."""

    def __init__(self, place: Place, controller: Callable[[], Controller], roll: RollCall) -> None:
        self._place = place
        self._controller = controller
        self._roll = roll
        self._followed: Followed | None = None
        self._odd_since: float | None = None

    async def follow(self) -> None:
        """Put in force what is stored, unless the store has lost something. A long audit is copied in pieces:
        between two of them others may write, and for no longer than a part of the lease; the rest comes next
        time."""
        store, clock = self._place.store, self._place.clock
        until = clock.monotonic() + self._place.lease_s * _COPYING_LEASES
        try:
            while True:
                self._followed = await self._controller().follow_shared(store.follow)
                if not self._followed.left or clock.monotonic() >= until:
                    break
        except ControlError as error:
            log.error("what is stored cannot be followed: %s", error)
            return
        if self._followed.standing is Standing.SAME:
            self._odd_since = None
        elif self._odd_since is None:
            self._odd_since = self._place.clock.monotonic()
            log.error(
                "the shared store has lost %d events that were written: it is %s",
                *(self._followed.lost_count, self._followed.standing),
            )

    async def refill(self, *, is_judge: bool) -> None:
        """Whoever knows most gives it back, before anybody writes anything else. Raises as the copy does."""
        place, waited_s = self._place, self._odd_for_s()
        patience_s = place.lease_s * _PATIENCE_LEASES
        if waited_s < patience_s:
            return
        mine, most = place.store.kept.head.seq, self._roll.most_copied()
        is_ours = mine > most or (mine == most and is_judge)
        if not is_ours and waited_s < patience_s * _OVERDUE:
            return
        kept = await place.copy.refill()
        log.warning("the shared store has been given back what it had lost; it has %d events", kept.head.seq)
        await self.follow()

    async def reconcile(self) -> None:
        """One after the other, by name, so that a loss is told once. Raises as store and copy do."""
        followed, place = self._followed, self._place
        if followed is None or self._odd_for_s() < self._roll.before_us() * place.lease_s / 2:
            return
        first = followed.lost[0].hash[:12] if followed.lost else ""
        told = any(
            event.transition.cause == "fleet:conflict" and first in event.transition.reason
            for event in await place.store.events(after=-1, limit=_NEWEST)
        )
        place.store.standing = Standing.SAME  # what is written from here on follows the shared audit
        await self._controller().reconcile(followed, place.copy.adopt, tell=not told)
        await self.follow()

    def _odd_for_s(self) -> float:
        now = self._place.clock.monotonic()
        return 0.0 if self._odd_since is None else now - self._odd_since

    def __repr__(self) -> str:
        return f"Mending({self._place.store!r})"
