"""How much v1's error rate varies by itself from minute to minute, beyond the luck of counting.

Owns the margin that this adds to what is tolerable. Must never know v2: a margin that v2's errors could widen
would excuse them.

Counts that are truly independent vary as p (1 - p) / n says. Real backends vary more: two equals, each at
0.7 % in one minute and at 1.3 % in another for reasons of its own, differ by far more than luck allows, and
with enough requests any test of luck alone calls one of them worse.

Two readings of the noise are taken, and the larger one counts: steps, the difference of minutes 5 apart, for
noise that comes and goes within minutes; and bends, the second difference of minutes 20 apart, for noise that
lasts for ten. Neither takes the time of day for noise, nor, being medians, an outage. Where they do not stand
out from luck there is none. Where there are few errors a minute luck hides all noise, and needs no margin.

Until something is known v1 is taken to be as unsteady as backends are (40 %). That fades within half an hour
in which the steps show luck alone, and within two hours otherwise: slow noise takes that long to be measured.
"""

from __future__ import annotations

import math
from typing import Final

_MINUTES: Final = 240
_STEP: Final = 5
_BEND: Final = 20
_LEAST: Final = 10  # differences before they count
_CERTAIN: Final = 8.0  # how far above luck they must be, as a multiple of 1 / sqrt(differences)
_NORMAL: Final = 1.4826  # standard deviation over median absolute deviation
_FEW: Final = 5.0  # errors a minute

_UNSTEADY: Final = 0.4  # σ over the rate, before anything is known
_EXPECTED: Final = 0.01  # the rate, before anything is known
_FADE: Final = 30.0  # minutes
_SLOW_FADE: Final = 120.0


class NoiseMargin:
    """σ of what v1 and its equal would differ by, from v1's last four hours, times `kappa`."""

    __slots__ = ("_kappa", "_minutes", "margin")

    def __init__(self, kappa: float) -> None:
        self._kappa = kappa
        self._minutes: list[tuple[int, int]] = []
        self.margin = kappa * _UNSTEADY * _EXPECTED
        """What to add to the tolerable points."""

    def minute(self, errors: int, requests: int) -> None:
        """v1's counts of one minute; one without requests is left out."""
        if requests < 1:
            return
        self._minutes.append((errors, requests))
        if len(self._minutes) > _MINUTES:
            self._minutes.pop(0)
        self.margin = self._kappa * self.sigma()

    def sigma(self) -> float:
        """σ̂ of what two equals differ by in a minute, without the luck of counting: √2 times that of one."""
        known = len(self._minutes)
        errors = sum([errors for errors, _ in self._minutes])
        if errors < _FEW * known or known == 0:
            return 0.0
        requests = sum([requests for _, requests in self._minutes])
        rate = errors / requests
        luck = rate * (1.0 - rate) * known / requests
        rates = [errors / requests for errors, requests in self._minutes]
        measured = max(_excess(_steps(rates), luck), _excess(_bends(rates), luck))
        fade = _SLOW_FADE if measured > 0.0 else _FADE
        unknown = 1.0 + 1.0 / known - known / fade  # of a few minutes, the rate itself is known badly too
        return max(math.sqrt(2.0 * measured), _UNSTEADY * rate * unknown, 0.0)

    def __repr__(self) -> str:
        return f"NoiseMargin({self.margin:.3g} after {len(self._minutes)} minutes)"


def _steps(rates: list[float]) -> list[float]:
    """Differences, scaled to the spread of one minute."""
    scale = math.sqrt(0.5)
    return [scale * abs(rates[i + _STEP] - rates[i]) for i in range(len(rates) - _STEP)]


def _bends(rates: list[float]) -> list[float]:
    """Second differences, in which a steady climb is nothing, scaled to the spread of one minute."""
    scale = math.sqrt(1.0 / 6.0)
    last = len(rates) - 2 * _BEND
    return [scale * abs(rates[i] - 2.0 * rates[i + _BEND] + rates[i + 2 * _BEND]) for i in range(last)]


def _excess(differences: list[float], luck: float) -> float:
    """The variance that the differences show beyond `luck`; 0 if they might be luck."""
    count = len(differences)
    if count < _LEAST:
        return 0.0
    differences.sort()
    spread = _NORMAL * differences[count // 2]
    variance = spread * spread
    return variance - luck if variance > luck * (1.0 + _CERTAIN / math.sqrt(count)) else 0.0
