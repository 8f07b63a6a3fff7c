"""What the side-by-side measurements make of their rounds, and how they read their tools."""

from __future__ import annotations

import json

import pytest
import typer

from benchmarks import latency, oha, workers
from benchmarks.lineup import chosen, rotated
from benchmarks.oha import Reading
from benchmarks.peers import Place, dualpath_file
from benchmarks.workers import Figure, Memory


def reading(p99_ms: float, failed: int = 0) -> Reading:
    return Reading(p50_ms=1.0, p99_ms=p99_ms, p999_ms=9.0, requests_per_s=100.0, failed=failed)


def figure(requests_per_s: float, cpu_us: float) -> Figure:
    return Figure(requests_per_s, cpu_us, busiest=0.5, failed=1)


# ... who is asked, and when


def test_another_one_is_first_in_every_round() -> None:
    assert [rotated(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert rotated([], 3) == []


def test_peers_are_chosen_by_name() -> None:
    assert chosen("b, a", ["a", "b", "c"], "--only") == ["b", "a"]
    for wrong in ("d", "", "a,d"):
        with pytest.raises(typer.BadParameter, match="--only takes some of: a, b, c"):
            chosen(wrong, ["a", "b", "c"], "--only")


# ... latency


def test_a_ratio_of_latencies_compares_within_one_round() -> None:
    readings = {
        "nginx": [reading(1), reading(10), reading(2)],
        "dualpath": [reading(2), reading(11), reading(3)],
    }
    assert latency.ratio(readings, "dualpath") == 1.5
    assert latency.ratio({"dualpath": [reading(1)]}, "dualpath") is None


def test_medians_are_taken_of_latencies_and_sums_of_failures() -> None:
    middle = latency.medians([reading(1, failed=1), reading(50), reading(2, failed=2)])
    assert (middle.p99_ms, middle.failed) == (2, 3)


def test_what_latency_found_is_json() -> None:
    told = latency.found({"nginx": [reading(2)], "dualpath": [reading(3)]})
    assert json.loads(json.dumps(told))["dualpath"]["p99_ratio_to_nginx"] == 1.5


# ... oha


def told_by_oha(**changes: object) -> str:
    return json.dumps(
        {
            "summary": {"requestsPerSec": 999.5},
            "latencyPercentiles": {"p50": 0.001, "p99": 0.002, "p99.9": 0.003},
            "statusCodeDistribution": {"200": 90, "404": 2, "502": 3},
            "errorDistribution": {"connection closed": 5},
            **changes,
        }
    )


def test_oha_is_read_in_milliseconds_and_every_failure_counts() -> None:
    one = oha.read(told_by_oha())
    assert one == Reading(p50_ms=1.0, p99_ms=2.0, p999_ms=3.0, requests_per_s=999.5, failed=10)


def test_a_run_without_an_answer_is_no_reading() -> None:
    nothing = {"p50": None, "p99": None, "p99.9": None}
    with pytest.raises(RuntimeError, match="connection closed"):
        oha.read(told_by_oha(latencyPercentiles=nothing))


# ... workers


def test_workers_are_compared_with_the_fewest_round_by_round() -> None:
    figures = {
        1: [figure(100, 20), figure(50, 30), figure(100, 20)],
        2: [figure(180, 22), figure(95, 30), figure(150, 22)],
    }
    assert workers.ratios(figures, 2) == (1.8, 1.1)
    assert workers.ratios(figures, 1) == (1.0, 1.0)
    assert workers.medians(figures[1]) == Figure(100, 20, 0.5, 3)


def test_what_workers_found_is_json() -> None:
    memory = {1: [Memory(0, 0, [50.0]), Memory(9, 9, [60.0])]}
    told = json.loads(json.dumps(workers.found({1: [figure(1, 1)]}, memory, ample=True)))
    assert told["workers"]["1"]["memory"][1]["mib"] == [60.0]
    assert told["cores_suffice"] is True


def test_the_number_of_workers_comes_into_the_configuration(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path_factory.mktemp("w2"), 1, 2)
    monkeypatch.setattr(workers, "dualpath", dualpath_file)
    workers.recipe(2)(place)
    assert "\n[listen]\nworkers = 2\naddress" in (place.directory / "proxy.toml").read_text()
