"""The benchmarks' page: what is checked in is what the results say, and any subset of them makes a page."""

from __future__ import annotations

import getpass
import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import report, results
from benchmarks.digits import rounded
from benchmarks.report_tables import anything, markdown, number
from benchmarks.report_targets import Target, targets

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {
    "processor": "A Processor",
    "cores": 4,
    "memory_gib": 8.0,
    "kernel": "6.1.0",
    "python": "3.12.0",
    "at": "2026-01-02T03:04:05+00:00",
}


def document(**found: Any) -> results.Document:
    return {"machine": MACHINE, "versions": {"dualpath": "1.0.0"}, "options": {"rounds": 2}, **found}


def cost(*rounds: float) -> dict[str, Any]:
    median = {"cpu_us": 1.0, "requests_per_s": 9000.0, "p50_ms": 1.0, "p99_ms": 2.0, "failed": 0}
    return {"median": median, "cpu_ratio_to_nginx": 1.0, "rounds": [{"cpu_us": one} for one in rounds]}


def workers(ratio: float, suffice: bool) -> results.Document:
    middle = {"requests_per_s": 1.0, "cpu_us": 20.0, "busiest": 0.5, "failed": 0}
    memory = [
        {"connections": 0, "held": 0, "mib": [50.0, 40.0]},
        {"connections": 9, "held": 9, "mib": [70.0]},
    ]
    one = {"median": middle, "throughput_ratio": ratio, "cpu_ratio": 1.0, "rounds": [], "memory": memory}
    told = document(
        target_throughput_ratio=1.8,
        limit_worker_mib=60,
        limit_all_mib=512,
        cores_suffice=suffice,
        workers={"1": one, "2": one},
    )
    told["options"]["idle"] = 9
    return told


# ... what is checked in


def test_the_page_is_what_the_results_say() -> None:
    wanted = report.page(report.read_all(), report.pictures())
    assert report.PAGE.read_text() == wanted, "run python -m benchmarks.report"


def test_every_picture_of_the_page_is_there() -> None:
    named = re.findall(r"\]\((benchmarks/[^)]+)\)", report.PAGE.read_text())
    assert [name for name in named if not (report.DOCS / name).exists()] == []


def test_the_results_name_nobody() -> None:
    """No host, no user, no path of the machine that they were made on."""
    for file in results.KEPT.glob("*.json"):
        text = file.read_text()
        assert len(text) < 200_000, file
        assert set(json.loads(text)) >= {"machine", "versions", "options"}, file
        assert re.search(r"/(home|root|tmp|work|usr)/|[A-Z]:\\\\", text) is None, file
        names = {socket.gethostname(), getpass.getuser()} - {"root", "localhost"}
        assert [name for name in names if f'"{name}"' in text] == [], file


# ... the page


def test_no_results_make_a_page_too() -> None:
    page = report.page({}, set())
    assert "# Benchmarks" in page
    assert "make bench" in page
    assert "Targets" not in page


def test_a_section_shows_its_picture_only_if_it_was_drawn() -> None:
    documents = {"scale": document(growth=[{"axis": "routes", "size": "1", "ratio": 1.0, "rounds": [1]}])}
    assert "scale.svg" not in report.page(documents, set())
    assert "![As it grows](benchmarks/scale.svg)" in report.page(documents, {"scale.svg"})


def test_a_section_says_on_what_it_ran() -> None:
    page = report.page({"restart": document(rows=[{"what": "one restart", "ms": 0.5}])}, set())
    assert "| one restart | 0.5 |" in page
    assert "A Processor, 4 cores, 8.0 GiB, Linux 6.1.0, Python 3.12.0; 2026-01-02" in page
    assert "benchmarks/restart.py (rounds 2); dualpath 1.0.0" in page


def test_too_few_cores_are_said() -> None:
    page = report.page({"workers": workers(1.1, suffice=False)}, set())
    assert "too few cores" in page
    assert "| throughput, two workers against one | at least 1.8x | 1.1x | cannot tell here |" in page
    assert "too few cores" not in report.page({"workers": workers(1.1, suffice=True)}, set())


def test_who_does_not_keep_up_is_named() -> None:
    told = document(target_p99_ratio=1.5, peers={"fast": cost(1), "slow": cost(1)})
    for name, one in told["peers"].items():
        answered = 9_900.0 if name == "fast" else 5_000.0
        one["median"] = {**one["median"], "p999_ms": 3.0, "requests_per_s": answered}
        one["p99_ratio_to_nginx"] = None
    told["options"] = {"rate": 10_000}
    assert "mean nothing: slow." in report.page({"latency": told}, set())


# ... the tables


def test_rows_of_unknown_documents_become_tables_without_what_is_nested() -> None:
    lines = list(anything(document(found=[{"case": "a|b", "p99_ms": 1.234, "rounds": [1]}], alone=5)))
    assert lines == ["| case | p99 ms |", "| --- | ---: |", "| a\\|b | 1.23 |", ""]


def test_named_rows_become_a_table_with_their_names() -> None:
    lines = list(anything(document(modes={"breaker": {"ms": 12}, "guard": {"ms": None}})))
    assert lines[2:] == ["| breaker | 12 |", "| guard |  |", ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (1234567, "1,234,567"),
        (12345.6, "12,346"),
        (0.12345, "0.123"),
        (None, ""),
    ],
)
def test_numbers_are_written_for_people(value: object, text: str) -> None:
    assert number(value) == text


def test_a_table_has_a_line_under_its_head() -> None:
    assert markdown(("a", "b"), [["1", "2"]]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |", ""]


# ... the targets


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Not the ratio of the medians, which would mix a quiet round with a noisy one."""
    loads = {"200 B": {"nginx": cost(10, 20, 10), "dualpath": cost(13, 40, 14)}}
    (row,) = targets({"proxy_cost": document(loads=loads)})
    assert row == Target("CPU time per request, 200 B, against nginx", "at most 1.35x", "1.4x", False)


def test_targets_without_their_peer_are_left_out() -> None:
    assert targets({"proxy_cost": document(loads={"200 B": {"dualpath": cost(1)}})}) == []
    peers = {"dualpath": {"p99_ratio_to_nginx": None}}
    assert targets({"latency": document(peers=peers, target_p99_ratio=1.5)}) == []


def test_workers_have_theirs() -> None:
    rows = targets({"workers": workers(1.9, suffice=True)})
    assert [row.met for row in rows if "throughput" in row.what] == [True]
    memory = [row.measured for row in rows if "memory of a worker" in row.what]
    assert memory == ["40 MiB", "40 MiB"]


def test_the_largest_growth_of_an_axis_counts() -> None:
    growth = [{"axis": "routes", "size": size, "ratio": ratio} for size, ratio in (("1", 1.0), ("9", 1.4))]
    (row,) = targets({"scale": document(growth=growth)})
    assert (row.measured, row.met) == ("1.4x", False)


def test_the_compiled_build_is_held_to_the_limits_of_decisions() -> None:
    median = {"decision_s": 2e-6, "record_s": 1e-7, "tick_s": 4e-3, "worst_tick_s": 5e-3}
    told = document(
        builds={"interpreted": {"median": {**median, "tick_s": 1.0}}, "compiled": {"median": median}}
    )
    told["options"] = {"limits_s": {"decision_s": 1e-6, "tick_s": 5e-3}}
    assert targets({"decisions": told}) == [
        Target("one decision, compiled", "at most 1 µs", "2 µs", False),
        Target("one tick, compiled", "at most 5 ms", "4 ms", True),
    ]
    assert "| compiled | 2 | 0.1 | 4 | 5 |" in report.page({"decisions": told}, set())


def test_the_slowest_reaction_counts_and_every_client() -> None:
    cases = [
        {
            "mechanism": "breaker",
            "failure": how,
            "rate": 100,
            "worst_ms": ms,
            "runs": [{"bad": 1, "reached": 5}],
        }
        for how, ms in (("status", 20.0), ("hang", 60.0))
    ]
    told = document(cases=cases)
    told["options"] = {"limits_ms": {"breaker": 50.0, "guard": 1500.0}}
    slowest, harmed = targets({"rollback_reaction": told})
    assert (slowest.measured, slowest.met) == ("60 ms", False)
    assert (harmed.measured, harmed.met) == ("2", False)
    assert "| breaker | hang | 100 | 60 | 5 | 1 |" in report.page({"rollback_reaction": told}, set())
    assert "limits ms breaker 50/guard 1,500" in report.page({"rollback_reaction": told}, set())


def test_a_document_may_bring_its_own() -> None:
    own = [{"what": "failed requests", "limit": "0", "measured": "0", "met": True}]
    assert targets({"restart": document(targets=own)}) == [Target("failed requests", "0", "0", True)]


# ... the documents


def test_what_is_written_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "DIRECTORY", tmp_path / "new")
    file = results.write("one", versions={"a": "1"}, options={"b": 2}, found={"c": [0.123456, 7]})
    assert file == tmp_path / "new" / "one.json"
    told = results.read("one", tmp_path / "new")
    assert told is not None
    assert list(told) == ["machine", "versions", "options", "c"]
    assert told["c"] == [0.1235, 7]
    assert results.read("two", tmp_path) is None


def test_the_kernel_is_told_without_what_names_the_machine() -> None:
    from benchmarks.machine import machine

    assert re.fullmatch(r"[0-9.]+|unknown", str(machine()["kernel"]))


def test_only_floats_are_cut() -> None:
    value = {"a": 123456, "b": (1.23456, "1.23456"), "c": True, "d": None}
    assert rounded(value) == {"a": 123456, "b": [1.235, "1.23456"], "c": True, "d": None}


@pytest.mark.parametrize(
    ("sampled", "met"), [([1.0, 1.01, 1.02], True), ([0.9, 1.0, 1.1], None), ([1.1] * 3, False)]
)
def test_rounds_that_differ_by_more_than_the_limit_cannot_tell_what_traces_cost(
    sampled: list[float], met: bool | None
) -> None:
    kinds = {
        kind: {"cpu_ratio_to_off": 1.0, "cpu_us": 1.0, "rounds": [{"cpu_us": one} for one in costs]}
        for kind, costs in {"off": [1.0] * 3, "1 %": sampled, "100 %": [2.0] * 3}.items()
    }
    direct, hundredth = targets({"tracing_cost": document(kinds=kinds)})
    assert direct.met is met
    assert (hundredth.measured, hundredth.met) == ("1.01x", True)
