"""The endpoints of one path, and which gets the next attempt."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Backend
from proxy.dataplane.backend import BackendPool
from proxy.model import Path
from tests.dataplane.wire import SteadyRandom

if TYPE_CHECKING:
    from proxy.dataplane.endpoint import Endpoint

ONE, TWO, THREE = (f"http://127.0.0.1:{port}" for port in (9001, 9002, 9003))


def pool(*urls: str, **ejection: object) -> BackendPool:
    backend = Backend.model_validate({"endpoints": urls, "ejection": {"consecutive_failures": 2, **ejection}})
    return BackendPool(Path.V2, backend, SteadyRandom())


def test_the_only_endpoint_is_chosen_while_it_is_healthy() -> None:
    lone = pool(ONE)
    [endpoint] = lone.endpoints
    for _ in range(9):
        lone.failed(endpoint, 0.0)  # there is nowhere else to go
    assert lone.choose(0.0) is endpoint
    lone.succeeded(endpoint, 0.0)
    lone.set_health(ONE, healthy=False)
    assert lone.choose(0.0) is None
    assert lone.choose_any() is endpoint


def test_the_less_busy_one_is_chosen() -> None:
    both = pool(ONE, TWO)
    first, second = both.endpoints
    first.outstanding = 3
    assert both.choose(0.0) is second


def test_an_unhealthy_endpoint_is_left_out_and_comes_back() -> None:
    both = pool(ONE, TWO)
    first, second = both.endpoints
    both.set_health(ONE, healthy=False)
    both.set_health("http://unknown:1", healthy=False)
    assert both.choose(0.0) is second
    assert both.health(0.0) == 0.5
    both.set_health(TWO, healthy=False)
    assert both.choose(0.0) is None
    assert both.choose_any() in (first, second)
    both.set_health(ONE, healthy=True)
    assert both.choose(0.0) is first


def test_an_endpoint_that_keeps_failing_is_left_alone_for_a_while() -> None:
    both = pool(ONE, TWO, duration="10s")
    first, second = both.endpoints
    both.failed(first, 0.0)
    both.succeeded(first, 0.0)
    both.failed(first, 0.0)
    assert both.health(0.0) == 1.0
    both.failed(first, 0.0)
    assert both.choose(1.0) is second
    assert [status.ejected for status in both.statuses(1.0)] == [True, False]
    assert both.health(1.0) == 0.5
    assert both.health(10.1) == 1.0


class WatchedEndpoint:
    """An endpoint that counts how often anybody asks after its health."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.url = f"http://127.0.0.1:{9000 + index}"
        self.outstanding = 0
        self.looks = 0

    @property
    def healthy(self) -> bool:
        self.looks += 1
        return True


def test_a_choice_among_many_looks_at_them_all_only_after_something_has_changed() -> None:
    many = pool(*(f"http://127.0.0.1:{9000 + index}" for index in range(100)))
    watched = [WatchedEndpoint(index) for index in range(100)]
    many.endpoints[:] = cast("list[Endpoint]", watched)
    for _ in range(50):
        many.choose(0.0)
    assert sum(endpoint.looks for endpoint in watched) == 100
    many.failed(many.endpoints[7], 0.0)
    many.choose(1.0)
    assert sum(endpoint.looks for endpoint in watched) == 100
    many.failed(many.endpoints[7], 0.0)  # the second one ejects it
    many.choose(1.0)
    assert sum(endpoint.looks for endpoint in watched) == 200


events = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["fails", "succeeds", "sick", "well"]),
        st.sampled_from([0.0, 0.0, 1.0, 10.0, 30.0]),
    ),
    max_size=60,
)


@given(history=events, seed=st.integers(0, 1000))
def test_whatever_happens_only_those_that_may_take_traffic_are_chosen(
    history: list[tuple[int, str, float]], seed: int
) -> None:
    urls = [f"http://127.0.0.1:{9000 + index}" for index in range(5)]
    backend = Backend.model_validate({"endpoints": urls, "ejection": {"consecutive_failures": 2}})
    five, now = BackendPool(Path.V2, backend, random.Random(seed)), 100.0
    for index, event, wait_s in history:
        now += wait_s
        if event == "fails":
            five.failed(five.endpoints[index], now)
        elif event == "succeeds":
            five.succeeded(five.endpoints[index], now)
        else:
            five.set_health(urls[index], healthy=event == "well")
        fit = {status.url for status in five.statuses(now) if status.healthy and not status.ejected}
        seen = {chosen.url for _ in range(40) if (chosen := five.choose(now)) is not None}
        assert seen <= fit
        assert bool(seen) == bool(fit)


def test_one_that_comes_back_is_chosen_again() -> None:
    both = pool(ONE, TWO, duration="10s")
    first, second = both.endpoints
    both.failed(first, 0.0)
    both.failed(first, 0.0)
    second.outstanding = 1
    assert both.choose(9.9) is second
    assert both.choose(10.0) is first


def test_a_second_attempt_takes_another_endpoint_if_there_is_one() -> None:
    both = pool(ONE, TWO)
    first, second = both.endpoints
    assert both.choose(0.0, other_than=first) is second
    both.set_health(TWO, healthy=False)
    assert both.choose(0.0, other_than=first) is first


def test_a_pool_tells_how_each_endpoint_stands() -> None:
    both = pool(ONE, TWO)
    both.endpoints[1].outstanding = 2
    both.set_health(ONE, healthy=False)
    told = [
        (s.path, s.url, s.healthy, s.ejected, s.outstanding, s.idle_connections) for s in both.statuses(0.0)
    ]
    assert told == [(Path.V2, ONE, False, False, 0, 0), (Path.V2, TWO, True, False, 2, 0)]
    assert repr(pool(THREE)) == f"<BackendPool v2 [<Endpoint {THREE} outstanding=0 idle=0>]>"
