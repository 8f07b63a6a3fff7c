"""What an instance is to be and to do, for every reading it can have."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import fleet
from proxy.core.fleet import Duty, Role, Task, duty, next_try_s
from proxy.core.peers import Standing

BOTH = (False, True)


@pytest.mark.parametrize(
    ("standing", "found"),
    [
        (None, Duty(Role.ALONE, Task.NONE)),
        (Standing.SHORTER, Duty(Role.FOLLOWER, Task.REFILL)),
        (Standing.DIVERGED, Duty(Role.FOLLOWER, Task.RECONCILE)),
    ],
)
def test_nobody_judges_without_a_store_that_says_the_same(standing: Standing | None, found: Duty) -> None:
    for lease, evidence in product(BOTH, BOTH):
        assert duty(standing, lease=lease, evidence=evidence) == found


def test_only_who_holds_the_lease_and_has_the_evidence_judges() -> None:
    assert duty(Standing.SAME, lease=True, evidence=True) == Duty(Role.JUDGE, Task.NONE)
    assert duty(Standing.SAME, lease=True, evidence=False) == Duty(Role.FOLLOWER, Task.REPLAY)
    for evidence in BOTH:
        assert duty(Standing.SAME, lease=False, evidence=evidence) == Duty(Role.FOLLOWER, Task.NONE)


def test_the_table_in_the_prose_is_the_one_that_decides() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (fleet.__doc__ or "").splitlines()
        if line.startswith("|") and "--" not in line and "| role" not in line
    ]
    seen = 0
    for (store, lease, evidence, role, task), is_ours, is_there in product(rows, BOTH, BOTH):
        if lease not in ("any", "ours" if is_ours else "no"):
            continue
        if evidence not in ("any", "there" if is_there else "missing"):
            continue
        found = None if store == "does not answer" else Standing(store)
        assert duty(found, lease=is_ours, evidence=is_there) == (role, task)
        seen += 1
    assert seen == (len(Standing) + 1) * 4


@pytest.mark.parametrize(("left_s", "wait_s"), [(None, 2.0), (9.0, 2.0), (0.5, 0.5), (-1.0, 0.1)])
def test_a_lease_that_ends_soon_is_asked_for_just_then(left_s: float | None, wait_s: float) -> None:
    assert next_try_s(2.0, left_s, 0.0) == pytest.approx(wait_s)
    assert next_try_s(2.0, left_s, 1.0) == pytest.approx(wait_s + 0.2)


@given(st.floats(0.2, 5), st.none() | st.floats(-10, 10), st.floats(0, 1))
def test_nobody_waits_longer_than_the_lease_nor_asks_without_a_pause(
    interval_s: float, left_s: float | None, chance: float
) -> None:
    wait_s = next_try_s(interval_s, left_s, chance)
    assert 0.05 * interval_s <= wait_s <= 1.1 * interval_s + 1e-9
    if left_s is not None and left_s > 0.05 * interval_s:
        assert wait_s <= left_s + 0.1 * interval_s
