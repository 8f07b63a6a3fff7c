"""Which of what is announced is worth a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.alert_book import MOST_ACTIVE, MOST_SILENCES, AlertBook, Handed, Silence
from proxy.core.notice import Notice, NoticeKind, Severity, of_store, of_test

FIRING = Notice(NoticeKind.RULE, Severity.WARNING, 7.0, "too many", rollout="shop", subject="errors")
RESOLVED = replace(FIRING, resolved=True)
ROLLBACK = Notice(NoticeKind.ROLLBACK, Severity.CRITICAL, 7.0, "worse", rollout="shop", revision=5)


def silence(**more: object) -> Silence:
    return Silence("s1", 100.0, 200.0, **more)  # type: ignore[arg-type]


def test_what_is_over_is_sent_each_time() -> None:
    book = AlertBook()
    assert book.take(ROLLBACK, 1.0) is ROLLBACK
    assert book.take(replace(ROLLBACK, revision=7), 2.0) is not None
    assert book.take(of_test(Severity.INFO, "tess", "", 3.0), 3.0) is not None
    assert book.active() == []


def test_what_lasts_is_sent_when_it_begins_and_when_it_ends() -> None:
    book = AlertBook()
    assert book.take(FIRING, 1.0) is FIRING
    later = replace(FIRING, reason="still")
    assert book.take(later, 2.0) is None
    (active,) = book.active()
    assert (active.notice, active.since, active.sent_at) == (later, 1.0, 1.0)
    assert book.take(RESOLVED, 3.0) is RESOLVED
    assert book.active() == []
    assert book.take(RESOLVED, 4.0) is None


def test_what_lasts_is_sent_again_after_a_while() -> None:
    book = AlertBook(repeat_s=10.0)
    book.take(FIRING, 1.0)
    assert book.due(10.9) == []
    assert book.due(11.0) == [(FIRING, True)]
    assert book.due(12.0) == []
    book.follow(0.0, ())
    assert book.due(1_000.0) == []


def test_what_is_silenced_is_sent_when_the_silence_ends_if_it_lasts() -> None:
    book = AlertBook(configured=[silence()])
    assert book.take(ROLLBACK, 150.0) is None
    assert book.take(FIRING, 150.0) is None
    assert book.due(199.0) == []
    assert book.due(200.0) == [(FIRING, False)]
    assert book.due(201.0) == []


def test_a_resolve_is_sent_if_its_beginning_was() -> None:
    book = AlertBook(configured=[silence()])
    book.take(FIRING, 150.0)
    assert book.take(RESOLVED, 160.0) is None
    book.take(of_store("the disk is full", 50.0), 50.0)
    assert book.take(of_store("", 160.0), 160.0) is not None


@pytest.mark.parametrize(
    ("made", "covers"),
    [
        (silence(), True),
        (silence(alerts=("errors",)), True),
        (silence(alerts=("rule",)), True),
        (silence(alerts=("err*", "other")), True),
        (silence(alerts=("rollback",)), False),
        (silence(rollouts=("shop",)), True),
        (silence(rollouts=("search", "sh*")), True),
        (silence(rollouts=("search",)), False),
    ],
)
def test_a_silence_covers_what_it_names(made: Silence, covers: bool) -> None:
    assert made.covers(FIRING, 100.0) is covers
    assert not made.covers(FIRING, 99.9)
    assert not made.covers(FIRING, 200.0)


def test_people_make_silences_and_end_them() -> None:
    book = AlertBook(configured=[replace(silence(), id="config-0")])
    assert book.silence(silence(), 90.0)
    assert [one.id for one in book.silences(90.0)] == ["config-0", "s1"]
    assert book.silenced(FIRING, 150.0) is not None
    assert book.unsilence("config-0", 90.0) is None
    assert book.unsilence("s1", 90.0) == silence()
    assert book.unsilence("s1", 90.0) is None
    assert book.silence(silence(), 90.0)
    assert book.silences(200.0) == []
    assert book.unsilence("s1", 200.0) is None


@pytest.mark.no_cover
def test_what_is_kept_is_bounded() -> None:
    book = AlertBook()
    for number in range(MOST_SILENCES):
        assert book.silence(replace(silence(), id=str(number)), 1.0)
    assert not book.silence(silence(), 1.0)
    for number in range(MOST_ACTIVE + 2):
        assert book.take(replace(FIRING, subject=str(number)), 1.0) is not None
    assert len(book.active()) == MOST_ACTIVE
    assert repr(book) == f"AlertBook({MOST_ACTIVE} active, {MOST_SILENCES} silences)"


# ... from another process


def handed() -> Handed:
    book = AlertBook()
    book.take(FIRING, 1.0)
    book.silence(silence(alerts=("store",)), 150.0)
    return book.hand_over()


def test_what_was_sent_by_another_process_is_neither_sent_again_nor_forgotten() -> None:
    book = AlertBook(repeat_s=10_000.0)
    book.adopt(handed(), 150.0, lambda notice: 60.0)
    assert book.take(of_store("gone", 150.0), 150.0) is None  # silenced there
    assert book.due(151.0) == []
    assert book.take(FIRING, 152.0) is None
    assert book.due(1_000.0) == [(book.active()[1].notice, False)]  # the rule's is known
    assert book.take(RESOLVED, 1_001.0) is RESOLVED


def test_what_is_not_seen_again_is_resolved_in_time() -> None:
    book = AlertBook()
    book.adopt(handed(), 150.0, lambda notice: 60.0)
    assert book.due(209.0) == []
    ((over, repeated),) = book.due(210.0)
    assert (over.key, over.resolved, over.at, repeated) == (FIRING.key, True, 210.0, False)
    assert "not seen again" in over.reason
    assert (book.active(), book.due(211.0)) == ([], [])


def test_what_was_not_sent_is_not_resolved_either() -> None:
    there = AlertBook(configured=[silence()])
    there.take(FIRING, 150.0)
    book = AlertBook(configured=[silence()])
    book.adopt(there.hand_over(), 150.0, lambda notice: 10.0)
    assert book.due(160.0) == []
    assert book.active() == []


def test_silences_that_were_handed_over_end_as_they_would_have() -> None:
    book = AlertBook()
    book.adopt(handed(), 150.0, lambda notice: 60.0)
    assert [one.id for one in book.silences(199.0)] == ["s1"]
    assert book.silences(200.0) == []


def test_what_finds_no_room_is_silenced_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.core.alert_book.MOST_ACTIVE", 0)
    book = AlertBook(configured=[silence()])
    assert book.take(FIRING, 150.0) is None
    assert book.take(FIRING, 200.0) is FIRING
