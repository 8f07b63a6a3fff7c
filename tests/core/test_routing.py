"""The route table against a plain reading of its rules, and the split's promises to users."""

from __future__ import annotations

import json
import pathlib
import re
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Pins, Rollout, Route
from proxy.core.override import verify
from proxy.core.routing import RouteSpec, RouteTable, Split, bucket_of
from proxy.model import BUCKETS, Path, RolloutState, State, Users

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "routing.md").read_text(encoding="utf-8")


class Vector(TypedDict):
    salt: str
    key: str
    bucket: int


VECTORS: list[Vector] = json.loads((DOCS / "bucket-vectors.json").read_text(encoding="utf-8"))

GET = b"GET"
weights = st.integers(0, BUCKETS)
keys = st.binary(min_size=1, max_size=300)


def split_at(weight: int, salt: bytes = b"default") -> Split:
    return Split(0, "default", salt, weight)


def state(kind: State, weight: int) -> RolloutState:
    return RolloutState("default", kind, weight)


# ... the formula


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['salt']}:{vector['key'][:20]}")
def test_a_golden_vector(vector: Vector) -> None:
    salt, key = vector["salt"].encode(), vector["key"].encode()
    assert bucket_of(salt, key) == vector["bucket"]
    assert split_at(vector["bucket"], salt).decide(key) is Path.V1
    assert split_at(vector["bucket"] + 1, salt).decide(key) is Path.V2


def test_the_page_shows_the_same_vectors() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\d+) \|$", PAGE, re.MULTILINE)
    golden = {(vector["salt"], vector["key"]): vector["bucket"] for vector in VECTORS}
    assert len(rows) >= 12
    assert {(salt, key): int(bucket) for salt, key, bucket in rows}.items() <= golden.items()


def test_the_code_on_the_page_computes_what_we_compute() -> None:
    names: dict[str, object] = {}
    for code in re.findall(r"<!-- tested: python -->\n```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)  # noqa: S102 - our own page
    bucket, override = names["bucket"], names["override"]
    assert callable(bucket)
    assert callable(override)
    assert [bucket(v["salt"], v["key"]) for v in VECTORS] == [v["bucket"] for v in VECTORS]
    shown = override("at least sixteen characters", "default", "v2", 1767225600)
    assert f"    {shown}\n" in PAGE
    assert verify("at least sixteen characters", "default", shown.encode(), 1767225599.0) is Path.V2


@given(salt=st.binary(max_size=40), key=keys)
def test_a_bucket_lies_in_the_range(salt: bytes, key: bytes) -> None:
    assert 0 <= bucket_of(salt, key) < BUCKETS


def test_buckets_are_evenly_filled() -> None:
    counts = [0] * 100
    for user in range(50_000):
        counts[bucket_of(b"default", b"user-%d" % user) // 1000] += 1
    chi_square = sum((count - 500) ** 2 / 500 for count in counts)
    assert 60 < chi_square < 150  # 99 degrees of freedom: 0.1 % lie above 149, as few below 60


@pytest.mark.parametrize("percentage", [1, 10, 30, 50, 99])
def test_the_share_of_users_is_the_weight(percentage: int) -> None:
    split = split_at(percentage * 1000)
    on_v2 = sum(split.decide(b"%d" % user) is Path.V2 for user in range(20_000))
    deviation = (20_000 * percentage / 100 * (1 - percentage / 100)) ** 0.5
    assert abs(on_v2 - 200 * percentage) < 3.5 * deviation


def test_salts_draw_independent_users() -> None:
    one, other = split_at(30_000, b"search"), split_at(30_000, b"checkout")
    chosen = [b"%d" % user for user in range(20_000) if one.decide(b"%d" % user) is Path.V2]
    both = sum(other.decide(key) is Path.V2 for key in chosen)
    assert abs(both / len(chosen) - 0.3) < 0.02


# ... the split's promises


@given(key=keys, low=weights, high=weights)
def test_raising_the_weight_moves_nobody_back(key: bytes, low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    if split_at(low).decide(key) is Path.V2:
        assert split_at(high).decide(key) is Path.V2


@given(weight=weights, between=st.lists(weights))
def test_lowering_and_raising_again_restores_the_same_users(weight: int, between: list[int]) -> None:
    users = [b"%d" % user for user in range(50)]
    split = split_at(weight)
    before = [split.decide(user) for user in users]
    for other in between:
        split.apply(state(State.RUNNING, other))
    split.apply(state(State.RUNNING, weight))
    assert [split.decide(user) for user in users] == before


@given(key=keys)
def test_the_ends_of_the_range_are_everybody_and_nobody(key: bytes) -> None:
    assert split_at(0).decide(key) is Path.V1
    assert split_at(BUCKETS).decide(key) is Path.V2


def test_without_a_key_it_is_v1_until_v2_has_everything() -> None:
    assert split_at(BUCKETS - 1).decide(None) is Path.V1
    assert split_at(BUCKETS).decide(None) is Path.V2
    assert not split_at(BUCKETS).is_pinned(None)


@given(key=st.none() | keys, weight=weights, suspended=st.booleans())
def test_an_explanation_is_the_decision(key: bytes | None, weight: int, suspended: bool) -> None:
    split = Split.of(
        1, Rollout(name="default", allow=Pins(v2=frozenset({"0"})), deny=Pins(v2=frozenset({"1"})))
    )
    split.apply(state(State.ABORTED if suspended else State.RUNNING, weight))
    explanation = split.explain(key)
    assert explanation.path is split.decide(key)
    assert explanation.rollout == "default"
    assert explanation.weight == weight
    assert split.is_pinned(key) == explanation.rule.startswith(("allow", "deny", "override"))


# ... the lists

EVERY_LIST = Rollout(
    name="default",
    percentage=50,
    salt="lists",
    allow=Pins(v1=frozenset({"a1", "a12", "a1d1", "é"}), v2=frozenset({"a2", "a12", "a2d2"})),
    deny=Pins(v1=frozenset({"d1", "d12", "a1d1"}), v2=frozenset({"d2", "d12", "a2d2"})),
)


@pytest.mark.parametrize(
    ("key", "path", "rule"),
    [
        ("a1", Path.V1, "allow v1"),
        ("a2", Path.V2, "allow v2"),
        ("d1", Path.V2, "deny v1"),
        ("d2", Path.V1, "deny v2"),
        ("a2d2", Path.V1, "deny v2"),  # deny beats allow
        ("a1d1", Path.V2, "deny v1"),
        ("a12", Path.V1, "allow v1"),  # a contradiction is v1's
        ("d12", Path.V1, "deny v2"),
        ("é", Path.V1, "allow v1"),
    ],
)
@pytest.mark.parametrize("weight", [0, BUCKETS])
def test_a_list_decides_before_the_bucket(key: str, path: Path, rule: str, weight: int) -> None:
    split = Split.of(0, EVERY_LIST)
    split.apply(state(State.RUNNING, weight))
    assert split.decide(key.encode()) is path
    assert split.is_pinned(key.encode())
    assert split.explain(key.encode()).rule == rule


@pytest.mark.parametrize("kind", [State.ROLLED_BACK, State.ABORTED])
def test_after_a_rollback_no_list_leads_to_v2(kind: State) -> None:
    split = Split.of(0, EVERY_LIST)
    split.apply(state(kind, 0))
    for key in (b"a2", b"d1"):
        assert split.decide(key) is Path.V1
        assert not split.is_pinned(key)
        assert split.explain(key).rule == "bucket >= weight"
    assert split.is_pinned(b"d2")
    split.apply(state(State.RUNNING, 0))
    assert split.decide(b"a2") is Path.V2


@pytest.mark.parametrize("path", Path)
@pytest.mark.parametrize("key", ["a1", "a2", "d1", "d2", "nobody"])
def test_an_override_decides_before_lists_and_buckets(key: str, path: Path) -> None:
    split = Split.of(0, EVERY_LIST)
    before = split.explain(key.encode())
    split.override({key.encode(): path})
    explanation = split.explain(key.encode())
    assert (split.decide(key.encode()), explanation.path, explanation.rule) == (
        path,
        path,
        f"override {path}",
    )
    assert split.is_pinned(key.encode())
    assert repr(split) == f"<Split {split.name} {split.weight}/{BUCKETS} {len(split.pins) + 1} pins>"
    split.override({})
    assert split.explain(key.encode()) == before


def test_overrides_take_the_place_of_those_before() -> None:
    split = split_at(0)
    split.override({b"a": Path.V2, b"b": Path.V2})
    split.override({b"b": Path.V2})
    assert [split.decide(key) for key in (b"a", b"b")] == [Path.V1, Path.V2]
    assert (split.pinning, split.is_pinned(b"b")) == (True, True)
    split.override({})
    assert (split.pinning, split.is_pinned(b"b")) == (False, False)


@pytest.mark.parametrize("kind", [State.ROLLED_BACK, State.ABORTED])
def test_after_a_rollback_no_override_leads_to_v2(kind: State) -> None:
    split = Split.of(0, EVERY_LIST)
    split.override({b"a1": Path.V2, b"a2": Path.V1, b"new": Path.V2})
    split.apply(RolloutState("lists", kind, 0))
    assert {split.decide(key) for key in (b"a1", b"a2", b"new")} == {Path.V1}
    assert [split.explain(key).rule for key in (b"a1", b"a2", b"new")] == [
        *("allow v1", "override v1", "bucket >= weight")
    ]
    assert not split.is_pinned(b"new")
    split.apply(RolloutState("lists", State.RUNNING, 0))
    assert [split.decide(key) for key in (b"a1", b"a2", b"new")] == [Path.V2, Path.V1, Path.V2]


@given(
    key=st.none() | st.sampled_from([b"a1", b"a2", b"d1", b"d2", b"sent"]) | st.binary(max_size=9),
    weight=st.integers(0, BUCKETS),
    suspended=st.booleans(),
)
def test_a_request_is_assigned_as_is_decided(key: bytes | None, weight: int, suspended: bool) -> None:
    split = Split.of(0, EVERY_LIST)
    split.weight, split.suspended = weight, suspended
    split.override({b"sent": Path.V2})
    path = split.assign(key)
    assert path is split.decide(key)
    assert split.users.count() == (Users() if key is None else Users(1, path is Path.V2))


def test_the_users_of_requests_are_counted_once() -> None:
    split = split_at(BUCKETS // 4)
    for _ in range(2):
        for user in range(1000):
            split.assign(b"%d" % user)
    seen = split.users.count()
    assert seen.seen == pytest.approx(1000, rel=0.05)
    assert seen.v2 == pytest.approx(250, rel=0.15)


def test_keys_that_no_list_names_follow_their_bucket() -> None:
    split = Split.of(0, EVERY_LIST)
    bucket = bucket_of(b"lists", b"other")
    split.apply(state(State.RUNNING, bucket + 1))
    explanation = split.explain(b"other")
    assert (explanation.rule, explanation.bucket, explanation.key) == ("bucket < weight", bucket, "other")
    assert split.decide(b"other") is Path.V2


def test_a_weight_that_is_set_decides_at_once() -> None:
    split = split_at(BUCKETS)
    split.weight = 0
    assert {split.decide(b"%d" % user) for user in range(100)} == {Path.V1}
    split.weight = BUCKETS
    assert {split.decide(b"%d" % user) for user in range(100)} == {Path.V2}


def test_a_key_that_is_no_text_can_be_explained() -> None:
    assert split_at(0).explain(b"\xff").key == "\\xff"


def test_a_configured_split_starts_at_its_percentage_under_its_name() -> None:
    split = Split.of(3, Rollout(name="search", percentage=12.5))
    assert (split.index, split.name, split.weight, split.suspended) == (3, "search", 12_500, False)
    assert split.explain(b"42").bucket == bucket_of(b"search", b"42")
    assert repr(split) == "<Split search 12500/100000 0 pins>"
    split.apply(state(State.ABORTED, 0))
    assert repr(split) == "<Split search 0/100000 0 pins suspended>"


def test_an_empty_salt_is_a_salt() -> None:
    assert Split.of(0, Rollout(name="search", salt="")).explain(b"42").bucket == bucket_of(b"", b"42")


# ... the route table


def table_of(*routes: tuple[str | None, str, str]) -> RouteTable:
    """One rollout for each (host, prefix, methods)."""
    return RouteTable(
        [
            RouteSpec(
                index, prefix.encode(), host.encode() if host else None, frozenset(methods.encode().split())
            )
            for index, (host, prefix, methods) in enumerate(routes)
        ]
    )


def test_one_route_for_everything_takes_everything() -> None:
    table = RouteTable([RouteSpec(7, b"/")])
    assert table.match(b"any.example", b"/any/path", b"BREW") == 7
    assert table.match(b"", b"*", b"OPTIONS") == 7


@pytest.mark.parametrize("route", [(None, "/api", ""), ("example.com", "/", ""), (None, "/", "GET")])
def test_one_route_that_excludes_something_does_not_take_everything(
    route: tuple[str | None, str, str],
) -> None:
    table = table_of(route)
    assert table.match(b"example.com", b"/api", GET) == 0
    assert table.match(b"example.org", b"/other", b"POST") == -1


def test_no_routes_match_nothing() -> None:
    assert RouteTable([]).match(b"example.com", b"/", GET) == -1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", 0),
        (b"*", 0),
        (b"/other", 0),
        (b"/apix", 0),
        (b"/api", 1),
        (b"/api/", 1),
        (b"/api/x/y", 1),
        (b"/api//", 1),
        (b"//api", 0),
        (b"/api/v2", 2),
        (b"/api/v2/", 2),
        (b"/api/v2x", 1),
        (b"/static", 0),
        (b"/static/", 3),
        (b"/static/a", 3),
        (b"/%61pi", 0),
    ],
)
def test_the_longest_prefix_wins_on_segment_boundaries(path: bytes, expected: int) -> None:
    table = table_of((None, "/", ""), (None, "/api", ""), (None, "/api/v2", ""), (None, "/static/", ""))
    assert table.match(b"example.com", path, GET) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"example.com", 0),
        (b"api.example.com", 1),
        (b"www.example.com", 2),
        (b"a.b.example.com", 2),
        (b"eu.shop.example.com", 3),
        (b"shop.example.com", 2),
        (b"badexample.com", 0),
        (b".example.com", 0),
        (b"", 0),
    ],
)
def test_the_most_specific_host_wins(host: bytes, expected: int) -> None:
    table = table_of(
        (None, "/", ""),
        ("api.example.com", "/", ""),
        ("*.example.com", "/", ""),
        ("*.shop.example.com", "/", ""),
    )
    assert table.match(host, b"/", GET) == expected


def test_a_specific_host_without_a_fitting_prefix_leaves_the_request_to_others() -> None:
    table = table_of((None, "/", ""), ("*.example.com", "/sub", ""), ("a.example.com", "/exact", ""))
    assert table.match(b"a.example.com", b"/exact", GET) == 2
    assert table.match(b"a.example.com", b"/sub", GET) == 1
    assert table.match(b"a.example.com", b"/else", GET) == 0


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        (b"/api/x", b"GET", 2),
        (b"/api/x", b"POST", 1),
        (b"/api/x", b"get", 1),  # methods are case-sensitive, RFC 9110 section 9.1
        (b"/api/x/writes", b"POST", 3),
        (b"/api/x/writes", b"GET", 2),
        (b"/api/x/writes", b"PUT", 1),
    ],
)
def test_methods_go_before_none_and_otherwise_shorter_prefixes_are_tried(
    path: bytes, method: bytes, expected: int
) -> None:
    table = table_of(
        (None, "/", ""), (None, "/api", ""), (None, "/api", "GET"), (None, "/api/x/writes", "POST")
    )
    assert table.match(b"example.com", path, method) == expected


def test_two_rollouts_cannot_claim_the_same_requests() -> None:
    with pytest.raises(ValueError, match="rollouts 0 and 1 both claim b'/api'"):
        table_of((None, "/api", "GET"), (None, "/api", "POST GET"))


def test_one_rollout_may_name_a_route_twice() -> None:
    assert RouteTable([RouteSpec(0, b"/a"), RouteSpec(0, b"/a")]).match(b"", b"/a", GET) == 0


def test_the_table_of_a_configuration() -> None:
    table = RouteTable.of(
        [
            Rollout(name="rest"),
            Rollout(
                name="api",
                routes=(
                    Route(prefix="/api", host="*.example.com"),
                    Route(prefix="/v2", methods=("GET", "HEAD")),
                ),
            ),
        ]
    )
    assert table.match(b"a.example.com", b"/api/x", GET) == 1
    assert table.match(b"example.org", b"/api/x", GET) == 0
    assert table.match(b"example.org", b"/v2", b"HEAD") == 1
    assert table.match(b"example.org", b"/v2", b"PUT") == 0
    assert repr(table) == "<RouteTable 3 routes, 1 hosts>"


def fits(route: RouteSpec, host: bytes, path: bytes, method: bytes) -> bool:
    """The rules of docs/routing.md, one after the other."""
    if route.host is None:
        host_fits = True
    elif route.host.startswith(b"*"):
        host_fits = host.endswith(route.host[1:]) and len(host) > len(route.host[1:])
    else:
        host_fits = host == route.host
    below = path.startswith(route.prefix if route.prefix.endswith(b"/") else route.prefix + b"/")
    return host_fits and (path == route.prefix or below) and (not route.methods or method in route.methods)


def specificity(route: RouteSpec) -> tuple[int, int, int, bool]:
    host = route.host or b""
    kind = 0 if route.host is None else 1 if host.startswith(b"*") else 2
    return kind, len(host), len(route.prefix), bool(route.methods)


hosts = st.sampled_from([b"c", b"b.c", b"a.b.c", b"x.b.c", b"a.x.b.c"])
paths = st.lists(st.sampled_from([b"", b"a", b"ab"]), max_size=4).map(lambda parts: b"/" + b"/".join(parts))
methods = st.sampled_from([b"GET", b"PUT"])
specs = st.lists(
    st.tuples(
        st.none() | hosts | hosts.map(lambda host: b"*." + host),
        paths,
        st.sampled_from([frozenset[bytes](), frozenset({b"GET"})]),
    ),
    unique=True,
    max_size=12,
).map(lambda rows: [RouteSpec(i, prefix, host, names) for i, (host, prefix, names) in enumerate(rows)])


@given(specs=specs, host=hosts, path=paths, method=methods)
def test_the_table_finds_what_a_plain_search_finds(
    specs: list[RouteSpec], host: bytes, path: bytes, method: bytes
) -> None:
    fitting = [route for route in specs if fits(route, host, path, method)]
    expected = max(fitting, key=specificity).rollout if fitting else -1
    assert RouteTable(specs).match(host, path, method) == expected


def test_what_is_held_back_stays_on_v1_at_100_percent_until_the_rollout_is_completed() -> None:
    split = Split.of(0, Rollout.model_validate({"name": "default", "judge": {"holdback": 2}}))
    for kind, weight, expected in (
        (State.RUNNING, BUCKETS, BUCKETS - 2_000),
        (State.RUNNING, 50_000, 50_000),
        (State.PAUSED, BUCKETS, BUCKETS - 2_000),
        (State.COMPLETED, BUCKETS, BUCKETS),
    ):
        split.apply(state(kind, weight))
        assert split.weight == expected
