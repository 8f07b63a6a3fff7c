"""What is written comes back equal; what was not written by us never comes back as a state."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from sys import float_info

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import StoreCorrupt
from proxy.judgment import Action, EvidenceReading, GuardReading, Judgment, Metric, Need, Unit
from proxy.model import BUCKETS, RolloutState, State, Transition
from proxy.stores.records import decode_state, decode_transition, encode_transition
from tests.stores.states import NEW, step

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
states = st.builds(
    RolloutState,
    name=texts,
    state=st.sampled_from(State),
    weight=st.integers(0, BUCKETS),
    phase=st.none() | texts,
    revision=counts,
    since=finite,
    reason=texts,
)
readings = st.builds(
    GuardReading, value=st.none() | finite, limit=finite, guard=texts, sample=counts, min_requests=counts
)
needs = st.builds(Need, criterion=texts, have=st.none() | finite, need=finite, seconds=st.none() | finite)
judgments = st.builds(
    Judgment,
    reasons=st.tuples(texts),
    cause=texts,
    step=counts,
    readings=st.tuples(readings),
    alerts=st.tuples(readings),
    needs=st.tuples(needs),
)
transitions = st.builds(
    Transition, states, states, texts, texts, texts, at=finite, judgment=st.none() | judgments
)


@given(transitions)
def test_a_transition_comes_back_equal(transition: Transition) -> None:
    assert decode_transition(encode_transition(transition)) == transition


def test_a_need_that_is_not_finite_is_not_known() -> None:
    need = Need("evidence:regression", False, float("inf"), 10.0, Unit.EVIDENCE)
    transition = Transition(NEW, NEW, "alert:g", "r", "controller", 1.0, Judgment(needs=(need,)))
    read = decode_transition(encode_transition(transition)).judgment
    assert read is not None
    assert read.needs[0].have is None


def test_what_was_written_before_there_were_needs_can_be_read() -> None:
    document = orjson.loads(encode_transition(Transition(NEW, NEW, "", "", "", 1.0, Judgment())))
    del document["judgment"]["needs"]
    assert decode_transition(orjson.dumps(document)).judgment == Judgment()


def test_a_reading_that_is_not_finite_comes_back_as_no_reading() -> None:
    reading = GuardReading("g", Metric.HEALTH, float("inf"), 1.0, 1, 1, False, False, Action.ALERT)
    transition = Transition(NEW, NEW, "alert:g", "r", "controller", 1.0, Judgment(readings=(reading,)))
    read = decode_transition(encode_transition(transition)).judgment
    assert read is not None
    assert read.readings[0].value is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("after", "weight", 100_001), "outside 0..100000"),
        (("before", "weight", -1), "outside 0..100000"),
        (("after", "revision", -2), "revision -2"),
        (("after", "state", "flying"), "after.state"),
        (("after", "weight", "12"), "after.weight"),
        (("before", "since", None), "before.since"),
    ],
)
def test_a_wrong_field_is_named(change: tuple[str, str, object], problem: str) -> None:
    side, field, value = change
    document = orjson.loads(encode_transition(step(NEW, 10)))
    document[side][field] = value
    with pytest.raises(StoreCorrupt, match=problem):
        decode_transition(orjson.dumps(document))


@pytest.mark.parametrize("record", ["", "{", "[]", "null", "{}", '"x"', b"\xff\xfe"])
def test_what_is_no_record_is_corrupt(record: str | bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode_transition(record)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 1.5},
        {"weight": 200_000},
        {"state": b"\xff"},
        {"revision": -1},
        {"since": "now"},
        {"name": None},
    ],
)
def test_a_state_of_wrong_fields_is_corrupt(change: dict[str, object]) -> None:
    good = {
        "name": "a",
        "state": "running",
        "weight": 5,
        "phase": None,
        "revision": 1,
        "since": 1.0,
        "reason": "",
    }
    assert decode_state(good) == RolloutState("a", State.RUNNING, 5, None, 1, 1.0, "")
    with pytest.raises(StoreCorrupt):
        decode_state({**good, **change})


@pytest.mark.parametrize(
    ("value", "read"), [(inf, float_info.max), (-inf, -float_info.max), (nan, 0.0), (4.6, 4.6)]
)
def test_evidence_beyond_all_numbers_is_read_back(value: float, read: float) -> None:
    """What is written has to be read again whatever a judge makes of its figures."""
    evidence = (
        EvidenceReading("errors", value, 4.6, against=True),
        EvidenceReading("limit", 0.5, value, False),
    )
    transition = replace(step(NEW, 1), judgment=Judgment(evidence=evidence))
    told = decode_transition(encode_transition(transition)).judgment
    assert told is not None
    assert [(one.value, one.needed) for one in told.evidence] == [(read, 4.6), (0.5, read)]
