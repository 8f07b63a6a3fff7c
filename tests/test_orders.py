"""What supervisor and workers say to each other reads back as what was meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.loading import parse
from proxy.config.schema import Config
from proxy.errors import WireError
from proxy.model import BUCKETS, Path, RolloutState, State
from proxy.orders import (
    config_fields,
    health_frame,
    override_frame,
    read_overrides,
    read_state,
    read_unhealthy,
    replace_frame,
    serve_frame,
    state_fields,
    state_frame,
)
from tests.config.documents import BACKENDS, ROLLOUT

TEXT = st.text(max_size=10)
STATES = st.builds(
    RolloutState,
    TEXT,
    st.sampled_from(State),
    st.integers(0, BUCKETS),
    st.none() | TEXT,
    st.integers(0, 1 << 40),
    st.floats(0, 1e10),
    TEXT,
)
SOUND = state_fields(RolloutState("default", State.RUNNING, 1000, "canary", 3, 1.5, "why"))


@given(STATES)
def test_a_state_reads_back_equal(state: RolloutState) -> None:
    assert read_state(json.loads(json.dumps(state_frame(state)["state"]))) == state


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {},
        {**SOUND, "weight": -1},
        {**SOUND, "weight": BUCKETS + 1},
        {**SOUND, "weight": "1"},
        {**SOUND, "state": "asleep"},
        {**SOUND, "state": None},
        {**SOUND, "revision": -1},
        {**SOUND, "more": 1},
        {key: value for key, value in SOUND.items() if key != "weight"},
    ],
)
def test_what_is_no_state_is_refused(fields: object) -> None:
    with pytest.raises(WireError):
        read_state(fields)


def test_health_names_those_that_are_not_well() -> None:
    frame = health_frame({(Path.V2, "http://b:1"), (Path.V1, "http://a:1")})
    assert frame == {"kind": "health", "unhealthy": [["v1", "http://a:1"], ["v2", "http://b:1"]]}
    assert read_unhealthy(frame["unhealthy"]) == {(Path.V1, "http://a:1"), (Path.V2, "http://b:1")}


@pytest.mark.parametrize("entries", [None, 5, [5], [["v3", "x"]], [["v1"]]])
def test_what_are_no_endpoints_is_refused(entries: object) -> None:
    with pytest.raises(WireError):
        read_unhealthy(entries)


@given(st.dictionaries(TEXT, st.sampled_from(Path)))
def test_overrides_read_back_equal(keys: dict[str, Path]) -> None:
    frame = json.loads(json.dumps(override_frame("shop", keys)))
    assert (frame["kind"], read_overrides(frame["overrides"])) == ("overrides", {"shop": keys})


@pytest.mark.parametrize("fields", [None, [], {"shop": None}, {"shop": {"v3": ["a"]}}, {"shop": {"v1": 5}}])
def test_what_are_no_overrides_is_refused(fields: object) -> None:
    with pytest.raises(WireError):
        read_overrides(fields)


def test_a_worker_gets_what_it_needs_of_the_configuration() -> None:
    override = '[rollouts.override]\nsecret = "sixteen letters!"\n'
    token = f'[admin]\ntokens = [{{ name = "ci", role = "viewer", sha256 = "{"ab" * 32}" }}]\n'
    config = parse(token + ROLLOUT + override, {})
    fields = json.loads(json.dumps(config_fields(config, 1)))
    assert "ab" * 32 not in json.dumps(fields)
    read = Config.read(fields)
    assert (read.listen, read.backends, read.rollouts) == (config.listen, config.backends, config.rollouts)


def test_numbers_are_for_all_workers_together_and_shares_for_each() -> None:
    text = ROLLOUT.replace("[backends.v2]", "max_idle_connections = 10\n[backends.v2]")
    config = parse(text + "[rollouts.fallback]\nbudget = 0.2\nbudget_floor = 3.0\n", {})
    read = Config.read(config_fields(config, 4))
    assert (read.backends.v1.max_idle_connections, read.backends.v2.max_idle_connections) == (3, 128)
    assert (read.rollouts[0].fallback.budget, read.rollouts[0].fallback.budget_floor) == (0.2, 0.75)
    assert read.listen.max_connections == 5000
    none = parse(text.replace("= 10", "= 0"), {})
    assert Config.read(config_fields(none, 4)).backends.v1.max_idle_connections == 0


@pytest.mark.parametrize(
    ("ticks", "every_s"), [(["1s"], 0.25), (["5s", "200ms"], 0.1), (["1ms"], 0.05), (["1h"], 0.25)]
)
def test_reports_come_more_often_than_judgments(ticks: list[str], every_s: float) -> None:
    rollouts = "".join(
        f'[[rollouts]]\nname = "r{n}"\nroutes = [{{ prefix = "/{n}" }}]\njudge = {{ tick = "{tick}" }}\n'
        for n, tick in enumerate(ticks)
    )
    frame = replace_frame(parse(BACKENDS + rollouts, {}), 2, [], {})
    assert frame["every_s"] == pytest.approx(every_s)


def test_the_first_frame_holds_everything() -> None:
    state = RolloutState("default", State.RUNNING, 5)
    overrides = {"default": {"alice": Path.V2, "bob": Path.V1}}
    frame = serve_frame(parse(ROLLOUT, {}), 2, [state], overrides, [(Path.V1, "http://a:1")])
    assert set(frame) == {"kind", "config", "states", "overrides", "every_s", "unhealthy"}
    assert read_overrides(frame["overrides"]) == overrides
    assert (frame["kind"], [read_state(fields) for fields in frame["states"]]) == ("serve", [state])
