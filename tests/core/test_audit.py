"""A chain that was touched anywhere says where, and how."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.audit import (
    GENESIS,
    NO_HEAD,
    Begin,
    Fault,
    Head,
    Record,
    Tampering,
    Verifier,
    canonical,
    link,
)


def chained(*texts: str) -> list[Record]:
    """Records of these texts, from the first on."""
    records, previous = [], GENESIS
    for seq, text in enumerate(texts, 1):
        previous = link(previous, seq, text)
        records.append(Record(seq, text, previous))
    return records


def head_of(records: list[Record]) -> Head:
    return Head(records[-1].seq, records[-1].hash) if records else Head()


def found(records: list[Record], head: Head | None = None) -> Fault | None:
    """What a check of all of them says."""
    verifier = Verifier()
    verifier.take(records)
    return verifier.end(head_of(records) if head is None else head)


WHOLE = chained("one", "two", "three", "four", "five")


def test_a_hash_can_be_computed_by_anybody() -> None:
    """printf '%s\\n%s\\n%s' PREVIOUS SEQ TEXT | sha256sum"""
    assert canonical(GENESIS, 1, "one") == b"0" * 64 + b"\n1\none"
    assert link(GENESIS, 1, "one") == hashlib.sha256(b"0" * 64 + b"\n1\none").hexdigest()
    assert link(link(GENESIS, 1, "one"), 2, "two") == WHOLE[1].hash


@pytest.mark.parametrize("seq", [0, -9])
def test_a_record_before_the_first_was_added(seq: int) -> None:
    fault = found([replace(WHOLE[0], seq=seq), *WHOLE], head_of(WHOLE))
    assert fault == Fault(Tampering.FOREIGN, seq, f"event {seq} is not chained: another program has added it")


def test_a_chain_whose_end_was_removed_may_have_lost_events() -> None:
    text = "the end of the chain is missing: there may have been events after event 5"
    assert found(WHOLE, NO_HEAD) == Fault(Tampering.TRUNCATED, 6, text)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_whole_chain_holds_however_it_is_read(size: int) -> None:
    verifier = Verifier()
    for first in range(0, len(WHOLE), size):
        assert verifier.take(WHOLE[first : first + size]) is None
    assert verifier.end(head_of(WHOLE)) is None
    assert (verifier.seq, verifier.hash) == (5, WHOLE[-1].hash)


def test_nothing_is_a_whole_chain() -> None:
    assert found([], Head()) is None


def test_an_edit_is_named() -> None:
    fault = found([*WHOLE[:2], replace(WHOLE[2], text="THREE"), *WHOLE[3:]])
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.EDIT, 3)
    assert fault.text.startswith("event 3 does not carry its hash")


def test_an_edit_with_a_new_hash_shows_at_the_next() -> None:
    edited = Record(3, "THREE", link(WHOLE[1].hash, 3, "THREE"))
    fault = found([*WHOLE[:2], edited, *WHOLE[3:]])
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.EDIT, 4)


def test_an_edit_of_the_last_with_a_new_hash_shows_at_the_end() -> None:
    edited = Record(5, "FIVE", link(WHOLE[3].hash, 5, "FIVE"))
    fault = found([*WHOLE[:4], edited], head_of(WHOLE))
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.EDIT, 5)
    assert "is not where the chain ended" in fault.text


@pytest.mark.parametrize(
    ("removed", "text"),
    [
        ({1}, "event 1 is missing: event 2 follows event 0"),
        ({3}, "event 3 is missing: event 4 follows event 2"),
        ({2, 3, 4}, "events 2 to 4 are missing: event 5 follows event 1"),
    ],
)
def test_a_gap_is_named(removed: set[int], text: str) -> None:
    fault = found([record for record in WHOLE if record.seq not in removed])
    assert fault == Fault(Tampering.GAP, min(removed), text)


def test_a_gap_that_was_closed_shows() -> None:
    closed = [*WHOLE[:2], *(replace(record, seq=record.seq - 1) for record in WHOLE[3:])]
    fault = found(closed)
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.EDIT, 3)


def test_events_in_each_others_place_are_told_from_edits() -> None:
    swapped = [WHOLE[0], replace(WHOLE[3], seq=2), WHOLE[2], replace(WHOLE[1], seq=4), WHOLE[4]]
    fault = found(swapped)
    assert fault == Fault(Tampering.REORDER, 2, "event 2 is not in its place: it stands at 4")


@pytest.mark.parametrize(
    ("left", "text"), [(4, "event 5 is missing at the end"), (2, "events 3 to 5 are missing at the end")]
)
def test_a_cut_tail_is_named(left: int, text: str) -> None:
    assert found(WHOLE[:left], head_of(WHOLE)) == Fault(Tampering.TRUNCATED, left + 1, text)


def test_what_another_program_added_is_named() -> None:
    fault = found([*WHOLE[:2], replace(WHOLE[2], hash="")])
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.FOREIGN, 3)


def test_a_repeated_number_is_no_continuation() -> None:
    fault = found([*WHOLE[:3], WHOLE[2]])
    assert fault is not None
    assert fault.seq == 4


def test_the_first_fault_stays() -> None:
    verifier = Verifier()
    first = verifier.take(WHOLE[1:2])
    assert first is not None
    assert verifier.take(WHOLE[:1]) is first
    assert verifier.end(head_of(WHOLE)) is first


@given(
    st.lists(st.text(), min_size=2, max_size=8),
    st.integers(0, 7),
    st.sampled_from(["edit", "remove", "swap", "append"]),
)
def test_no_single_change_goes_unnoticed(texts: list[str], at: int, how: str) -> None:
    records = chained(*texts)
    at %= len(records)
    other = (at + 1) % len(records)
    touched = list(records)
    if how == "edit":
        touched[at] = replace(records[at], text=records[at].text + "x")
    elif how == "remove":
        del touched[at]
    elif how == "swap":
        touched[at] = replace(records[other], seq=records[at].seq)
        touched[other] = replace(records[at], seq=records[other].seq)
    else:
        touched.append(Record(len(records) + 1, "more", link(records[-1].hash, len(records) + 1, "more")))
    assert found(touched, head_of(records)) is not None
    assert found(records) is None


def test_what_was_forgotten_is_not_missed_even_while_somebody_reads() -> None:
    records, previous = [], GENESIS
    for seq in range(1, 7):
        previous = link(previous, seq, f"{seq}")
        records.append(Record(seq, f"{seq}", previous))
    verifier = Verifier()
    verifier.behind(Begin(2, records[1].hash))
    assert verifier.take(records[2:3]) is None
    verifier.behind(Begin(2, records[1].hash))  # of no use any more
    assert verifier.begin == Begin(2, records[1].hash)
    verifier.behind(Begin(4, records[3].hash))  # more was forgotten meanwhile
    assert verifier.take(records[4:]) is None
    assert verifier.end(Head(6, records[5].hash)) is None
    wrong = Verifier()
    wrong.behind(Begin(2, records[0].hash))
    assert wrong.take(records[2:]) is not None
    wrong.behind(Begin(9, records[0].hash))
    assert wrong.begin.seq == 2
