"""Safe 2x2 bets: how strongly one block of counts speaks against "mean2 <= ratio * mean1 + points".

Owns the bet's size and its logarithm. Must never know what is counted, when, or what a rollout is.

A bet multiplies one factor per request: 1 - c1 (y - a0) for v1 and 1 + c2 (y - b0) for v2, where y in [0, 1]
is the outcome (1 = error) and (a0, b0) is the point of the null that is closest to what is expected of v1 (a)
and feared of v2 (b). With c1 n1 = ratio n2 c2, whatever the rates are, even while they change,

    E[product] <= exp(n2 c2 (mean2 - ratio mean1 - points)),

which is at most 1 under the null. So the product over blocks may be read at any time: that it ever reaches
1/α has at most the probability α. Only the relation of c1 to c2 matters for this. That a and b are good
guesses, and that a0 is exact, matters for the bet's power alone; both may therefore come from a grid.

The mirrored bet, against "mean2 >= ratio * mean1 + points", is the same with b below the null: then c1 and c2
are negative. Sources: Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests";
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting".
"""

from __future__ import annotations

import math
from typing import Final

from proxy.core.e_process import Round

GAINS = (0.004, 0.015, 0.05, 0.15, 0.5, 0.97)
"""What is feared of v2, from slightly to utterly worse: b = B + (1 - B) g, where B is the tolerable rate."""

_GRID: Final = 0.1  # step of a in log odds
_NU_GRID: Final = 0.1  # step of log ν
_MOST_KEPT: Final = 1024
_FEW: Final = 64.0  # requests: blocks of so few are alike so often that their rounds are kept
_MOST_SIZED: Final = 512
_HALVINGS: Final = 30
_SATURATED: Final = 1.0 - 1e-6  # a null that tolerates this tolerates everything: there is nothing to bet on


class Bet:
    """A bet that v1 errs at `a` and v2 at `b`, sized against the null's point (a0, b0)."""

    __slots__ = (
        "_bad_v1",
        "_bad_v2",
        "_full_v2",
        "_good_v1",
        "_good_v2",
        "_least",
        "_nu",
        "_per_nu",
        "_size",
        "a",
        "a0",
        "b",
        "b0",
    )

    def __init__(self, ratio: float, points: float, a: float, b: float, a0: float) -> None:
        self.a = a
        self.b = b
        self.a0 = a0
        b0 = ratio * a0 + points
        self.b0 = b0
        self._size = (b - b0) / (b0 * (1.0 - b0))  # leaves v2's factors at b / b0 and (1 - b) / (1 - b0)
        self._per_nu = ratio * self._size
        # v1's factors stay above half of what they would be at the exact root: a / a0, (1 - a) / (1 - a0).
        self._least = (
            (1.0 - 0.5 * a / a0) / (1.0 - a0) if b > b0 else (1.0 - 0.5 * (1.0 - a) / (1.0 - a0)) / a0
        )
        # The logarithms of the factors, for the latest ν: few come, and often. v2's hardly ever depend on it.
        self._nu = -1.0
        self._good_v1 = self._bad_v1 = self._good_v2 = self._bad_v2 = 0.0
        self._full_v2 = math.log(1.0 - self._size * b0), math.log(1.0 + self._size * (1.0 - b0))

    def coefficients(self, nu: float) -> tuple[float, float]:
        """(c1, c2) for a block with ν = n2 / n1: any outcomes in [0, 1] may be put into the factors."""
        c2 = self._size
        c1 = self._per_nu * nu
        most = self._least
        if c1 > most:
            return most, c2 * (most / c1)
        if c1 < -most:
            return -most, c2 * (most / -c1)
        return c1, c2

    def log_e(self, n1: float, s1: float, n2: float, s2: float) -> float:
        """The logarithm of the product over a block: n requests of each path, s of them errors."""
        nu = n2 / n1
        if nu != self._nu:
            self._size_for(nu)
        return (n1 - s1) * self._good_v1 + s1 * self._bad_v1 + (n2 - s2) * self._good_v2 + s2 * self._bad_v2

    def logs_at(self, nu: float) -> tuple[float, float, float, float]:
        """The logarithms of the factors for a block with ν = n2 / n1: of v1's good and bad requests, and of
        v2's."""
        if nu != self._nu:
            self._size_for(nu)
        return self._good_v1, self._bad_v1, self._good_v2, self._bad_v2

    def _size_for(self, nu: float) -> None:
        c1, c2 = self.coefficients(nu)
        a0, b0 = self.a0, self.b0
        self._good_v1, self._bad_v1 = math.log(1.0 + c1 * a0), math.log(1.0 - c1 * (1.0 - a0))
        if c2 == self._size:
            self._good_v2, self._bad_v2 = self._full_v2
        else:
            self._good_v2, self._bad_v2 = math.log(1.0 - c2 * b0), math.log(1.0 + c2 * (1.0 - b0))
        self._nu = nu

    def __repr__(self) -> str:
        return f"Bet(v1 {self.a:.3g}, v2 {self.b:.3g}, null {self.a0:.3g}/{self.b0:.3g})"


class Bets:
    """The bets that v2 is worse than tolerable, one for each of `gains`.

    Bets are kept by a and ν on a grid, so that a block costs a few logarithms; and of small blocks, which
    come again and again, their rounds. Of either there are at most so many as `most_kept` says.
    """

    __slots__ = (
        "_a",
        "_at_a",
        "_cache",
        "_cached",
        "_most_kept",
        "_rounds",
        "_sized",
        "gains",
        "points",
        "ratio",
    )

    def __init__(
        self, ratio: float, points: float, gains: tuple[float, ...] = GAINS, most_kept: int = _MOST_KEPT
    ) -> None:
        self.ratio = ratio
        self.points = points
        self.gains = gains
        self._cache: dict[int, list[Bet]] = {}
        self._cached = 0
        self._most_kept = most_kept
        self._a = -1.0  # the rate that was asked for last, and its place on the grid
        self._at_a = 0
        self._rounds: dict[tuple[int, float, float, float, float], Round] = {}
        self._sized: dict[tuple[int, float], list[tuple[float, float, float, float]]] = {}

    def round(self, a: float, n1: float, s1: float, n2: float, s2: float) -> Round:
        """What a block of whole requests brings the bets for v1's expected rate `a`."""
        if n1 + n2 > _FEW:
            return Round(self.logs(a, n1, s1, n2, s2))
        key = (self._at_a if a == self._a else self._grid(a), n1, s1, n2, s2)
        brought = self._rounds.get(key)
        if brought is None:
            if len(self._rounds) >= self._most_kept:
                self._rounds.clear()
            brought = self._rounds[key] = Round(self.logs(a, n1, s1, n2, s2), is_kept=True)
        return brought

    def logs(self, a: float, n1: float, s1: float, n2: float, s2: float) -> list[float]:
        """The same in logarithms, of outcomes that may be fractions."""
        nu = n2 / n1
        if n1 + n2 > _FEW:
            return [bet.log_e(n1, s1, n2, s2) for bet in self.at(a, nu)]
        key = (self._at_a if a == self._a else self._grid(a), nu)
        sized = self._sized.get(key)
        if sized is None:
            if len(self._sized) >= _MOST_SIZED:
                self._sized.clear()
            sized = self._sized[key] = [bet.logs_at(nu) for bet in self.at(a, nu)]
        good1, good2 = n1 - s1, n2 - s2
        return [good1 * g1 + s1 * b1 + good2 * g2 + s2 * b2 for g1, b1, g2, b2 in sized]

    def _grid(self, a: float) -> int:
        if a != self._a:
            self._at_a = math.floor(math.log(a / (1.0 - a)) / _GRID + 0.5)
            self._a = a
        return self._at_a

    def at(self, a: float, nu: float) -> list[Bet]:
        """The bets for v1's expected rate `a`, 0 < a < 1, and ν = n2 / n1 > 0; none if all is tolerable."""
        at_a = self._grid(a)
        at_nu = math.floor(math.log(nu) / _NU_GRID + 0.5)
        key = at_a * 65536 + at_nu
        bets = self._cache.get(key)
        if bets is None:
            if self._cached >= self._most_kept:
                self._cache.clear()
                self._cached = 0
            bets = self._make(1.0 / (1.0 + math.exp(-at_a * _GRID)), math.exp(at_nu * _NU_GRID))
            self._cache[key] = bets
            self._cached += max(len(bets), 1)
        return bets

    def _make(self, a: float, nu: float) -> list[Bet]:
        ratio, points = self.ratio, self.points
        bound = ratio * a + points
        if bound >= _SATURATED:
            return []
        made = []
        for gain in self.gains:
            b = bound + (1.0 - bound) * gain
            a0 = self._root(nu, a, b, (a, (b - points) / ratio))
            made.append(Bet(ratio, points, a, b, a0))
        return made

    def _root(self, nu: float, a: float, b: float, bounds: tuple[float, float]) -> float:
        """a0 within `bounds`, where (a0, b0) diverges least from (a, b): the mean of all requests if the null
        is that the rates are equal, else by bisection."""
        ratio, points, weight = self.ratio, self.points, self.ratio * nu
        if ratio == 1.0 and points == 0.0:
            return (a + nu * b) / (1.0 + nu)
        least, most = bounds
        for _ in range(_HALVINGS):
            a0 = 0.5 * (least + most)
            b0 = ratio * a0 + points
            # (a0 - a) / (a0 (1 - a0)) + ratio ν (b0 - b) / (b0 (1 - b0)), without its denominators
            if (a0 - a) * b0 * (1.0 - b0) + weight * (b0 - b) * a0 * (1.0 - a0) < 0.0:
                least = a0
            else:
                most = a0
        return 0.5 * (least + most)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ratio:g} x v1 + {self.points:g}, {self._cached} kept)"


class MirroredBets(Bets):
    """The bet that v2 errs like v1, against v2 being unacceptable: one, with b = a."""

    __slots__ = ()

    def _make(self, a: float, nu: float) -> list[Bet]:
        ratio, points = self.ratio, self.points
        if ratio * a + points <= a or a >= _SATURATED:
            return []  # being v1's equal is unacceptable: nothing to bet on
        bounds = max((a - points) / ratio, 0.0), min((1.0 - points) / ratio, a)
        return [Bet(ratio, points, a, a, self._root(nu, a, a, bounds))]
