"""Reports read back as what was written, or are refused whole."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.delta import (
    READS,
    VERSION,
    Delta,
    Load,
    RolloutDelta,
    Sequences,
    read,
    read_told,
    readable,
    written,
)
from proxy.core.histogram import BUCKET_COUNT, Histogram
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.core.users import LONGEST, PLACES
from proxy.core.wire_values import MOST
from proxy.errors import WireError
from proxy.model import EndpointStatus, ErrorClass, FallbackReason, Path
from tests.core.test_series_wire import INCREMENTS, SIGHTINGS

COUNTS = st.integers(0, 1_000_000)
NAMES = st.text(min_size=1, max_size=20)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    tally = Tally(
        assigned_v1=draw(COUNTS),
        assigned_v2=draw(COUNTS),
        overridden=draw(COUNTS),
        fallback_errors=draw(COUNTS),
        client_requests=draw(COUNTS),
        client_errors=draw(COUNTS),
        client_aborts=draw(COUNTS),
    )
    for path in Path:
        side = tally.of(path)
        for latency_s in draw(st.lists(st.floats(0, 2_000), max_size=10)):
            side.requests += 1
            side.latency.record(latency_s)
        if side.requests:
            side.errors[draw(st.integers(0, len(side.errors) - 1))] = draw(st.integers(0, side.requests))
    for reason in draw(st.lists(st.sampled_from(FallbackReason), max_size=4)):
        tally.fallbacks[FALLBACK_INDEX[reason]] += 1
        tally.over_budget[FALLBACK_INDEX[reason]] += 2
    for age_s in draw(st.lists(st.floats(0, 2_000), max_size=3)):
        tally.in_flight_v2 = Histogram() if not tally.in_flight_v2.count else tally.in_flight_v2
        tally.in_flight_v2.record(age_s)
    return tally


DELTAS = st.builds(
    Delta,
    source=NAMES,
    number=st.integers(1, MOST),
    rollouts=st.lists(
        st.builds(
            RolloutDelta,
            NAMES,
            COUNTS,
            st.sampled_from(["closed", "open", "half_open", "disabled"]),
            tallies(),
            st.lists(st.integers(0, LONGEST), max_size=9).map(lambda runs: tuple(runs[len(runs) % 3 :])),
        ),
        max_size=3,
    ).map(tuple),
    endpoints=st.lists(
        st.builds(EndpointStatus, st.sampled_from(Path), NAMES, st.booleans(), st.booleans(), COUNTS, COUNTS),
        max_size=3,
    ).map(tuple),
    load=st.builds(Load, COUNTS, COUNTS, st.floats(0, 1_000), COUNTS),
    tunnels=st.tuples(COUNTS, COUNTS),
    cache=st.tuples(COUNTS, COUNTS),
    refused=st.dictionaries(NAMES, COUNTS, max_size=3),
    series=st.lists(INCREMENTS, max_size=3).map(tuple),
    sightings=st.lists(SIGHTINGS, max_size=3).map(tuple),
    telemetry=st.dictionaries(NAMES, COUNTS, max_size=3),
)


OF_VERSION_1 = File(__file__).with_name("report-1.json")


@given(DELTAS, st.sampled_from(READS))
def test_what_is_written_reads_back_equal_in_either_version(delta: Delta, version: int) -> None:
    assert read(json.loads(json.dumps(written(delta, version)))) == delta


def test_a_report_of_the_version_before_is_read_and_can_be_written() -> None:
    """As that version wrote it."""
    document = json.loads(OF_VERSION_1.read_bytes())
    told = read(document)
    assert (told.source, told.number, told.load.connections, told.cache) == ("a/0f", 7, 3, (2, 5))
    tally = told.rollouts[0].tally
    assert (tally.client_requests, tally.v1.requests, tally.v2.latency.count) == (44, 40, 4)
    assert tally.in_flight_v2.buckets() == [(63, 2), (300, 1)]
    assert written(told, document["version"]) == document
    assert read(written(told)) == told


def test_instances_tell_one_another_no_more_than_is_added_up() -> None:
    told = read_told(json.loads(OF_VERSION_1.read_bytes()))
    assert [one.name for one in told.rollouts] == ["default", "quiet"]
    assert told.rollouts[0].counters.tally() == read(json.loads(OF_VERSION_1.read_bytes())).rollouts[0].tally


def test_nothing_that_happened_takes_no_room() -> None:
    assert written(Delta("w", 1, (RolloutDelta("default", 3, "closed", Tally()),))) == {
        "version": VERSION,
        "source": "w",
        "number": 1,
        "rollouts": [{"name": "default", "revision": 3, "breaker": "closed"}],
    }


def test_a_histogram_is_its_first_bucket_and_the_counts_from_there() -> None:
    tally = Tally()
    tally.v2.requests = 3
    tally.v2.errors[ERROR_INDEX[ErrorClass.STATUS]] = 1
    for latency_s in (0.000_010, 0.000_010, 0.000_013):
        tally.v2.latency.record(latency_s)
    delta = Delta("w", 1, (RolloutDelta("default", 0, "open", tally),))
    document = written(delta)["rollouts"][0]
    both = {"requests": 3, "errors": [0, 0, 0, 0, 0, 1], "total_us": 33}
    assert document["v2"] == {**both, "from": 10, "counts": [2, 0, 0, 1]}
    assert "v1" not in document
    assert written(delta, 1)["rollouts"][0]["v2"] == {**both, "latency": [10, 2, 13, 1]}


def test_of_pairs_too_only_the_buckets_between_the_first_and_the_last_are_kept() -> None:
    """Else a report of a few KiB, of empty histograms, would take up a hundred MiB."""
    rollout = {"name": "default", "revision": 0, "breaker": "open"}
    told = [{"total_us": 0, "latency": []}, {"total_us": 56, "latency": [13, 2, 10, 1, 10, 2]}]
    document = {"version": 1, "source": "w", "number": 1}
    spreads = [
        read_told({**document, "rollouts": [{**rollout, "in_flight_v2": one}]})
        .rollouts[0]
        .counters.in_flight["in_flight_v2"]
        for one in told
    ]
    assert [(one.first, one.counts, len(one.digits)) for one in spreads] == [
        (0, [], 0),
        (10, [3, 0, 0, 2], 32),
    ]


def test_what_is_under_way_is_told_apart() -> None:
    tally = Tally(in_flight_v1=Histogram.of([(63, 2)], 126))
    document = written(Delta("w", 1, (RolloutDelta("default", 0, "open", tally),)))["rollouts"][0]
    assert document["in_flight_v1"] == {"total_us": 126, "from": 63, "counts": [2]}
    assert "in_flight_v2" not in document


@pytest.mark.parametrize(
    "ages",
    [
        *(None, [], {"total_us": 5}, {"total_us": -1, "from": 0, "counts": []}),
        *({"total_us": 1, "from": 0, "counts": []}, {"total_us": 1, "from": 0, "counts": [MOST, 1]}),
    ],
)
def test_what_is_under_way_is_a_histogram(ages: object) -> None:
    document = written(Delta("w", 1, (RolloutDelta("default", 0, "open", Tally()),)))
    document["rollouts"][0]["in_flight_v1"] = ages
    with pytest.raises(WireError, match=r"rollouts\.0\.in_flight_v1"):
        read(document)


@pytest.mark.parametrize(
    "users", [None, {}, [1, 2], [PLACES, 1, 1], [0, LONGEST + 1, 0], [0, 1, -1], [0, 1, 1] * (PLACES + 1)]
)
def test_users_are_places_with_two_runs(users: object) -> None:
    document = written(Delta("w", 1, (RolloutDelta("default", 0, "open", Tally(), (5, 2, 1)),)))
    assert document["rollouts"][0]["users"] == [5, 2, 1]
    document["rollouts"][0]["users"] = users
    with pytest.raises(WireError, match=r"rollouts\.0\.users"):
        read(document)


def test_a_report_without_refusals_is_one_of_an_older_version() -> None:
    document = written(Delta("a", 1, refused={"tls": 2}))
    assert document["refused"] == {"tls": 2}
    del document["refused"]
    assert read(document).refused == {}


@pytest.mark.parametrize("refused", [[], {"": 1}, {"tls": -1}, {"tls": "2"}, {str(n): 1 for n in range(65)}])
def test_refusals_are_a_few_reasons_with_counts(refused: object) -> None:
    document = {**written(Delta("a", 1)), "refused": refused}
    with pytest.raises(WireError, match="refused"):
        read(document)


def test_unknown_keys_are_left_alone() -> None:
    delta = Delta("w", 1)
    assert read({**written(delta), "later": 1}) == delta


# ... what is refused


def sound(version: int = VERSION) -> dict[str, Any]:
    """A report with something everywhere."""
    tally = Tally(assigned_v2=1, client_requests=1)
    tally.v2.requests = tally.v2.errors[0] = 1
    tally.v2.latency.record(0.5)
    tally.fallbacks[0] = 1
    endpoint = EndpointStatus(Path.V1, "http://a:1", True, False, 0, 0)
    rollouts = (RolloutDelta("default", 2, "closed", tally),)
    return written(Delta("w", 1, rollouts, (endpoint,), Load(1, 1, 0.5, 1), tunnels=(1, 1)), version)


def _at(document: Any, path: str) -> tuple[Any, Any]:
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in above:
        document = document[part]
    return document, last


@pytest.mark.parametrize("absurd", [-1, True, 1.5, "1", None, [], {}, MOST + 1, float("nan")])
@pytest.mark.parametrize(
    "path",
    [
        *("number", "load.0", "load.1", "load.3", "rollouts.0.revision", "rollouts.0.client_requests"),
        *("rollouts.0.fallbacks.0", "rollouts.0.v2.requests", "rollouts.0.v2.errors.0"),
        *("rollouts.0.v2.total_us", "rollouts.0.v2.from", "endpoints.0.4", "endpoints.0.5"),
        *("1:rollouts.0.v2.latency.0", "1:rollouts.0.v2.latency.1"),
    ],
)
def test_a_count_is_a_whole_number_within_reason(path: str, absurd: object) -> None:
    version, _, path = path.rpartition(":")
    document = sound(int(version or VERSION))
    table, key = _at(document, path)
    table[key] = absurd
    with pytest.raises(WireError, match="must be a whole number"):
        read(document)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("version", 3, "report: is of version 3, and this dualpath reads 1 and 2"),
        ("version", 10**400, "report: is of version 1000"),
        ("version", True, "report: version True is none"),
        ("version", [], "report: version [] is none"),
        ("version", "x" * 10_000, "report: version 'xxx"),
        ("source", "", "source: must be text"),
        ("source", "x" * 3000, "source: must be text"),
        ("source", 5, "source: must be text"),
        ("number", 0, "number: must be a whole number from 1"),
        ("load", None, "load: must be a list"),
        ("load", [1, 2, 3], "load: must be 4 values"),
        ("load.2", -0.5, "load: must be seconds"),
        ("load.2", "1", "load: must be seconds"),
        ("load.2", True, "load: must be seconds"),
        ("load.2", float("nan"), "load: must be seconds"),
        ("tunnels", [1], "tunnels: must be 2 values"),
        ("tunnels", [1, -1], "tunnels: must be a whole number from 0"),
        ("rollouts", {}, "rollouts: must be a list"),
        ("rollouts", [{}] * 10_001, "rollouts: must be a list of at most"),
        ("rollouts.0", 5, "rollouts.0: must be an object"),
        ("rollouts.0.name", None, "rollouts.0.name: must be text"),
        ("rollouts.0.breaker", "ajar", "rollouts.0.breaker: no such state"),
        ("rollouts.0.fallbacks", [1], "rollouts.0.fallbacks: must be 7 values"),
        ("rollouts.0.v2", [], "rollouts.0.v2: must be an object"),
        ("rollouts.0.v2.errors", [0] * 9, "rollouts.0.v2.errors: must be 6 values"),
        ("rollouts.0.v2.errors.0", 2, "rollouts.0.v2: its counts contradict each other"),
        ("rollouts.0.v2.requests", 2, "rollouts.0.v2: its counts contradict each other"),
        ("rollouts.0.v2.counts", [], "rollouts.0.v2: its counts contradict each other"),
        ("rollouts.0.v2.counts", [2], "rollouts.0.v2: its counts contradict each other"),
        ("rollouts.0.v2.counts", {}, "rollouts.0.v2.counts: must be a list"),
        ("rollouts.0.v2.counts", [0] * (BUCKET_COUNT + 1), "rollouts.0.v2.counts: there are 832 buckets"),
        ("rollouts.0.v2.from", BUCKET_COUNT, "rollouts.0.v2.from: must be a whole number"),
        ("rollouts.0.v2.counts.0", -1, "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", 1.0, "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", "1", "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", None, "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", [], "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", 1 << 64, "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("rollouts.0.v2.counts.0", float("nan"), "rollouts.0.v2.counts: must be whole numbers from 0"),
        ("1:rollouts.0.v2.latency", [], "rollouts.0.v2: its counts contradict each other"),
        ("1:rollouts.0.v2.latency", [1], "rollouts.0.v2.latency: must be pairs"),
        ("1:rollouts.0.v2.latency", [0, 0] * (BUCKET_COUNT + 1), "rollouts.0.v2.latency: must be pairs"),
        ("1:rollouts.0.v2.latency.0", BUCKET_COUNT, "rollouts.0.v2.latency: must be a whole number"),
        ("rollouts.0.v2.total_us", 1 << 31, "rollouts.0.v2.total_us: must be a whole number"),
        ("endpoints.0", ["v1"], "endpoints.0: must be 6 values"),
        ("endpoints.0.0", "v3", "endpoints.0: must be of v1 or v2"),
        ("endpoints.0.0", [], "endpoints.0: must be of v1 or v2"),
        ("endpoints.0.1", 5, "endpoints.0: must be text"),
        ("endpoints.0.2", 1, "endpoints.0: must say true or false"),
        ("endpoints.0.3", None, "endpoints.0: must say true or false"),
    ],
)
def test_what_is_not_as_agreed_is_refused_with_its_place(path: str, value: object, says: str) -> None:
    version, _, path = path.rpartition(":")
    document = sound(int(version or VERSION))
    table, key = _at(document, path)
    table[key] = value
    with pytest.raises(WireError) as refused:
        read(document)
    assert str(refused.value).startswith(says)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("document", [None, 5, "x", [], [{}], {}])
def test_what_is_no_report_is_refused(document: object) -> None:
    with pytest.raises(WireError):
        read(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    value=JSON,
    path=st.sampled_from(["source", "load", "rollouts", "rollouts.0", "rollouts.0.v2", "endpoints.0"]),
)
def test_nothing_but_one_error_is_raised(value: object, path: str) -> None:
    document = sound()
    table, key = _at(document, path)
    table[key] = value
    with suppress(WireError):
        assert isinstance(read(document), Delta)


# ... what has been counted before


def test_a_report_is_counted_once() -> None:
    sequences = Sequences()
    assert [sequences.is_next("a", number) for number in (1, 2, 2, 1, 3)] == [True, True, False, False, True]
    assert sequences.lost == 0


def test_each_source_counts_for_itself() -> None:
    sequences = Sequences()
    assert sequences.is_next("a", 1)
    assert sequences.is_next("b", 1)
    sequences.forget("a")
    sequences.forget("never")
    assert sequences.is_next("a", 1)
    assert not sequences.is_next("b", 1)


def test_what_was_left_out_is_known_and_stays_out() -> None:
    sequences = Sequences()
    assert sequences.is_next("a", 4)
    assert sequences.lost == 3
    assert not sequences.is_next("a", 2)
    assert repr(sequences) == "Sequences(1 sources, 3 lost)"


def test_it_says_beforehand_what_could_not_be_reported() -> None:
    well = [(Path.V1, "http://a:1"), (Path.V2, "http://b:1")]
    readable(["shop", "blog"], well)
    with pytest.raises(WireError, match=r"endpoints.1: must be text"):
        readable(["shop"], [well[0], (Path.V2, "http://b/" + "x" * 2048)])
    with pytest.raises(WireError, match=r"rollouts.0.name: must be text"):
        readable(["x" * 2049], well)
    with pytest.raises(WireError, match=r"rollouts: must be a list of at most 10000"):
        readable(["shop"] * 10_001, well)


def test_what_is_only_shown_is_left_out_where_it_cannot_be_read() -> None:
    """One exemplar that ends before it begins must not cost its process everything else that it says."""
    document = written(Delta("w", 1, telemetry={"traces.exported": 3}))
    sound = ["server", "default", "v2", "GET", "2xx", "a" * 32, "b" * 16, 0.5, 1.0]
    document["sightings"] = [[*sound[:7], -0.001, 1.0], sound, "none"]
    document["series"] = [[]]
    told = read(document)
    assert [one.exemplar.value_s for one in told.sightings] == [0.5]
    assert told.series == ()
    assert told.telemetry == {"traces.exported": 3}
