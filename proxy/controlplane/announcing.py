"""Announcing: what has been decided, and what stands in the way of it, told to whoever listens.

Owns when a notice is made, and that nobody who listens can hold a decision up or stop it. What is announced
is in force already. Must never know what listeners do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.core.notice import of_conflict, of_guard, of_move, of_rule, of_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.core.alert_rules import RuleReading
    from proxy.core.notice import Notice
    from proxy.judgment import GuardReading
    from proxy.model import RolloutState, Transition
    from proxy.ports import Announcer, Clock, Exemplars

log = logging.getLogger("dualpath.control")

_SUCCEEDING = "restart"  # what the process before had decided, and announced


class Announcers:
    """An `Announcer` that passes everything on to `listeners`, which may change at any time."""

    def __init__(self, *listeners: Announcer) -> None:
        self.listeners: tuple[Announcer, ...] = listeners

    def announce(self, notice: Notice) -> None:
        """Tell them all; one that fails keeps no other from it."""
        for listener in self.listeners:
            try:
                listener.announce(notice)
            except Exception:
                log.exception("%r did not take: %s", listener, notice.reason)

    def __repr__(self) -> str:
        return f"Announcers{self.listeners!r}"


class Announcing:
    """Tells `listeners`, in order. `exemplars` knows requests that show what happened."""

    def __init__(
        self, clock: Clock, listeners: Sequence[Announcer] = (), exemplars: Exemplars | None = None
    ) -> None:
        self._clock = clock
        self._all = Announcers(*listeners)
        self._exemplars = exemplars

    def moved(self, transition: Transition) -> None:
        """It is in force."""
        if transition.changes_state and transition.cause != _SUCCEEDING:
            self._announce(lambda: of_move(transition, self._shown_by(transition.after.name)))

    def guard(self, event: Transition, reading: GuardReading) -> None:
        """A guard that only alerts has begun to fire, or has ended."""
        self._announce(lambda: of_guard(event, reading, self._shown_by(event.after.name)))

    def rule(self, reading: RuleReading, state: RolloutState | None) -> None:
        """An alert rule has begun to fire, or has ended, on a rollout in `state`; None for the process."""
        shown = () if state is None else self._shown_by(state.name)
        self._announce(lambda: of_rule(reading, state, self._clock.wall(), shown))

    def conflict(self, state: RolloutState, reason: str) -> None:
        """Two instances have gone different ways; `state` is what stays."""
        self._announce(lambda: of_conflict(state, reason, self._clock.wall()))

    def store(self, trouble: str) -> None:
        """The store does not work, for this reason; with none, it works again."""
        self._announce(lambda: of_store(trouble, self._clock.wall()))

    def _announce(self, make: Callable[[], Notice]) -> None:
        if not self._all.listeners:
            return
        try:
            notice = make()
        except Exception:  # the decision goes on
            log.exception("a notice is lost")
        else:
            self._all.announce(notice)

    def _shown_by(self, rollout: str) -> tuple[str, ...]:
        return () if self._exemplars is None else tuple(self._exemplars.exemplars(rollout))

    def __repr__(self) -> str:
        return f"Announcing({len(self._all.listeners)} listeners)"
