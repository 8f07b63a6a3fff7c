"""How the sample service can fail on purpose, and the switch for it.

Owns the kinds of fault and what each does to a request. Must never know how requests arrive or are answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.ports import Random

SLOWNESS_S = 0.4
FLAKINESS = 0.3


class Fault(StrEnum):
    """What is wrong with the service."""

    NONE = "none"
    ERRORS = "errors"  # every request fails, with 500 or 503
    SLOW = "slow"  # every answer is right and 400 ms late
    HANG = "hang"  # no request is ever answered
    FLAKY = "flaky"  # three of ten requests fail


@dataclass(frozen=True, slots=True)
class Effect:
    """What befalls one request: `status` instead of the answer, a delay, or no answer at all."""

    status: int | None = None
    delay_s: float = 0.0
    hangs: bool = False


class FaultSwitch:
    """The fault that is on, and how many requests have met it."""

    def __init__(self) -> None:
        self.fault = Fault.NONE
        self.requests = 0

    def __repr__(self) -> str:
        return f"<FaultSwitch {self.fault} requests={self.requests}>"

    def turn(self, fault: Fault) -> None:
        """Switch to `fault` and count from zero."""
        self.fault = fault
        self.requests = 0

    def strike(self, rng: Random) -> Effect:
        """Count one request and say what befalls it."""
        self.requests += 1
        match self.fault:
            case Fault.ERRORS:
                return Effect(status=500 + 3 * rng.getrandbits(1))
            case Fault.SLOW:
                return Effect(delay_s=SLOWNESS_S)
            case Fault.HANG:
                return Effect(hangs=True)
            case Fault.FLAKY:
                return Effect(status=500) if rng.random() < FLAKINESS else Effect()
            case Fault.NONE:
                return Effect()
