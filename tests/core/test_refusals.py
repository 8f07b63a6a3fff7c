"""What was turned away, by reason."""

from __future__ import annotations

import pytest

from proxy.core.refusals import REASONS, Refusals, reason_of


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((400, "malformed"), (405, "malformed"), (417, "malformed"), (501, "malformed"), (505, "malformed")),
        *((413, "too_large"), (414, "too_large"), (431, "too_large"), (408, "timeout"), (503, "overloaded")),
    ],
)
def test_a_status_has_its_reason(status: int, reason: str) -> None:
    assert reason_of(status) == reason
    assert reason in REASONS


def test_all_reasons_are_told_also_those_that_did_not_occur() -> None:
    refusals = Refusals()
    refusals.count("tls")
    assert refusals.counts == {**dict.fromkeys(REASONS, 0), "tls": 1}
    assert "'tls': 1" in repr(refusals)


def test_what_is_drained_is_told_once() -> None:
    refusals = Refusals()
    refusals.count("timeout")
    refusals.count("timeout")
    assert refusals.drain() == {"timeout": 2}
    assert refusals.drain() == {}


def test_those_of_others_add_up_and_unknown_reasons_are_left_out() -> None:
    refusals = Refusals()
    refusals.add({"timeout": 2, "of_a_later_version": 7})
    refusals.add({"timeout": 1})
    assert refusals.drain() == {"timeout": 3}
