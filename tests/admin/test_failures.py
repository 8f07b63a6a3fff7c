from __future__ import annotations

import pytest

from proxy.admin.failures import FailureLog, Welcome


def test_a_peer_without_failures_has_nothing_to_wait_for() -> None:
    assert FailureLog(limit=1, window_s=60.0).wait_s("a", 0.0) == 0.0


def test_a_peer_that_may_still_fail_has_nothing_to_wait_for() -> None:
    log = FailureLog(limit=2, window_s=60.0)
    assert not log.note("a", None, 0.0)
    assert log.wait_s("a", 0.0) == 0.0
    assert not log.note("a", None, 0.0)
    assert log.wait_s("a", 0.0) == pytest.approx(30.0)
    assert log.note("a", None, 0.0)


def test_a_bucket_that_is_full_again_is_forgotten() -> None:
    log = FailureLog(limit=2, window_s=60.0)
    log.note("a", "digest", 0.0)
    assert repr(log) == "<FailureLog 1 peers>"
    assert not log.guessing("a", 30.0)
    assert repr(log) == "<FailureLog 0 peers>"


def test_the_number_of_peers_that_are_remembered_is_bounded() -> None:
    log = FailureLog(limit=1, window_s=60.0, max_peers=2)
    for peer in ("a", "b", "c"):
        log.note(peer, "digest", 0.0)
    assert repr(log) == "<FailureLog 2 peers>"
    assert [log.guessing(peer, 0.0) for peer in ("a", "b", "c")] == [False, True, True]


def test_an_old_token_repeated_for_hours_is_one_guess() -> None:
    log = FailureLog(limit=3, window_s=60.0)
    log.note("a", "first", 0.0)
    for second in range(7200):
        log.note("a", "old", float(second))
    assert not log.guessing("a", 7200.0)


def test_the_guesses_of_a_patient_peer_are_not_all_remembered() -> None:
    log = FailureLog(limit=3, window_s=60.0)
    log.note("a", "digest", 0.0)
    log.note("a", "another digest", 0.0)
    for guess in range(100):
        log.note("a", f"digest {guess}", guess * 20.0)
    (bucket,) = log._peers.values()
    assert list(bucket.tried) == ["digest 97", "digest 98", "digest 99"]


def test_the_number_of_tokens_that_were_good_is_bounded() -> None:
    welcome = Welcome()
    for peer in range(3000):
        welcome.remember(str(peer), "digest")
    assert repr(welcome) == "<Welcome 1024>"
    assert welcome.knows("2999", "digest")
    assert not welcome.knows("2999", "another")
    assert not welcome.knows("0", "digest")
