"""What is in force: the state of every rollout as the data plane has it.

Owns the present states and hands each new one to the sinks. Must never know whether a state is stored: what
comes first is the ledger's affair.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.errors import UnknownRollout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import RolloutState
    from proxy.ports import RolloutSink

log = logging.getLogger("dualpath.control")


class RolloutView:
    """The states in force, by name, and those who carry them out."""

    def __init__(self, sinks: Sequence[RolloutSink]) -> None:
        self._sinks = tuple(sinks)
        self._states: dict[str, RolloutState] = {}

    def publish(self, state: RolloutState) -> None:
        """Put `state` in force with every sink. One that fails is logged and keeps no other from it."""
        self._states[state.name] = state
        for sink in self._sinks:
            try:
                sink.publish(state)
            except Exception:
                log.exception("%s: %r did not take revision %d", state.name, sink, state.revision)

    def state(self, name: str) -> RolloutState:
        """The state in force. Raises `UnknownRollout`."""
        try:
            return self._states[name]
        except KeyError:
            raise UnknownRollout(f"there is no rollout {name!r}") from None

    def find(self, name: str) -> RolloutState | None:
        """The state in force, if there is one."""
        return self._states.get(name)

    def __repr__(self) -> str:
        states = ", ".join(f"{s.name}: {s.state} {s.percentage:g} %" for s in self._states.values())
        return f"RolloutView({states})"
