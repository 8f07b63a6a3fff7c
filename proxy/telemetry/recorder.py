"""The recorder: one tally per rollout, written by the data plane and swapped out by the control plane.

Owns the tallies that are being filled. Must never know a window, a limit or a clock. All happens on one event
loop, where a swap between two callbacks needs no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import ErrorClass, FallbackReason


_V2: Final = Path.V2


class TallyRecorder:
    """`ports.Recorder` for the data plane and `ports.Evidence` for the control plane.

    `rollouts` is how many there are; they are addressed by their index in the configuration.
    """

    __slots__ = ("_tallies",)

    def __init__(self, rollouts: int) -> None:
        self._tallies = [Tally() for _ in range(rollouts)]

    # ... written by the data plane, in the order of a request's life

    def assigned(self, rollout: int, path: Path, *, overridden: bool) -> None:
        """Routing chose `path`."""
        tally = self._tallies[rollout]
        if overridden:
            tally.overridden += 1
        elif path is _V2:
            tally.assigned_v2 += 1
        else:
            tally.assigned_v1 += 1

    def attempt(self, rollout: int, path: Path, latency_s: float, error: ErrorClass | None) -> None:
        """A first-choice attempt ended; failed ones count in the latency too."""
        tally = self._tallies[rollout]
        side = tally.v2 if path is _V2 else tally.v1
        side.requests += 1
        side.latency.record(latency_s)
        if error is not None:
            side.errors[ERROR_INDEX[error]] += 1

    def fallback(self, rollout: int, reason: FallbackReason, *, failed: bool) -> None:
        """v1 stood in for v2."""
        tally = self._tallies[rollout]
        tally.fallbacks[FALLBACK_INDEX[reason]] += 1
        if failed:
            tally.fallback_errors += 1

    def over_budget(self, rollout: int, reason: FallbackReason) -> None:
        """A fallback was wanted and refused."""
        self._tallies[rollout].over_budget[FALLBACK_INDEX[reason]] += 1

    def outcome(self, rollout: int, *, failed: bool, aborted: bool) -> None:
        """The request ended. A client that left saw no answer: that counts as an abort and nothing else."""
        tally = self._tallies[rollout]
        if aborted:
            tally.client_aborts += 1
            return
        tally.client_requests += 1
        if failed:
            tally.client_errors += 1

    # ... read by the control plane

    def drain(self) -> Sequence[Tally]:
        """The tallies since the last call, which the caller owns from now on."""
        drained = self._tallies
        self._tallies = [Tally() for _ in drained]
        return drained

    def late(self) -> Sequence[Tally]:
        """Nothing: what is counted here is here."""
        return ()

    def __repr__(self) -> str:
        waiting = sum(tally.client_requests for tally in self._tallies)
        return f"TallyRecorder({len(self._tallies)} rollouts, {waiting} requests to drain)"
