"""Lines over time as SVG that stands in the page itself.

Pure. Owns the drawing alone: no script, no font, nothing from elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WIDTH: Final = 720
_HEIGHT: Final = 170
_LEFT: Final = 64
_RIGHT: Final = 12
_TOP: Final = 10
_BOTTOM: Final = 22
_GAP_S: Final = 180.0

_MOST: Final = 1000
"""Points of a line; the picture has fewer places than that."""

Points = list[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Line:
    """One series: what it is called, the class that gives it its colour, and its points. Of a `steady` one it
    is known what it was between its points: no gap is too long for a line."""

    name: str
    style: str
    points: Points
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture. `marks` are instants at which something happened, with what; `limits` lines across."""

    title: str
    told: Callable[[float], str]
    lines: Sequence[Line]
    span: tuple[float, float]
    marks: Sequence[tuple[float, str]] = ()
    limits: Sequence[tuple[float, str]] = ()


def svg(plot: Plot) -> str:
    """The picture with its title and legend."""
    start, end = plot.span[0], max(plot.span[1], plot.span[0] + 1.0)
    values = [value for line in plot.lines for _, value in line.points if value is not None]
    most = max(values, default=0.0)
    most = max([most, *(limit for limit, _ in plot.limits if limit <= most * 12)]) * 1.1 or 1.0

    def x(at: float) -> float:
        return _LEFT + (at - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (1.0 - value / most) * (_HEIGHT - _TOP - _BOTTOM)

    legend = " ".join(f'<span class="{line.style}">— {escape(line.name)}</span>' for line in plot.lines)
    parts = [
        f"<figure><figcaption><b>{escape(plot.title)}</b> {legend}</figcaption>",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(plot.title)}">',
        *_grid(plot, (start, end), most, (x, y)),
        *(_mark(x(at), what) for at, what in plot.marks if start <= at <= end),
        *(_limit(y(limit), what) for limit, what in plot.limits if limit <= most),
        *(f'<path class="line {line.style}" d="{_path(line, x, y)}"/>' for line in plot.lines),
        "</svg></figure>",
    ]
    return "".join(parts)


def _grid(
    plot: Plot,
    span: tuple[float, float],
    most: float,
    place: tuple[Callable[[float], float], Callable[[float], float]],
) -> Iterator[str]:
    x, y = place
    step = _nice(most / 4)
    for count in range(int(most / step) + 1):
        height = y(count * step)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        label = escape(plot.told(count * step))
        yield f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{label}</text>'
    days = span[1] - span[0] > 86_400.0
    for part in range(5):
        at = span[0] + part * (span[1] - span[0]) / 4
        anchor = ("start", "middle", "middle", "middle", "end")[part]
        text = datetime.fromtimestamp(at, UTC).strftime("%d %b %H:%M" if days else "%H:%M:%S")
        yield f'<text x="{x(at):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{text}</text>'


def _mark(x: float, what: str) -> str:
    ends = f'y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"'
    return f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" {ends}><title>{escape(what)}</title></line>'


def _limit(y: float, what: str) -> str:
    line = f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    place = f'x="{_WIDTH - _RIGHT - 4}" y="{y - 3:.1f}" text-anchor="end"'
    return f'{line}<text class="limit" {place}>{escape(what)}</text>'


def _path(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """A silence longer than some minutes is no line, where points are minutes, or than some of the stretches
    that many of them have become; one point alone is a short one."""
    parts: list[str] = []
    points, stretch_s = thinned(line.points)
    gap_s = math.inf if line.steady else max(_GAP_S, 2.0 * stretch_s)
    before = -math.inf
    for at, value in points:
        if value is None:
            before = -math.inf
            continue
        joined = before > -math.inf and at - before < gap_s
        parts.append(f"{'L' if joined else 'M'}{x(at):.1f} {y(value):.1f}{'' if joined else 'h2'}")
        before = at
    return "".join(parts)


def thinned(points: Points) -> tuple[Points, float]:
    """At most `_MOST` points, and how long the stretches are of which the lowest and the highest are kept."""
    if len(points) <= _MOST:
        return points, 0.0
    first, last = points[0][0], points[-1][0]
    stretch_s = (last - first) / (_MOST // 2 - 1)
    kept: Points = []
    for _, group in groupby(points, key=lambda point: int((point[0] - first) / stretch_s)):
        known = [(at, value) for at, value in group if value is not None]
        if known:
            ends = {min(known, key=itemgetter(1)), max(known, key=itemgetter(1))}
            kept += sorted(ends)
    return kept, stretch_s


def _nice(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(one * size for one in (1.0, 2.0, 2.5, 5.0, 10.0) if one * size >= step * 0.999)
