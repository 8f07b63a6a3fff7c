"""Several workers' reports read as one, whatever order they come in and however often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.config.loading import parse
from proxy.core.delta import Delta, Load, RolloutDelta
from proxy.core.histogram import Histogram
from proxy.core.routing import Split
from proxy.core.series import Exemplar, Increment, Labels, Sighting
from proxy.core.tally import Tally
from proxy.crew_view import CrewView
from proxy.model import EndpointStatus, Path, RolloutState, State, Users
from proxy.orders import override_frame, read_overrides
from tests.config.documents import BACKENDS, ROLLOUT
from tests.fakes import traffic

TWO = (
    BACKENDS.replace('["http://127.0.0.1:9002"]', '["http://b:1", "http://c:1"]')
    + """
[[rollouts]]
name = "shop"
routes = [{ prefix = "/shop" }]
key = ["header:X-User-Id"]
[[rollouts]]
name = "blog"
routes = [{ prefix = "/blog" }]
breaker = { enabled = false }
"""
)
PROBED = TWO.replace("[[rollouts]]", '[backends.v2.health]\npath = "/up"\n[[rollouts]]', 1)
SHOP, BLOG = "shop", "blog"
Told = list[tuple[dict[str, object], str]]


def view(text: str = TWO) -> tuple[CrewView, Told]:
    """A view, and what it tells the workers."""
    told: Told = []
    return CrewView(parse(text, {}), lambda frame, topic: told.append((frame, topic))), told


def report(
    number: int = 1,
    *,
    source: str = "a",
    shop: Tally | None = None,
    breaker: str = "closed",
    endpoints: tuple[EndpointStatus, ...] = (),
) -> Delta:
    """A report of one worker."""
    rollouts = (
        RolloutDelta(SHOP, 1, breaker, Tally() if shop is None else shop),
        RolloutDelta(BLOG, 1, "disabled", Tally()),
    )
    return Delta(source, number, rollouts, endpoints, Load(connections=1))


def requests(tallies: object) -> list[int]:
    """Requests per tally."""
    return [tally.client_requests for tally in tallies]  # type: ignore[attr-defined]


# ... evidence


def test_counts_of_all_workers_add_up_once() -> None:
    crew, _ = view()
    assert crew.take(report(1, source="a", shop=traffic(10, 4)))
    assert crew.take(report(1, source="b", shop=traffic(5, 1)))
    assert not crew.take(report(1, source="a", shop=traffic(10, 4)))
    assert crew.take(report(2, source="a", shop=traffic(1)))
    drained = crew.drain()
    assert requests(drained) == [16, 0]
    assert drained[0].assigned_v2 == 5
    assert requests(crew.drain()) == [0, 0]


def test_what_is_under_way_is_what_each_worker_said_last() -> None:
    crew, _ = view()
    assert crew.drain()[0].in_flight_v1 is crew.drain()[0].in_flight_v2  # nothing, and nobody made it
    for source, number, ages in (("a", 1, 7), ("a", 2, 3), ("b", 1, 2)):
        crew.take(report(number, source=source, shop=Tally(in_flight_v2=Histogram.of([(90, ages)], 1))))
    for _ in range(2):
        shop, blog = crew.drain()
        assert (shop.in_flight_v2.count, shop.in_flight_v1.count, blog.in_flight_v2.count) == (5, 0, 0)
    crew.gone("b")
    crew.take(report(3, source="a"))
    assert crew.drain()[0].in_flight_v2.count == 0
    crew.take(
        Delta("c", 1, (RolloutDelta("gone", 1, "closed", Tally(in_flight_v2=Histogram.of([(9, 1)], 9))),))
    )
    assert crew.drain()[0].in_flight_v2.count == 0


def test_what_was_counted_under_an_earlier_state_comes_late() -> None:
    crew, _ = view()
    crew.publish(state(revision=2))
    crew.take(report(1, shop=traffic(7)))  # under revision 1
    assert requests(crew.drain()) == [0, 0]
    assert requests(crew.late()) == [7, 0]
    assert requests(crew.late()) == [0, 0]


def test_what_a_worker_has_counted_outlives_it() -> None:
    crew, _ = view()
    crew.take(report(7, shop=traffic(3)))
    crew.gone("a")
    crew.take(report(1, shop=traffic(2)))
    assert requests(crew.drain()) == [5, 0]


def test_overrides_are_told_and_kept_for_workers_to_come() -> None:
    crew, told = view()
    keys = {"alice": Path.V2, "bob": Path.V1}
    crew.publish_overrides(SHOP, keys)
    crew.publish_overrides("unknown", keys)
    assert told == [(override_frame(SHOP, keys), f"overrides {SHOP}")]
    for frame in (crew.serve_frame(parse(TWO, {}), 2), crew.replace_frame(parse(TWO, {}), 2)):
        assert read_overrides(frame["overrides"]) == {SHOP: keys}
    assert crew.explain(key="alice", host="", path="/shop", method="GET").rule == "override v2"


def test_overrides_outlive_a_reload_but_not_their_rollout() -> None:
    crew, _ = view()
    for name in (SHOP, BLOG):
        crew.publish_overrides(name, {"alice": Path.V2})
    head, shop, _ = TWO.split("[[rollouts]]")
    crew.replace(parse(f"{head}[[rollouts]]{shop}timeout = '5s'", {}))
    assert crew.explain(key="alice", host="", path="/shop", method="GET").path is Path.V2
    assert read_overrides(crew.serve_frame(parse(TWO, {}), 2)["overrides"]) == {SHOP: {"alice": Path.V2}}
    crew.publish_overrides(SHOP, {})
    assert crew.explain(key="alice", host="", path="/shop", method="GET").path is Path.V1


def test_users_of_several_workers_are_counted_once() -> None:
    crew, _ = view()
    for source, users in (("a", range(60)), ("b", range(40, 100))):
        split = Split(0, SHOP, b"shop", 100_000)
        for user in users:
            split.assign(b"%d" % user)
        told = RolloutDelta(SHOP, 1, "closed", Tally(), tuple(split.users.changes()))
        for number in (1, 2):
            crew.take(Delta(source, number, (told,)))
    assert crew.users(SHOP).seen == crew.users(SHOP).v2 == pytest.approx(100, abs=2)
    crew.replace(parse(TWO, {}))
    assert crew.users(SHOP).seen == pytest.approx(100, abs=2)
    assert crew.users(BLOG) == Users()


def test_a_rollout_that_is_not_ours_is_left_out() -> None:
    crew, _ = view()
    assert crew.take(Delta("a", 1, (RolloutDelta("gone", 1, "closed", traffic(3)),)))
    assert requests(crew.drain()) == [0, 0]


def test_a_reload_turns_the_order_and_drops_what_has_changed() -> None:
    crew, _ = view()
    crew.take(
        Delta(
            "a", 1, (RolloutDelta(SHOP, 1, "closed", traffic(3)), RolloutDelta(BLOG, 1, "closed", traffic(2)))
        )
    )
    again = TWO.replace("[[rollouts]]\n", "[[rollouts]]\ntimeout = '5s'\n", 1)
    head, shop, blog = again.split("[[rollouts]]")
    crew.replace(parse(f"{head}[[rollouts]]{blog}[[rollouts]]{shop}", {}))
    assert requests(crew.drain()) == [2, 0]


def test_open_tunnels_of_all_workers_add_up() -> None:
    crew, _ = view()
    assert crew.tunnels == (0, 0)
    crew.take(Delta("a", 1, tunnels=(1, 20)))
    crew.take(Delta("b", 1, tunnels=(300, 4000)))
    crew.take(Delta("a", 2, tunnels=(2, 20)))
    assert crew.tunnels == (302, 4020)


def test_cache_hits_of_all_workers_are_drained_once() -> None:
    crew, _ = view()
    crew.take(Delta("a", 1, cache=(1, 20)))
    crew.take(Delta("b", 1, cache=(300, 4000)))
    crew.take(Delta("a", 1, cache=(1, 20)))
    assert crew.drain_cache() == (301, 4020)
    assert crew.drain_cache() == (0, 0)


def test_what_workers_have_turned_away_adds_up_and_outlives_them() -> None:
    crew, _ = view()
    assert set(crew.refused.values()) == {0}
    for source, number, refused in (
        ("a", 1, {"tls": 2}),
        ("b", 1, {"tls": 1, "new": 1}),
        ("a", 1, {"tls": 2}),
    ):
        crew.take(replace(report(number, source=source), refused=refused))
    crew.gone("a")
    assert {reason: count for reason, count in crew.refused.items() if count} == {"tls": 3}


def test_loads_are_told_by_worker() -> None:
    crew, _ = view()
    crew.take(report(source="a"))
    crew.take(report(source="b"))
    assert crew.loads == [Load(connections=1)] * 2
    crew.gone("a")
    assert crew.loads == [Load(connections=1)]
    assert repr(crew) == "<CrewView 1 workers report, 0 states>"


# ... states


def state(name: str = SHOP, weight: int = 30_000, revision: int = 4) -> RolloutState:
    """A running rollout."""
    return RolloutState(name, State.RUNNING, weight, None, revision)


def test_a_published_state_is_told_to_all_and_explained() -> None:
    crew, told = view()
    crew.publish(state(weight=100_000))
    [(frame, topic)] = told
    assert (frame["kind"], topic) == ("state", "state shop")
    found = crew.explain(key="x", host="h", path="/shop", method="GET")
    assert (found.rollout, found.path, found.weight) == (SHOP, Path.V2, 100_000)


def test_who_begins_learns_what_is_in_force_and_zero_for_the_rest() -> None:
    crew, _ = view()
    crew.publish(state())
    assert crew.states_under(parse(TWO, {})) == [state(), RolloutState(BLOG, State.DISABLED, 0)]


def test_states_survive_a_reload_and_new_rollouts_begin_at_zero() -> None:
    crew, told = view(ROLLOUT + "percentage = 50\n")
    crew.publish(state("default"))
    told.clear()
    more = parse(ROLLOUT + 'routes = [{ prefix = "/a" }]\n[[rollouts]]\nname = "new"\npercentage = 50\n', {})
    crew.replace(more)
    assert crew.explain(key="x", host="h", path="/a", method="GET").weight == 30_000
    assert crew.explain(key="x", host="h", path="/b", method="GET").weight == 0
    assert told == []  # workers are told with the configuration


# ... endpoints


def endpoint(url: str, *, ejected: bool = False, outstanding: int = 0, idle: int = 0) -> EndpointStatus:
    """An endpoint of v2 as a worker tells of it: its word on health is an echo."""
    return EndpointStatus(Path.V2, url, False, ejected, outstanding, idle)


def test_an_endpoint_is_the_sum_of_what_workers_say_and_the_probes_word() -> None:
    crew, _ = view()
    crew.take(report(source="a", endpoints=(endpoint("http://b:1", outstanding=2, idle=1),)))
    crew.take(report(source="b", endpoints=(endpoint("http://b:1", ejected=True, outstanding=3, idle=4),)))
    found = {status.url: status for status in crew.statuses()}
    assert found["http://b:1"] == EndpointStatus(Path.V2, "http://b:1", True, True, 5, 5)
    assert found["http://c:1"] == EndpointStatus(Path.V2, "http://c:1", True, False, 0, 0)
    assert crew.health(Path.V2) == 0.5
    assert crew.health(Path.V1) == 1.0
    crew.gone("b")
    assert crew.health(Path.V2) == 1.0


def test_what_probes_find_is_told_to_all() -> None:
    crew, told = view()
    crew.set_health(Path.V2, "http://b:1", healthy=False)
    crew.set_health(Path.V2, "http://c:1", healthy=False)
    assert crew.health(Path.V2) == 0.0
    assert crew.unhealthy == {(Path.V2, "http://b:1"), (Path.V2, "http://c:1")}
    crew.set_health(Path.V2, "http://b:1", healthy=True)
    assert [topic for _, topic in told] == ["health"] * 3
    assert told[-1][0] == {"kind": "health", "unhealthy": [["v2", "http://c:1"]]}


def test_endpoints_that_a_reload_removes_are_forgotten() -> None:
    crew, told = view(PROBED)
    crew.set_health(Path.V2, "http://b:1", healthy=False)
    crew.set_health(Path.V2, "http://c:1", healthy=False)
    crew.replace(parse(PROBED.replace('"http://c:1"', '"http://d:1"'), {}))
    assert crew.unhealthy == {(Path.V2, "http://b:1")}
    assert crew.health(Path.V2) == 0.5
    assert told[-1][0] == {"kind": "health", "unhealthy": [["v2", "http://b:1"]]}


def test_what_is_no_longer_probed_is_well_again_and_workers_are_told() -> None:
    crew, told = view(PROBED)
    crew.set_health(Path.V2, "http://b:1", healthy=False)
    told.clear()
    crew.replace(parse(PROBED.replace("[[rollouts]]", "[[rollouts]]\ntimeout = '5s'", 1), {}))
    assert (crew.health(Path.V2), told) == (0.5, [])
    crew.replace(parse(TWO, {}))
    assert (crew.health(Path.V2), crew.unhealthy) == (1.0, set())
    assert told == [({"kind": "health", "unhealthy": []}, "health")]


# ... breakers


@pytest.mark.parametrize(
    ("told", "worst"),
    [
        ([], "closed"),
        (["closed", "closed"], "closed"),
        (["closed", "half_open"], "half_open"),
        (["half_open", "open", "closed"], "open"),
        (["disabled"], "closed"),
    ],
)
def test_a_breaker_is_as_bad_as_the_worst(told: list[str], worst: str) -> None:
    crew, _ = view()
    for number, breaker in enumerate(told):
        crew.take(report(source=str(number), breaker=breaker))
    assert crew.breaker(SHOP) == worst
    assert crew.breaker(BLOG) == "disabled"


# ... metrics


def test_what_workers_have_measured_adds_up_each_report_once() -> None:
    crew, _ = view()
    labels = Labels(SHOP, "v2", "GET", "2xx")
    grown = Increment("both", labels, ((3, 2),), 9_000)
    seen = Sighting("client", labels, Exemplar("ab" * 16, "cd" * 8, 0.004, 1.0))
    told = replace(report(), series=(grown,), sightings=(seen,), telemetry={"traces.dropped": 4})
    for delta in (told, replace(told, number=2), replace(told, number=2), replace(told, source="b")):
        crew.take(delta)
    ((_, series),) = crew.measured.family("server")
    assert (series.counts[3], series.total_us) == (6, 27_000)
    assert crew.telemetry.counts == {"traces.dropped": 12}
    assert crew.measured.exemplars(SHOP) == ["ab" * 16]
    crew.gone("a")
    assert sum(series.counts) == 6
    crew.replace(parse(TWO.replace("shop", "other"), {}))
    assert list(crew.measured.family("server")) == []


def test_a_worker_that_has_not_reported_has_no_load() -> None:
    crew, _ = view()
    crew.take(report())
    assert (crew.load("a"), crew.load("b")) == (Load(connections=1), Load())
