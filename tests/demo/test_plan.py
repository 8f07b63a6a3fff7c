"""The users' mix of requests."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from proxy.demo.api import Request, RestaurantApi
from proxy.demo.plan import OWNED_AT_MOST, Planned, User, plan, users
from proxy.demo.seed import seeded_store


def _plans(count: int) -> list[Planned]:
    rng, everybody = random.Random(7), users(20)
    return [plan(everybody[position % 20], rng) for position in range(count)]


def test_names_are_fixed() -> None:
    assert [user.name for user in users(3)] == ["user-000", "user-001", "user-002"]


def test_four_of_five_read() -> None:
    methods = Counter(planned.method for planned in _plans(5_000))
    assert 0.77 < (methods["GET"] + methods["HEAD"]) / 5_000 < 0.83
    assert min(methods[method] for method in ("POST", "PUT", "PATCH", "HEAD")) > 100


def test_what_may_not_be_repeated_carries_a_key_of_its_own() -> None:
    plans = _plans(2_000)
    keys = [planned.idempotency_key for planned in plans if planned.method in {"POST", "PATCH"}]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert {planned.idempotency_key for planned in plans if planned.method not in {"POST", "PATCH"}} == {None}


def test_who_owns_enough_deletes_the_oldest() -> None:
    user, rng = User("user-000"), random.Random(7)
    user.owned.extend([61, 62])
    assert len(user.owned) == OWNED_AT_MOST
    deletion = next(
        planned for planned in (plan(user, rng) for _ in range(500)) if planned.method == "DELETE"
    )
    assert (deletion.path, deletion.body, list(user.owned)) == ("/restaurants/61", None, [62])


def test_chance_alone_decides() -> None:
    assert _plans(300) == _plans(300)


def test_chance_above_the_mix_browses() -> None:
    assert plan(User("user-000"), _Always(0.999)).path == "/restaurants?q=la"


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_backend_answers_every_plan_as_expected(seed: int) -> None:
    api, rng, user = RestaurantApi(seeded_store()), random.Random(seed), User("user-000")
    for _ in range(1_000):
        planned = plan(user, rng)
        path, _, query = planned.path.partition("?")
        pairs = tuple((name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p))
        answer = api.answer(
            Request(planned.method, path, pairs, planned.body or b"", planned.idempotency_key)
        )
        assert answer.status in planned.expects, planned
        if answer.location:
            user.owned.append(int(answer.location.rpartition("/")[2]))


class _Always:
    def __init__(self, value: float) -> None:
        self._value = value

    def random(self) -> float:
        return self._value

    def getrandbits(self, k: int, /) -> int:
        return 0
