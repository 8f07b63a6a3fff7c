"""What was measured against what is to be reached: rows as `report_targets` shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.judging.cases import GROUPS
from benchmarks.report_tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Row = dict[str, Any]

OWN = "dualpath"
COST_LIMIT_US = 50.0
_LATE = 2.2  # the 95th percentile, as a multiple of what the median is to reach
_FALSE = {"equal": 1 / 540, "tolerance": 7 / 720, "shared": 0.0, "noise": 0.05, "latency_equal": 0.01}
_WRONG = 0.075
_PROMOTED_WITHIN = 400

TITLES = {
    **{name: group.title for name, group in GROUPS.items()},
    "latency_equal": "v2 as fast as v1, 24 h",
    "latency_fault": "v2 becomes slow after an hour, 10 rps, 10 % to v2",
    "promotion": "Shown to be as good",
}
"""By group, in the order of the page."""


def targets(rows: Sequence[Row], cost_us: float | None) -> list[dict[str, Any]]:
    """All that the rows can tell."""
    found = [*_false(rows), *_detected(rows), *_promoted(rows)]
    if cost_us is not None:
        found.append(_below("a tick of a rollout, errors and latencies", COST_LIMIT_US, cost_us, " µs"))
    return found


def of_group(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of one group."""
    return [row for row in rows if row["group"] == name]


def _false(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for name, limit in _FALSE.items():
        of = of_group(rows, name)
        for part, some in _shares(of) if name == "noise" else (("", of),):
            if not some:
                continue
            played = sum(row["runs"] for row in some)
            false = sum(row["rollbacks"][OWN] for row in some)
            # Where one in hundreds may be false, one alone tells nothing in a shorter run.
            allowed = max(limit * played, 1.0) if 0.0 < limit < 0.01 else limit * played
            yield {
                "what": f"false rollbacks, {TITLES[name]}{part}",
                "limit": f"at most {100.0 * limit:.2g} %",
                "measured": f"{false} of {played}",
                "met": false <= allowed,
            }


def _shares(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for share in ("10 %", "50 %"):
        yield f", {share} to v2", [row for row in rows if f" {share} to v2" in row["case"]]


def _detected(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        for key, unit in (("requests", " requests"), ("seconds", " s")):
            limit = row.get("limit_requests" if key == "requests" else "limit_s")
            if limit is None:
                continue
            of = row["rules"][OWN]
            spread = of[key]
            late = spread is not None and spread["p95"] <= _LATE * limit
            told = (
                "not seen"
                if spread is None
                else f"{number(spread['median'])}{unit}, p95 {number(spread['p95'])}"
            )
            yield {
                "what": f"until rolled back: {row['case']}",
                "limit": f"median at most {number(limit)}{unit}, p95 {number(_LATE * limit)}",
                "measured": told + (f", {of['missed']} not seen" if of["missed"] else ""),
                "met": late and spread["median"] <= limit and not of["missed"],
            }


def _promoted(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in of_group(rows, "promotion"):
        if row["is_good"]:
            if row["share"] == 0.1:
                median = row["requests"]["median"] if row["requests"] else float("inf")
                yield _below(f"promotion, {row['case']}", _PROMOTED_WITHIN, median, " requests")
        else:
            wrong = row["promoted"] / row["runs"]
            what = f"wrong promotions, {row['case']}"
            yield _below(what, 100.0 * _WRONG, 100.0 * wrong, " %")


def _below(what: str, limit: float, value: float, unit: str) -> dict[str, Any]:
    return {
        "what": what,
        "limit": f"at most {number(limit)}{unit}",
        "measured": f"{number(value)}{unit}",
        "met": value <= limit,
    }
