"""What was counted while the evidence against v2 rose, and how it reads in words.

Pure counting. Must never know a test: what rises, and when it is at rest, `comparison` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.tally import Tally


class Rising:
    """What was counted since the evidence against v2 was last at rest. What is told of it begins with the
    tick before, whose errors may have been too few to weigh anything yet."""

    __slots__ = ("n1", "n2", "s1", "s2", "seconds")

    def __init__(self) -> None:
        self.n1 = self.s1 = self.n2 = self.s2 = 0
        self.seconds = 0.0

    def add(self, v1: tuple[int, int], v2: tuple[int, int], dt_s: float) -> None:
        """Requests and errors of both in `dt_s` seconds."""
        self.n1 += v1[0]
        self.s1 += v1[1]
        self.n2 += v2[0]
        self.s2 += v2[1]
        self.seconds += dt_s

    def and_then(self, later: Rising) -> Rising:
        """Both as one."""
        both = Rising()
        for one in (self, later):
            both.add((one.n1, one.s1), (one.n2, one.s2), one.seconds)
        return both

    def rates(self) -> str:
        """As `rates`."""
        return f"v2 {_rate(self.n2, self.s2)} against v1 {_rate(self.n1, self.s1)}"

    def __repr__(self) -> str:
        return f"Rising({self.rates()} over {self.seconds:g} s)"


def rates(seen: Tally) -> str:
    """ "v2 2.1 % (21 of 1,000) against v1 0.1 % (9 of 9,001)"."""
    v2 = _rate(seen.v2.requests, sum(seen.v2.errors))
    return f"v2 {v2} against v1 {_rate(seen.v1.requests, sum(seen.v1.errors))}"


def _rate(requests: int, errors: int) -> str:
    if not requests:
        return "without a request"
    return f"{100.0 * errors / requests:.3g} % ({errors:,} of {requests:,})"
