"""Shares of random ids."""

from __future__ import annotations

from random import Random

import pytest

from proxy.core.sampling import bound_of


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.75])
def test_the_share_of_all_ids_is_below_its_bound(share: float) -> None:
    bound = bound_of(share)
    assert int(bound, 16) / 16 ** len(bound) == pytest.approx(share)
    rng = Random(7)
    below = sum(b"%032x" % rng.getrandbits(128) < bound for _ in range(20_000))
    assert below / 20_000 == pytest.approx(share, rel=0.1, abs=0.0003)


def test_all_and_nothing_are_exact() -> None:
    lowest, highest = b"0" * 32, b"f" * 32
    assert highest < bound_of(1)
    assert not lowest < bound_of(0)
    assert lowest < bound_of(1e-18 * 100)


def test_the_smaller_share_is_a_part_of_the_larger() -> None:
    assert bound_of(0) < bound_of(0.001) < bound_of(0.01) < bound_of(0.1) < bound_of(1)
