"""The oldest events go, in one piece; the newest hundred stay."""

from __future__ import annotations

from proxy.core.audit import Record
from proxy.core.trimming import KEPT, last_over

RECORDS = [Record(seq, str(seq), f"{seq:064d}") for seq in range(1, 11)]


def at(record: Record) -> float | None:
    return None if record.text == "8" else float(record.seq)


def over(before: float, newest: int = KEPT + 100) -> int:
    found = last_over(RECORDS, newest, before, at)
    return 0 if found is None else found.seq


def test_what_is_older_goes() -> None:
    assert [over(before) for before in (0.0, 1.0, 1.5, 5.0)] == [0, 0, 1, 4]


def test_what_nobody_can_date_stays_with_all_behind_it() -> None:
    assert over(100.0) == 7


def test_the_newest_stay_whatever_their_age() -> None:
    assert [over(100.0, newest) for newest in (KEPT, KEPT + 3)] == [0, 3]


def test_of_nothing_nothing_goes() -> None:
    assert last_over([], 0, 5.0, at) is None
