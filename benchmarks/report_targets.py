"""What the project set itself as targets, and whether the last runs met them. Pure: documents in, rows out.

A script may write rows of its own under `targets`; those of the others are worked out here.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.report_tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.results import Document

SCALE_LIMIT = 1.3
TRACING_LIMIT = 1.03
_COST = (("200 B", "nginx", 1.35), ("200 B", "envoy", 0.6), ("16 KiB", "nginx", 1.0), ("1 MiB", "nginx", 0.7))


@dataclass(frozen=True, slots=True)
class Target:
    """One row; `met` is None where the run cannot tell."""

    what: str
    limit: str
    measured: str
    met: bool | None


def targets(documents: Mapping[str, Document]) -> list[Target]:
    """All that the documents which are there can answer."""
    works = {
        "proxy_cost": _cost,
        "latency": _latency,
        "workers": _workers,
        "memory": _memory,
        "scale": _scale,
        "decisions": _decisions,
        "rollback_reaction": _reaction,
        "tracing_cost": _tracing,
    }
    rows: list[Target] = []
    for name, document in documents.items():
        if "targets" in document:
            rows += (
                Target(one["what"], one["limit"], one["measured"], one["met"]) for one in document["targets"]
            )
        elif name in works:
            rows += works[name](document)
    return rows


def _below(what: str, limit: float, value: float, unit: str = "") -> Target:
    return Target(what, f"at most {number(limit)}{unit}", f"{number(value)}{unit}", value <= limit)


def _cost(document: Document) -> Iterator[Target]:
    for load, base, limit in _COST:
        peers = document["loads"].get(load, {})
        if "dualpath" in peers and base in peers:
            pairs = zip(peers["dualpath"]["rounds"], peers[base]["rounds"], strict=True)
            value = statistics.median(mine["cpu_us"] / other["cpu_us"] for mine, other in pairs)
            yield _below(f"CPU time per request, {load}, against {base}", limit, value, "x")


def _tracing(document: Document) -> Iterator[Target]:
    """Directly, which rounds that differ by more than the limit cannot tell; and by what one trace costs."""
    sampled, traced = (_ratios(document["kinds"], kind) for kind in ("1 %", "100 %"))
    low, median, high = statistics.quantiles(sampled, n=4)
    yield Target(
        "CPU time per request, one in a hundred traced, against none",
        f"at most {number(TRACING_LIMIT)}x",
        f"{number(median)}x, quartiles {number(low)} to {number(high)}",
        None if low <= TRACING_LIMIT <= high else median <= TRACING_LIMIT,
    )
    hundredth = 1 + (statistics.median(traced) - 1) / 100
    yield _below("the same, a hundredth of what traces of all cost", TRACING_LIMIT, hundredth, "x")


def _ratios(kinds: dict[str, Any], kind: str) -> list[float]:
    pairs = zip(kinds[kind]["rounds"], kinds["off"]["rounds"], strict=True)
    return [mine["cpu_us"] / other["cpu_us"] for mine, other in pairs]


def _latency(document: Document) -> Iterator[Target]:
    one: dict[str, Any] = document["peers"].get("dualpath", {})
    if one.get("p99_ratio_to_nginx") is not None:
        rate = document["options"]["rate"]
        yield _below(
            f"p99 at {rate:,} requests/s offered, against nginx",
            document["target_p99_ratio"],
            one["p99_ratio_to_nginx"],
            "x",
        )


def _workers(document: Document) -> Iterator[Target]:
    by_number: dict[str, Any] = document["workers"]
    for name, one in by_number.items():
        if name == "2" and "1" in by_number:
            limit, value = document["target_throughput_ratio"], one["throughput_ratio"]
            met = value >= limit if document["cores_suffice"] else None
            yield Target(
                "throughput, two workers against one", f"at least {limit}x", f"{number(value)}x", met
            )
        at_start, idle = one["memory"]
        largest = max(at_start["mib"][1:] or at_start["mib"])
        yield _below(f"memory of a worker, {name} in all", document["limit_worker_mib"], largest, " MiB")
        what = f"memory with {idle['connections']:,} idle connections, workers {name}"
        yield _below(what, document["limit_all_mib"], sum(idle["mib"]), " MiB")


def _memory(document: Document) -> Iterator[Target]:
    for one in document["readings"]:
        yield _below(f"growth in memory, {one['case']}", one["limit_mib"], one["growth_mib"], " MiB")


def _scale(document: Document) -> Iterator[Target]:
    largest: dict[str, float] = {}
    for one in document["growth"]:
        largest[one["axis"]] = max(one["ratio"], largest.get(one["axis"], 0.0))
    for axis, ratio in largest.items():
        yield _below(f"CPU time per request as {axis} grow", SCALE_LIMIT, ratio, "x")


def _decisions(document: Document) -> Iterator[Target]:
    """Of the last build, which is the compiled one where there is one."""
    build, one = list(document["builds"].items())[-1]
    limits: dict[str, float] = document["options"]["limits_s"]
    for key, limit in limits.items():
        factor, unit = (1e3, " ms") if key == "tick_s" else (1e6, " µs")
        what = f"one {key.removesuffix('_s')}, {build}"
        yield _below(what, limit * factor, one["median"][key] * factor, unit)


def _reaction(document: Document) -> Iterator[Target]:
    limits: dict[str, float] = document["options"]["limits_ms"]
    for mechanism, limit in limits.items():
        worst = [one["worst_ms"] for one in document["cases"] if one["mechanism"] == mechanism]
        if worst:
            yield _below(f"last request to a failing v2, {mechanism}", limit, max(worst), " ms")
    harmed = sum(run["bad"] for one in document["cases"] for run in one["runs"])
    yield _below("clients harmed while v2 failed, all runs", 0, harmed)
