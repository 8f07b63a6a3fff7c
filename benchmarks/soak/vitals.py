"""Memory and descriptors of every process over the run: flat, or something leaks.

Owns the samples, taken while nothing is under way, and the judgment on them. A process is judged if it lived
long enough: its first samples are its warm-up and do not count.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENOUGH = 8
"""Samples that a judgment needs."""
MOST_GROWTH_MIB = 8.0
MOST_GROWTH_MIB_PER_HOUR = 120.0
"""Of the memory: both must be passed for a leak, because a heap settles in steps."""
MOST_FDS = 4


@dataclass(slots=True)
class Life:
    """One process: role, and per sample the instant (s), memory (MiB) and descriptors."""

    role: str
    samples: list[tuple[float, float, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Growth:
    """A process that was judged: `from_mib` and `to_mib` are means over a quarter of its samples."""

    role: str
    seconds: float
    from_mib: float
    to_mib: float
    mib_per_hour: float
    from_fds: int
    to_fds: int

    @property
    def leaks(self) -> bool:
        """Whether it is not flat."""
        memory = (
            self.to_mib - self.from_mib > MOST_GROWTH_MIB and self.mib_per_hour > MOST_GROWTH_MIB_PER_HOUR
        )
        return memory or self.to_fds - self.from_fds > MOST_FDS


class Vitals:
    """Samples of all processes that were ever there."""

    def __init__(self) -> None:
        self._lives: dict[int, Life] = {}

    def __repr__(self) -> str:
        return f"<Vitals of {len(self._lives)} processes>"

    def sample(self, now: float, tree: Iterable[psutil.Process]) -> None:
        """Looks at each process once."""
        for at, process in enumerate(tree):
            with contextlib.suppress(psutil.Error):
                life = self._lives.setdefault(process.pid, Life("worker" if at else "serve"))
                life.samples.append((now, process.memory_info().rss / (1 << 20), process.num_fds()))

    def judged(self) -> list[Growth]:
        """Those that lived long enough."""
        return [growth(life) for life in self._lives.values() if len(life.samples) >= ENOUGH]


def growth(life: Life) -> Growth:
    """From the second quarter of its samples to the last one."""
    quarter = len(life.samples) // 4
    samples = life.samples[quarter:]
    early, late = samples[:quarter], samples[-quarter:]
    return Growth(
        life.role,
        samples[-1][0] - samples[0][0],
        _mean([memory for _, memory, _ in early]),
        _mean([memory for _, memory, _ in late]),
        slope([(at, memory) for at, memory, _ in samples]) * 3600,
        min(fds for _, _, fds in early),
        min(fds for _, _, fds in late),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares, per second; 0 where all points are of one instant."""
    mid_at, mid = _mean([at for at, _ in points]), _mean([value for _, value in points])
    spread = sum((at - mid_at) ** 2 for at, _ in points)
    return sum((at - mid_at) * (value - mid) for at, value in points) / spread if spread else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
