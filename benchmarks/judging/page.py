"""The measured parts of docs/judge.md and its plots, from benchmarks/results/judge.json. Pure.

In the page each part stands between `<!-- measured: NAME -->` and `<!-- end -->`, and is renewed there by
`python -m benchmarks.report`; the words around are written by hand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.judging.standing import OWN, TITLES, of_group
from benchmarks.report_tables import markdown, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Document

    Row = dict[str, Any]
    Group = tuple[str, list[Row]]

_PART = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str, document: Document) -> str:
    """The page with its measured parts as the document has them. KeyError for a part that is none."""
    made = parts(document)
    return _PART.sub(lambda found: found[1] + "\n" + "\n".join(made[found[2]]) + "\n" + found[3], text)


def parts(document: Document) -> dict[str, list[str]]:
    """By name: lines of Markdown, each part closed by an empty line."""
    rules: list[str] = document["rules"]
    rows: list[Row] = document["cases"]
    return {
        "false": list(_false(rows, rules)),
        "faults": list(_faults(rows, rules)),
        "noise": list(_noise(rows, rules)),
        "latency": list(_latency(rows)),
        "promotion": list(_promotion(rows)),
        "standing": list(standing(document)),
    }


def standing(document: Document) -> Iterator[str]:
    """What is to be reached, and whether it was."""
    rows = [[one["what"], one["limit"], one["measured"], number(one["met"])] for one in document["targets"]]
    yield from markdown(("what", "to be reached", "measured", "reached"), rows)


def grouped(rows: Sequence[Row]) -> Iterator[Group]:
    """Healthy cases by what tells them apart: the base rate, the kind of disturbance, the share."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = row["case"]
        if row["group"] in {"equal", "tolerance"}:
            name = f"{TITLES[row['group']]}, {name[name.index('base') :]}"
        elif row["group"] == "shared":
            name = name[: name.index(":")]
        elif row["group"] == "noise":
            name = f"{TITLES['noise']}, {name.split(', ')[1]}"
        found.setdefault(name, []).append(row)
    yield from found.items()


def _false(rows: Sequence[Row], rules: Sequence[str]) -> Iterator[str]:
    healthy = [row for name in ("equal", "tolerance", "shared", "noise") for row in of_group(rows, name)]
    lines = [
        [name, f"{sum(row['runs'] for row in of):,}", *(number(_rollbacks(of, rule)) for rule in rules)]
        for name, of in grouped(healthy)
    ]
    yield from markdown(("rollbacks that were wrong", "played", *rules), lines)


def _rollbacks(rows: Sequence[Row], rule: str) -> int:
    return sum(row["rollbacks"][rule] for row in rows)


def _faults(rows: Sequence[Row], rules: Sequence[str]) -> Iterator[str]:
    lines = [
        [row["case"], *(_delay(row["rules"][rule], row["runs"]) for rule in rules)]
        for row in (*of_group(rows, "fault"), *of_group(rows, "deploy"))
    ]
    yield from markdown(("requests to v2 until rolled back; seconds", *rules), lines)


def _delay(one: dict[str, Any], runs: int) -> str:
    """ "158 (p95 349); 166 s, 2 false"."""
    if not one["seen"]:
        return "never"
    requests, seconds = one["requests"], one["seconds"]
    told = f"{number(requests['median'])} (p95 {number(requests['p95'])}); {number(seconds['median'])} s"
    if one["missed"]:
        told += f", {100 * one['missed'] // runs} % missed"
    return told + (f", {100 * one['false'] // runs} % before" if one["false"] else "")


def _noise(rows: Sequence[Row], rules: Sequence[str]) -> Iterator[str]:
    lines = [
        [row["case"], number(row["runs"]), *(number(row["rollbacks"][rule]) for rule in rules)]
        for row in of_group(rows, "noise")
    ]
    yield from markdown(("12 h", "played", *rules), lines)


def _latency(rows: Sequence[Row]) -> Iterator[str]:
    healthy = [
        [row["case"], number(row["runs"]), number(row["rollbacks"][OWN])]
        for row in of_group(rows, "latency_equal")
    ]
    yield from markdown(("10 rps, 10 % to v2, 24 h", "played", "rollbacks"), healthy)
    slow = [
        [row["case"], number(row["runs"]), _delay(row["rules"][OWN], row["runs"])]
        for row in of_group(rows, "latency_fault")
    ]
    yield from markdown(("10 rps, 10 % to v2", "played", "requests to v2 until rolled back; seconds"), slow)


def _promotion(rows: Sequence[Row]) -> Iterator[str]:
    lines = []
    for row in of_group(rows, "promotion"):
        requests = row["requests"]
        told = f"{number(requests['median'])} (p95 {number(requests['p95'])})" if requests else ""
        lines.append([row["case"], f"{row['promoted']} of {row['runs']}", told])
    yield from markdown(("", "promoted", "after requests to v2"), lines)


# ... plots, as `report` draws them

Picture = tuple[str, str, dict[str, dict[str, float]]]


def pictures(document: Document) -> dict[str, Picture]:
    """False alarms, and the delay of true ones."""
    rules: list[str] = document["rules"]
    rows: list[Row] = document["cases"]
    false = {
        name: {rule: 100.0 * _rollbacks(of, rule) / sum(row["runs"] for row in of) for rule in rules}
        for kind in ("equal", "shared", "noise")
        for name, of in grouped(of_group(rows, kind))
    }
    delay = {
        row["case"]: {
            rule: row["rules"][rule]["seconds"]["median"] for rule in rules if row["rules"][rule]["seconds"]
        }
        for row in of_group(rows, "fault")
    }
    found: dict[str, Picture] = {}
    if false:
        found["judge_false"] = ("A healthy v2 that is rolled back", "% of the days (noise: half days)", false)
    if delay:
        found["judge_delay"] = ("A faulty v2 until it is rolled back", "seconds, median", delay)
    return found
