"""Pictures of measurements by matplotlib, which is an extra: `pip install 'dualpath[bench]'`.

Owns how they look. Must never know where figures come from: it takes the documents as they are written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLOURS = {
    "v1": "#2b6cb0",
    "v2": "#dd6b20",
    "v1-fallback": "#805ad5",
    "none": "#4a5568",
    "no answer": "#c53030",
}


class PlotError(Exception):
    """Nothing can be drawn here; the message says what to install."""


def available() -> None:
    """Returns if plots can be drawn; PlotError if not."""
    _matplotlib()


def _matplotlib() -> Any:
    """matplotlib without a display; imported by name, since whoever draws nothing need not have it."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise PlotError(
            "matplotlib is not installed: pip install 'dualpath[bench]', or pip install matplotlib"
        ) from error
    matplotlib.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "grid.alpha": 0.3,
            "svg.fonttype": "none",  # text stays text: small files
            "svg.hashsalt": "dualpath",  # the same figures give the same file
        }
    )
    return matplotlib


def load_course(document: Any, file: Path) -> None:
    """A load over time: latency per path (p50 whole, p99 dashed) above, answers and failures below."""
    figure = _matplotlib().figure.Figure(figsize=(9, 6))
    above, below = figure.subplots(2, 1, sharex=True)
    seconds = document["seconds"]
    for path, colour in COLOURS.items():
        rows = [(one["at"] + 0.5, one["paths"][path]) for one in seconds if path in one["paths"]]
        if not rows:
            continue
        times = [at for at, _ in rows]
        marker = "o" if len(rows) == 1 else ""
        above.plot(times, [row["p50_ms"] for _, row in rows], color=colour, label=path, marker=marker)
        above.plot(times, [row["p99_ms"] for _, row in rows], color=colour, linestyle="--", marker=marker)
        below.plot(times, [row["answers"] for _, row in rows], color=colour, label=path, marker=marker)
    failed = [(one["at"] + 0.5, one["failed"]) for one in seconds if one["failed"]]
    if failed:
        below.scatter(*zip(*failed, strict=True), color=COLOURS["no answer"], s=12, label="failed")
    options = document["options"]
    above.set(yscale="log", ylabel="ms since due, p50 and p99 (dashed)")
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter("{x:g}")
    above.set_title(f"{options['rate']:g} requests/s for {options['duration_s']:g} s", loc="left")
    below.set(xlabel="seconds", ylabel="a second")
    below.set_ylim(bottom=0)
    if seconds:
        above.legend(frameon=False)
        below.legend(frameon=False)
    figure.savefig(file, dpi=110)


def bars(
    file: Path,
    title: str,
    unit: str,
    groups: Mapping[str, Mapping[str, float]],
) -> None:
    """Bars side by side: one block per group, one bar per name in it."""
    figure = _matplotlib().figure.Figure(
        figsize=(8, 0.6 + 0.24 * sum(len(group) + 1 for group in groups.values()))
    )
    axes = figure.subplots()
    place, ticks = 0.0, []
    for group, values in groups.items():
        for name, value in values.items():
            bar = axes.barh(place, value, color="#dd6b20" if name.startswith("dualpath") else "#718096")
            axes.bar_label(bar, fmt="%.3g", padding=3, fontsize=8)
            ticks.append((place, f"{group}, {name}"))
            place += 1
        place += 1
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.invert_yaxis()
    axes.margins(x=0.1)  # room for the figures at the bars
    axes.grid(visible=False, axis="y")
    axes.set(xlabel=unit)
    axes.set_title(title, loc="left")
    figure.savefig(file, metadata={"Date": None})
