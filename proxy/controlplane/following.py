"""One rollout on several instances: what others have decided comes into force here too.

Owns how a state that somebody else has written takes effect, what is in force while the others cannot be
reached, and which state stays where two have moved. Must never know who judges, nor how it is told.

What is stored wins, but for one case: what is in force here and could not be written goes on top if it is the
safer. So nothing that an instance does by itself gives v2 more than the others have agreed on.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxy.controlplane.reconciling import reconciled
from proxy.controlplane.succession import Succession
from proxy.core.caution import is_more_careful, tightens
from proxy.core.fleet import Role
from proxy.core.gauges import CALM
from proxy.core.peers import Followed, Standing
from proxy.core.rollout import CONTROLLER
from proxy.judgment import Judgment
from proxy.model import RolloutState, State, Transition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from proxy.config.schema import Config
    from proxy.controlplane.watch import Seen
    from proxy.core.peers import Kept
    from proxy.core.tally import Tally

log = logging.getLogger("dualpath.fleet")

_CAUSE = "fleet:conflict"
_MOST_NAMED = 5  # lost events


def sole() -> Role:
    """There are no others."""
    return Role.JUDGE


class Following(Succession):
    """`Succession`, among other instances. `role` says what this one may decide; without others it judges."""

    def __init__(self, config: Config, *, role: Callable[[], Role] = sole, **ports: Any) -> None:
        super().__init__(config, **ports)
        self._role = role
        self._ledger.on_conflict = self._note_conflict
        self._has_followed = False
        self._told_of = ""  # the first of the lost events that the audit names
        self.judged_by = ""  # who does, as far as is known

    def revision(self, name: str) -> int:
        """What is in force of a rollout; 0 for one that is not known."""
        state = self._view.find(name)
        return 0 if state is None else state.revision

    # ... the beginning without the others

    def enter_alone(self, kept: Kept) -> None:
        """Put in force what was last known; a rollout of which nothing is known gives v2 nothing. Nothing is
        written: the others may have gone on."""
        for name in self._watches:
            known = kept.states.get(name)
            reason = "the shared store cannot be reached, and nothing is known of this rollout"
            self._enter(known or RolloutState(name, State.DISABLED, 0, reason=reason))
        self._overrides.hold(kept.overrides)
        self._overrides.publish(self._watches)

    # ... what others have written

    async def follow_shared(self, read: Callable[[], Awaitable[Followed]]) -> Followed:
        """Put in force what `read` finds, unless the store has lost something. Raises as it does.

        Meanwhile nothing is written here, so that what was read is not older than what is in force.
        """
        async with self._writing:
            if self._ledger.waiting:
                await self._ledger.flush()  # a write without an answer is settled before it gets a new base
            followed = await read()
            if followed.standing is Standing.SAME:
                await self._take(followed.shared)
        return followed

    async def _take(self, shared: Kept) -> None:
        stored = dict(shared.states)
        missing = [watch.plan for name, watch in self._watches.items() if name not in stored]
        if missing:
            at = self._clock.wall()
            for state in await reconciled(self._store, missing, at, config=self._ledger.config):
                stored[state.name] = state
        moved = []
        for name in self._watches:
            present = self._ledger.on_top_of(stored[name])
            if present != self._view.find(name):
                moved.append(present)
        if self._has_followed:
            self._put_in_force(*moved)
        else:  # it has been so for as long as it says
            for state in moved:
                self._enter(state)
            self._has_followed = True
        for state in moved:
            log.info(
                "%s: %s at %g %%, revision %d, followed: %s",
                *(state.name, state.state, state.percentage, state.revision, state.reason),
            )
        if self._overrides.hold(shared.overrides):
            self._overrides.publish(self._watches)

    # ... where two have moved

    async def reconcile(
        self, followed: Followed, adopt: Callable[[], Awaitable[Kept]], *, tell: bool = True
    ) -> None:
        """The store has lost events of ours, and others have been written in their place: its audit stands,
        and of each rollout the more careful state stays; what only a judge may decide, such as completing, is
        decided again. What is lost is named in the audit if it is ours to `tell`, once, however often this
        has to be tried. `adopt` makes our copy one of that audit. Raises as the store does."""
        at = self._clock.wall()
        async with self._writing:
            for name in self._watches:
                stored = followed.shared.states.get(name)
                mine = self._view.find(name)
                if stored is None or mine is None:
                    continue
                base = self._ledger.on_top_of(stored)
                if is_more_careful(mine, base) and tightens(base, mine):
                    after = replace(mine, revision=base.revision + 1, since=at)
                    self._ledger.defer(Transition(base, after, _CAUSE, mine.reason, CONTROLLER, at))
                    base = after
                self._put_in_force(base)
            if tell:
                self._tell_of_loss(followed, at)
            await self._ledger.flush()
            if not self._ledger.waiting:
                await adopt()

    def _tell_of_loss(self, followed: Followed, at: float) -> None:
        first = followed.lost[0].hash if followed.lost else ""
        if first and first == self._told_of:
            return
        self._told_of = first
        named = ", ".join(f"{one.seq} ({one.hash[:12]})" for one in followed.lost[:_MOST_NAMED])
        more = followed.lost_count - min(len(followed.lost), _MOST_NAMED)
        reason = f"the shared store has lost {followed.lost_count} events that were written: {named}" + (
            f" and {more} more" if more else ""
        )
        told = {one.rollout for one in followed.lost if one.rollout in self._watches}
        for name in told or list(self._watches)[:1]:
            self._event(self._view.state(name), reason, at)

    def _note_conflict(self, waited: Transition, stored: RolloutState, present: RolloutState) -> None:
        """While the store could not be reached, both this instance and another have moved."""
        mine = waited.after
        reason = (
            f"while the shared store could not be reached, here it became {_words(mine)} and elsewhere "
            f"{_words(stored)}; {_words(present)} stays"
        )
        self._event(present, reason, self._clock.wall())

    def _event(self, state: RolloutState, reason: str, at: float) -> None:
        log.error("%s: %s", state.name, reason)
        self._ledger.defer(Transition(state, state, _CAUSE, reason, CONTROLLER, at))
        self._announcing.conflict(state, reason)

    # ... who judges

    async def relive(self, seen: Callable[[str], Iterable[Seen]], finish: Callable[[], None]) -> bool:
        """Judge from now on by what `seen` says of each rollout, in place of what was seen here since its
        phase began. `finish` is called as that comes into force. False if a rollout has moved meanwhile, or a
        reload has brought others or another order: then it is to be done again."""
        before = dict(self._watches)
        made = dict(before)
        for name, watch in before.items():
            for other in watch.relived(self._view.state(name), seen(name)):
                made[name] = other
                await asyncio.sleep(0)
        are_same = list(self._watches.items()) == list(before.items())
        if not are_same or not all(one.agrees(self._view.state(n)) for n, one in made.items()):
            return False
        self._watches = made
        for name, watch in made.items():
            self.minutes.entering(watch, self._view.state(name))
        finish()
        return True

    def count(self, tallies: Mapping[str, Tally]) -> None:
        """This has been counted here too, up to now."""
        now = self._clock.monotonic()
        for name, tally in tallies.items():
            if name in self._watches:
                self._watches[name].observe(now, tally, CALM)

    def _stand_by(self) -> None:
        """Decide nothing, and say who does."""
        who = f"{self.judged_by} judges" if self.judged_by else "no instance judges yet"
        for watch in self._watches.values():
            watch.judgment = Judgment(reasons=(who,))

    def is_shared(self) -> bool:
        """Whether what is in force here is what the others have agreed on."""
        return self._role() is not Role.ALONE

    def tell_of_store(self, trouble: str) -> None:
        """The shared store cannot be reached, for this reason; with none, it can again."""
        self._announcing.store(trouble)


def _words(state: RolloutState) -> str:
    return f"{state.state} at {state.percentage:g} %"
