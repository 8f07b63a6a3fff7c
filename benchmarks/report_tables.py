"""Tables in Markdown from the documents of benchmarks/results. Pure: documents in, lines out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.results import Document

KEPT_UP = 0.98  # share of the offered requests that a proxy has to answer in time
OUTER = ("machine", "versions", "options", "targets")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """One table; the first column to the left, the others to the right."""
    lines = [_row(header), _row(["---", *["---:"] * (len(header) - 1)])]
    return [*lines, *(_row([cell.replace("|", "\\|") for cell in row]) for row in rows), ""]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: object) -> str:
    """As a person writes it: no more than three or four digits that count."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


def proxy_cost(document: Document) -> Iterator[str]:
    """One table per load, a proxy per row; those that were not installed are left out."""
    for load, peers in document["loads"].items():
        yield from (f"### {load}", "")
        yield from _peers(
            peers,
            "cpu_ratio_to_nginx",
            ("proxy", "CPU µs per request", "x nginx", "requests/s", "p50 ms", "p99 ms", "failed"),
            ("cpu_us", "", "requests_per_s", "p50_ms", "p99_ms", "failed"),
        )


def latency(document: Document) -> Iterator[str]:
    """A proxy per row, and who did not keep up: its latencies then only grow with the length of the run."""
    yield from _peers(
        document["peers"],
        "p99_ratio_to_nginx",
        ("proxy", "p50 ms", "p99 ms", "p99.9 ms", "p99 x nginx", "answered/s", "failed"),
        ("p50_ms", "p99_ms", "p999_ms", "", "requests_per_s", "failed"),
    )
    enough = document["options"]["rate"] * KEPT_UP
    peers = document["peers"].items()
    behind = [name for name, one in peers if one["median"]["requests_per_s"] < enough]
    if behind:
        yield from (f"Did not keep up, so that their latencies mean nothing: {', '.join(behind)}.", "")


def _peers(peers: dict[str, Any], ratio: str, header: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    """Medians by `columns`; the empty one is the ratio."""
    yield from markdown(
        header,
        [
            [name, *(number(one["median"][key]) if key else number(one[ratio]) for key in columns)]
            for name, one in peers.items()
        ],
    )


def workers(document: Document) -> Iterator[str]:
    """Throughput and memory per number of workers."""
    if not document["cores_suffice"]:
        yield from (
            "This machine has too few cores for a ratio of throughputs: the load takes as many as the proxy.",
            "",
        )
    header = ("workers", "requests/s", "x", "CPU µs per request", "x", "failed", "MiB at start", "MiB, idle")
    rows = []
    for name, one in document["workers"].items():
        middle, memory = one["median"], one["memory"]
        rows.append(
            [
                name,
                number(middle["requests_per_s"]),
                number(one["throughput_ratio"]),
                number(middle["cpu_us"]),
                number(one["cpu_ratio"]),
                number(middle["failed"]),
                *(" + ".join(f"{mib:.0f}" for mib in reading["mib"]) for reading in memory),
            ]
        )
    yield from markdown(header, rows)
    idle = f"{document['options']['idle']:,}"
    yield "MiB are resident memory per process: with workers, the supervisor's first."
    yield from (f"Idle: with {idle} connections kept open.", "")


def rollback_reaction(document: Document) -> Iterator[str]:
    """The worst of the runs in each case."""
    header = ("acts", "v2 fails by", "requests/s", "last to v2, ms", "reached v2", "clients harmed")
    rows = [
        [
            one["mechanism"],
            one["failure"],
            number(one["rate"]),
            number(one["worst_ms"]),
            number(max(run["reached"] for run in one["runs"])),
            number(max(run["bad"] for run in one["runs"])),
        ]
        for one in document["cases"]
    ]
    yield from markdown(header, rows)


def decisions(document: Document) -> Iterator[str]:
    """One build per row; medians of the rounds, in microseconds but for the tick."""
    header = ("build", "decision µs", "record µs", "tick ms", "worst tick ms")
    columns = (("decision_s", 1e6), ("record_s", 1e6), ("tick_s", 1e3), ("worst_tick_s", 1e3))
    yield from markdown(
        header,
        [
            [name, *(number(one["median"][key] * factor) for key, factor in columns)]
            for name, one in document["builds"].items()
        ],
    )


def faults(document: Document) -> Iterator[str]:
    """A fault per row: all answers, and what was there before and after."""
    header = ("fault", "answers", "files", "tasks", "MiB")
    looks = ("descriptors", "tasks", "resident_mib")
    rows = []
    for one in document["rows"]:
        told = ", ".join(f"{number(count)} x {answer}" for answer, count in sorted(one["answers"].items()))
        changes = [f"{one['before'][key]:.0f} → {one['after'][key]:.0f}" for key in looks]
        rows.append([one["fault"], told, *changes])
    yield from markdown(header, rows)


def anything(document: Document) -> Iterator[str]:
    """Every list of flat rows, and every table of named rows, under the document's own keys."""
    for key, value in document.items():
        if key in OUTER:
            continue
        if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
            value = [{key: name, **one} for name, one in value.items()]
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            yield from _rows(value)


def _rows(rows: list[dict[str, Any]]) -> Iterator[str]:
    keys = [key for key in rows[0] if not isinstance(rows[0][key], dict | list)]
    header = [key.replace("_us", " µs").replace("_", " ") for key in keys]
    yield from markdown(header, [[number(row.get(key)) for key in keys] for row in rows])


TABLES: dict[str, Callable[[Document], Iterator[str]]] = {
    "proxy_cost": proxy_cost,
    "latency": latency,
    "workers": workers,
    "decisions": decisions,
    "rollback_reaction": rollback_reaction,
    "faults": faults,
}
"""By the name of the document; `anything` serves for the others."""
