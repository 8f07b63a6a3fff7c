"""The live routes: what the control plane publishes and asks."""

from __future__ import annotations

import pytest

from proxy.config.schema import Override
from proxy.core.override import sign
from proxy.dataplane.routes import Routes, bare_host, overridden_path
from proxy.model import Path, RolloutState, State, Users
from tests.dataplane.wire import settings

API = {"name": "api", "routes": [{"prefix": "/api"}], "key": ["header:X-User"]}
SHOP = {"name": "shop", "routes": [{"host": "*.shop.test", "methods": ["GET"]}], "key": ["header:X-User"]}


def publish(routes: Routes, name: str, weight: int, state: State = State.RUNNING) -> None:
    routes.publish(RolloutState(name, state, weight))


def test_one_rollout_for_everything_needs_no_look_up() -> None:
    routes = Routes(settings())
    assert routes.only is routes.rollouts[0]
    assert routes.match(b"anything", b"*", b"OPTIONS") is routes.only


@pytest.mark.parametrize(
    ("host", "target", "method", "name"),
    [
        (b"a", b"/api?x=/", b"GET", "api"),
        (b"a", b"/api/x", b"POST", "api"),
        (b"a", b"/apix", b"GET", None),
        (b"EU.shop.test.:81", b"/x", b"GET", "shop"),
        (b"EU.shop.test", b"/api", b"POST", "api"),
        (b"shop.test", b"/x", b"GET", None),
    ],
)
def test_a_rollout_is_found_by_host_path_and_method(
    host: bytes, target: bytes, method: bytes, name: str | None
) -> None:
    routes = Routes(settings(rollouts=[API, SHOP]))
    assert routes.only is None
    found = routes.match(host, target, method)
    assert (found.name if found is not None else None) == name


def test_a_single_rollout_of_some_requests_is_not_for_all() -> None:
    assert Routes(settings(routes=[{"prefix": "/", "methods": ["GET"]}])).only is None
    assert Routes(settings(routes=[{"prefix": "/", "host": "a"}])).only is None


def test_a_published_weight_is_in_force_at_once() -> None:
    routes = Routes(settings(rollouts=[API, SHOP]))
    [api, shop] = routes.rollouts
    publish(routes, "api", 100_000)
    publish(routes, "unknown", 7)
    assert (api.split.weight, shop.split.weight) == (100_000, 0)
    assert repr(api) == "<LiveRollout api weight=100000 breaker=closed>"


def test_a_rollback_suspends_the_pins_to_v2() -> None:
    routes = Routes(settings(percentage=0, allow={"v2": ["u"]}))
    split = routes.rollouts[0].split
    assert split.decide(b"u") is Path.V2
    publish(routes, "default", 0, State.ROLLED_BACK)
    assert split.decide(b"u") is Path.V1


def test_an_override_is_in_force_at_once_and_goes_on_over_a_reload() -> None:
    routes = Routes(settings(rollouts=[API, SHOP]))
    routes.publish_overrides("api", {"u\udcff": Path.V2, "zo\u00eb": Path.V2})
    routes.publish_overrides("unknown", {"u": Path.V2})
    for changed in (API, {**API, "timeout": "3s"}):
        routes = Routes(settings(rollouts=[changed]), routes)
        split = routes.rollouts[0].split
        assert [split.decide(key) for key in (b"u\xff", b"zo\xc3\xab", b"u")] == [Path.V2, Path.V2, Path.V1]
    assert routes.explain(key="u\udcff", host="", path="/api", method="GET").rule == "override v2"
    routes.publish_overrides("api", {})
    assert split.decide(b"u\xff") is Path.V1


def test_users_are_counted_on_for_as_long_as_a_key_keeps_its_hash() -> None:
    routes = Routes(settings(rollouts=[API, SHOP]))
    for name in ("api", "shop"):
        publish(routes, name, 100_000)
    for user in (b"a", b"b", b"b"):
        routes.rollouts[0].split.assign(user)
    assert (routes.users("api"), routes.users("shop"), routes.users("unknown")) == (
        Users(2, 2),
        Users(),
        Users(),
    )
    for same in (API, {**API, "timeout": "3s"}):
        routes = Routes(settings(rollouts=[same]), routes)
        assert routes.users("api") == Users(2, 2)
    for other in ({**API, "salt": "x"}, {**API, "key": ["cookie:uid"]}):
        assert Routes(settings(rollouts=[other]), routes).users("api") == Users()


def test_it_explains_where_a_key_would_go() -> None:
    routes = Routes(settings(rollouts=[API, SHOP]))
    publish(routes, "api", 100_000)
    found = routes.explain(key="u\udcff", host="a", path="/api/x", method="GET")
    assert (found.rollout, found.path, found.rule) == ("api", Path.V2, "bucket < weight")
    assert routes.explain(key=None, host="a", path="/api", method="GET").rule == "no key"
    assert routes.explain(key="u", host="\u20ac", path="/\u20ac", method="GET").rule == "no route"
    assert routes.explain(key="u", host="", path="", method="", rollout="shop").path is Path.V1
    assert routes.explain(key="u", host="", path="", method="", rollout="unknown").rule == "no route"


def test_the_breaker_of_a_rollout_by_name() -> None:
    routes = Routes(settings(rollouts=[API, {**SHOP, "breaker": {"enabled": False}}]))
    assert [routes.breaker(name) for name in ("api", "shop", "unknown")] == ["closed", "disabled", "disabled"]


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        (b"a", b"a"),
        (b"A.Test.", b"a.test"),
        (b"a:80", b"a"),
        (b"a:", b"a"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:80", b"[::1]"),
        (b"", b""),
    ],
)
def test_rfc9110_7_2_a_host_without_its_port(host: bytes, bare: bytes) -> None:
    assert bare_host(host) == bare


def test_an_override_is_believed_if_signed_or_from_a_listed_network() -> None:
    secret = "0123456789abcdef"
    override = Override.model_validate({"secret": secret, "networks": ["192.0.2.0/24"]})
    signed = sign(secret, "default", Path.V2, 100).encode()

    def path(
        *values: bytes, peer: str = "198.51.100.1", rollout: str = "default", now: float = 50.0
    ) -> Path | None:
        return overridden_path(override, rollout, values, peer, now)

    assert path(signed) is Path.V2
    assert path(signed, now=100.0) is None
    assert path(signed, rollout="other") is None
    assert path(b"v2") is None
    assert path(b"v2", peer="192.0.2.1") is Path.V2
    assert path(b"v2", b"v2", peer="192.0.2.1") is None
