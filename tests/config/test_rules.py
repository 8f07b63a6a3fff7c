"""Each rule alone, its sound neighbour, and its silence about values that did not validate."""

from __future__ import annotations

import pytest

from proxy.config.loading import parse
from proxy.config.rules import _RESERVED_FIELDS
from proxy.core.request_head import RESERVED
from tests.config.documents import BACKENDS, GUARD, PHASES, ROLLOUT, problems

TOKEN = f'tokens = [{{ name = "ci", role = "operator", sha256 = "{"0" * 64}" }}]\n'


# ... the admin's address and tokens


@pytest.mark.parametrize("address", ["0.0.0.0:9900", "[::]:9900", "10.0.0.1:9900", "example.com:9900"])
def test_an_admin_that_others_reach_needs_a_token(address: str) -> None:
    text = f'[admin]\naddress = "{address}"\n'
    assert problems(text + BACKENDS) == [
        ("admin.tokens", f"needs at least one: {address} is not a loopback address")
    ]
    assert parse(text + TOKEN + BACKENDS, {}).admin.address == address


@pytest.mark.parametrize("address", ["127.0.0.1:9900", "127.8.8.8:9900", "[::1]:1", "LocalHost:1", "unix:/a"])
def test_an_admin_on_loopback_needs_no_token(address: str) -> None:
    assert parse(f'[admin]\naddress = "{address}"\n' + BACKENDS, {}).admin.address == address


def test_the_two_listeners_need_two_addresses() -> None:
    text = '[listen]\naddress = "127.0.0.1:{port}"\n[admin]\naddress = "127.0.0.1:{port}"\n' + BACKENDS
    assert problems(text.format(port=80)) == [("admin.address", "127.0.0.1:80 is also listen.address")]
    assert parse(text.format(port=0), {}).rollouts


def test_tokens_differ_in_name_and_digest() -> None:
    text = f"""
[admin]
tokens = [
  {{ name = "a", role = "viewer", sha256 = "{"0" * 64}" }},
  {{ name = "a", role = "viewer", sha256 = "{"1" * 64}" }},
  {{ name = "b", role = "operator", sha256 = "{"0" * 64}" }},
]
"""
    assert problems(text + BACKENDS) == [
        ("admin.tokens.1.name", "is also the name of admin.tokens.0"),
        ("admin.tokens.2.sha256", "is the same token as admin.tokens.0"),
    ]


@pytest.mark.parametrize("name", ["controller", "config", "local", "store", "Controller"])
def test_no_token_has_a_name_that_the_audit_gives_to_the_proxy(name: str) -> None:
    assert problems("[admin]\n" + TOKEN.replace('"ci"', f'"{name}"') + BACKENDS) == [
        ("admin.tokens.0.name", f'"{name}" is what the audit calls the proxy itself')
    ]


# ... endpoints


def test_an_endpoint_stands_once_in_its_backend() -> None:
    text = BACKENDS.replace('["http://127.0.0.1:9002"]', '["http://a", "http://b", "http://A:80/"]')
    assert problems(text) == [
        ("backends.v2.endpoints.2", "http://a:80 is also backends.v2.endpoints.0"),
    ]


def test_both_backends_may_have_the_same_endpoint() -> None:
    assert parse(BACKENDS.replace("9002", "9001"), {}).backends.v2.endpoints == ("http://127.0.0.1:9001",)


# ... rollouts among themselves


def test_rollout_names_differ() -> None:
    text = ROLLOUT + '[[rollouts]]\nname = "default"\nroutes = [{ prefix = "/b" }]\n'
    assert problems(text) == [("rollouts.1.name", '"default" is also the name of rollouts.0')]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('prefix = "/"', 'prefix = "/"'),
        ('prefix = "/a", host = "A.example"', 'prefix = "/a", host = "a.example"'),
        ('methods = ["GET"]', 'methods = ["POST", "GET"]'),
    ],
)
def test_two_rollouts_on_one_route_are_both_named(first: str, second: str) -> None:
    text = (
        BACKENDS
        + f"""
[[rollouts]]
name = "a"
routes = [{{ prefix = "/x" }}, {{ {first} }}]
[[rollouts]]
name = "b"
routes = [{{ {second} }}]
"""
    )
    assert problems(text) == [
        ("rollouts.1.routes.0", 'rollout "b" takes the same requests as rollout "a" (rollouts.0.routes.1)')
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('prefix = "/a"', 'prefix = "/b"'),
        ('prefix = "/a"', 'prefix = "/a/"'),
        ('host = "a.example"', 'host = "b.example"'),
        ('host = "a.example"', ""),
        ('methods = ["GET"]', 'methods = ["POST"]'),
        ('methods = ["GET"]', ""),
    ],
)
def test_routes_that_can_be_told_apart_are_sound(first: str, second: str) -> None:
    assert parse(ROLLOUT + f"routes = [{{ {first} }}, {{ {second} }}]\n", {}).rollouts


def test_a_rollout_that_takes_the_same_requests_twice() -> None:
    assert problems(ROLLOUT + "routes = [{}, {}, {}]\n") == [
        (
            f"rollouts.0.routes.{n}",
            'rollout "default" takes the same requests as rollout "default" (rollouts.0.routes.0)',
        )
        for n in (1, 2)
    ]


def test_routes_of_a_rollout_without_a_sound_name_are_still_compared() -> None:
    text = ROLLOUT + '[[rollouts]]\nname = "a b"\n'
    assert problems(text)[1:] == [
        (
            "rollouts.1.routes.0",
            'rollout 1 takes the same requests as rollout "default" (rollouts.0.routes.0)',
        )
    ]


# ... one rollout


@pytest.mark.parametrize("percentage", [0, 1, 50])
def test_a_start_at_zero_or_at_a_phase_is_sound(percentage: int) -> None:
    text = PHASES.replace('name = "default"', f'name = "default"\npercentage = {percentage}')
    assert parse(text, {}).rollouts[0].percentage == percentage


@pytest.mark.parametrize("percentage", [0.5, 20, 100])
def test_a_start_between_the_phases_is_none(percentage: float) -> None:
    text = PHASES.replace('name = "default"', f'name = "default"\npercentage = {percentage}')
    assert problems(text) == [
        ("rollouts.0.percentage", f"must be 0 or that of a phase (1, 50), not {percentage:g}")
    ]


def test_autostart_needs_phases() -> None:
    assert problems(ROLLOUT + "autostart = true\n") == [
        ("rollouts.0.autostart", "needs phases: without them there is nothing to start")
    ]
    text = PHASES.replace('name = "default"', 'name = "default"\nautostart = true')
    assert parse(text, {}).rollouts[0].autostart


def test_an_issued_cookie_is_one_that_is_read() -> None:
    text = ROLLOUT + 'issue_cookie = "uid"\nkey = ["header:uid", "cookie:{name}"]\n'
    assert problems(text.format(name="other")) == [
        ("rollouts.0.issue_cookie", 'must be one of the cookies in key: "cookie:uid"')
    ]
    assert parse(text.format(name="uid"), {}).rollouts[0].issue_cookie == "uid"


@pytest.mark.parametrize(
    ("pins", "problem"),
    [
        (
            'deny = { v1 = ["b", "a", "c"], v2 = ["c", "a"] }',
            [
                ("deny", "'a' stands in both v1 and v2: no path is left"),
                ("deny", "'c' stands in both v1 and v2: no path is left"),
            ],
        ),
        ('allow = { v1 = ["a"], v2 = ["a"] }', [("allow", "'a' stands in both v1 and v2")]),
        ('allow.v2 = ["a"]\ndeny.v2 = ["a"]', [("deny.v2", "'a' stands in allow.v2 too")]),
        ('allow.v1 = ["a"]\ndeny.v1 = ["a"]', [("deny.v1", "'a' stands in allow.v1 too")]),
    ],
)
def test_pins_that_contradict_themselves(pins: str, problem: list[tuple[str, str]]) -> None:
    assert problems(ROLLOUT + pins) == [("rollouts.0." + path, message) for path, message in problem]


def test_pins_that_say_the_same_twice_are_sound() -> None:
    assert parse(ROLLOUT + 'allow.v2 = ["a"]\ndeny.v1 = ["a"]\n', {}).rollouts


def test_an_override_needs_networks_or_a_secret() -> None:
    text = ROLLOUT + "[rollouts.override]\n"
    assert problems(text) == [
        ("rollouts.0.override", "needs networks or a secret: else anybody could choose the path")
    ]
    assert parse(text + 'networks = ["127.0.0.1"]\n', {}).rollouts
    assert parse(text + 'secret = "sixteen letters!"\n', {}).rollouts


@pytest.mark.parametrize(
    "header",
    [
        *(
            "Host",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Keep-Alive",
            "Via",
            "X_Real_IP",
        ),
        *("X-Forwarded-For", "Forwarded", "X-Request-Id", "Idempotency-Key", "X-Dualpath-Path"),
    ],
)
def test_an_override_has_a_field_of_its_own(header: str) -> None:
    text = ROLLOUT + f'override = {{ header = "{header}", networks = ["127.0.0.1"] }}\n'
    assert problems(text) == [("rollouts.0.override.header", f"must be a field of its own, not {header}")]


def test_every_field_that_is_treated_in_its_own_way_is_no_override() -> None:
    assert {name.decode() for name in RESERVED} == _RESERVED_FIELDS


# ... phases


def _phases(*phases: tuple[str, object]) -> str:
    return ROLLOUT + "".join(
        f'[[rollouts.phases]]\nname = "{name}"\npercentage = {percentage}\n' for name, percentage in phases
    )


def test_phases_rise() -> None:
    assert problems(_phases(("a", 10), ("b", 10), ("c", 5), ("d", 20))) == [
        ("rollouts.0.phases.1.percentage", "must be above the 10 of the phase before, not 10"),
        ("rollouts.0.phases.2.percentage", "must be above the 10 of the phase before, not 5"),
    ]


def test_the_first_phase_is_above_zero() -> None:
    assert problems(_phases(("a", 0), ("b", 10))) == [
        ("rollouts.0.phases.0.percentage", "must be above 0, not 0")
    ]


def test_phases_rise_over_one_that_is_not_sound() -> None:
    assert problems(_phases(("a", 10), ("b", 200), ("c", 5))) == [
        ("rollouts.0.phases.1.percentage", "must be from 0 to 100, not 200"),
        ("rollouts.0.phases.2.percentage", "must be above the 10 of the phase before, not 5"),
    ]


def test_phase_names_differ() -> None:
    assert problems(_phases(("a", 1), ("a", 2))) == [
        ("rollouts.0.phases.1.name", '"a" is also the name of rollouts.0.phases.0')
    ]


# ... guards


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        ('metric = "error_rate"', ("", "needs a limit: above or below")),
        ('metric = "error_rate"\nabove = 0.1\nbelow = 0.1', ("", "takes either above or below, not both")),
        (
            'metric = "health"\nabove = 0.5',
            (".above", "must be below for health, which falls when endpoints fail"),
        ),
        ('metric = "error_rate"\nabove = 1', (".above", "can never fire: error_rate is never above 1")),
        ('metric = "error_rate"\nbelow = 0', (".below", "can never fire: error_rate is never below 0")),
        ('metric = "latency_p95"\nbelow = "0s"', (".below", "can never fire: latency_p95 is never below 0")),
        (
            'metric = "error_rate"\nabove = 0.1\nwindow = "61m"',
            (".window", "must be at most 1h, not 61m"),
        ),
        (
            'metric = "error_rate"\nabove = 0.1\nwindow = "500ms"',
            (".window", "must not be shorter than judge.tick (1s), as 500ms is"),
        ),
        (
            'metric = "error_rate"\nabove = 0.1\naction = "previous"',
            (".action", "previous needs phases to go back to"),
        ),
        (
            'metric = "error_rate"\nabove = 0.1\naction = "step_down"\nstep = 0',
            (".step", "must be above 0 for step_down"),
        ),
    ],
)
def test_a_guard_that_cannot_work(guard: str, problem: tuple[str, str]) -> None:
    assert problems(GUARD + guard) == [("rollouts.0.guards.0" + problem[0], problem[1])]


@pytest.mark.parametrize(
    "guard",
    [
        'metric = "error_rate"\nabove = 0',
        'metric = "fallback_rate"\nbelow = 1',
        'metric = "latency_ratio_p95"\nabove = 1.5',
        'metric = "latency_delta_mean"\nabove = "0s"',
        'metric = "error_rate"\nabove = 0.1\nwindow = "1h"',
        'metric = "error_rate"\nabove = 0.1\nstep = 0',
        'metric = "error_rate"\nabove = 0.1\naction = "step_down"',
    ],
)
def test_a_guard_that_can_work(guard: str) -> None:
    assert len(parse(GUARD + guard, {}).rollouts[0].guards) == 1


HEALTH = '[[rollouts]]\nname = "default"\n[[rollouts.guards]]\nmetric = "health"\nbelow = 0.5\n'


@pytest.mark.parametrize(
    "v2",
    [
        'endpoints = ["http://b"]\n',
        'endpoints = ["http://b"]\nejection = { max_share = 1.0 }\n',
        'endpoints = ["http://b", "http://c"]\nejection = { enabled = false }\n',
    ],
)
def test_a_guard_on_health_needs_somebody_who_takes_endpoints_out(v2: str) -> None:
    text = f'[backends.v1]\nendpoints = ["http://a"]\n[backends.v2]\n{v2}'
    assert problems(text + HEALTH) == [
        (
            "rollouts.0.guards.0",
            "can never fire: nothing takes v2's endpoints out without backends.v2.health",
        )
    ]
    assert parse(text + 'health = { path = "/up" }\n' + HEALTH, {}).rollouts


def test_several_endpoints_may_be_ejected() -> None:
    text = BACKENDS.replace('["http://127.0.0.1:9002"]', '["http://b", "http://c"]')
    assert parse(text + HEALTH, {}).rollouts


def test_previous_has_phases_to_go_back_to() -> None:
    guard = '[[rollouts.guards]]\nmetric = "error_rate"\nabove = 0.1\naction = "previous"\n'
    assert parse(PHASES + guard, {}).rollouts


# ... with values that did not validate


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('[listen]\nworkers = "two"\naddress = "x"\n' + BACKENDS, "listen.address listen.workers"),
        ("listen = 5\n" + BACKENDS, "listen"),
        ('[admin]\naddress = "0.0.0.0"\n' + BACKENDS, "admin.address"),
        (
            "[admin]\ntokens = [{ name = 5, role = 'viewer' }, { name = 5, role = 'viewer' }]\n" + BACKENDS,
            "admin.tokens.0.name admin.tokens.0.sha256 admin.tokens.1.name admin.tokens.1.sha256",
        ),
        ("", "backends"),
        ("backends.v1.endpoints = []\n", "backends.v1.endpoints backends.v2"),
        (BACKENDS + "[rollouts]\n", "rollouts"),
        ("rollouts = 5\n" + BACKENDS, "rollouts"),
        (ROLLOUT + "routes = 5\nkey = 5\nissue_cookie = 'a'\n", "rollouts.0.routes rollouts.0.key"),
        (
            ROLLOUT + "routes = [{ prefix = 5 }, { prefix = 5 }]\n",
            "rollouts.0.routes.0.prefix rollouts.0.routes.1.prefix",
        ),
        (ROLLOUT + "phases = 5\nguards = 5\npercentage = 5\n", "rollouts.0.phases rollouts.0.guards"),
        (
            ROLLOUT + "percentage = 50\nphases = [{ name = 'a', percentage = 'x' }, { percentage = 1 }]\n",
            "rollouts.0.phases.0.percentage rollouts.0.phases.1.name",
        ),
        (
            ROLLOUT + "phases = 5\nguards = [{ metric = 'error_rate', below = 1, action = 'previous' }]\n",
            "rollouts.0.phases",
        ),
        (
            GUARD + "metric = 'error_rate'\nabove = 5\nbelow = 5\n",
            "rollouts.0.guards.0.above rollouts.0.guards.0.below",
        ),
        (
            GUARD + "metric = 'x'\nabove = 5\nwindow = '2x'\naction = 'step_down'\nstep = -1\n",
            "rollouts.0.guards.0.metric rollouts.0.guards.0.window rollouts.0.guards.0.step",
        ),
    ],
)
def test_a_rule_is_silent_about_a_value_that_is_a_problem_itself(text: str, paths: str) -> None:
    assert " ".join(path for path, _ in problems(text)) == paths


def test_rules_speak_of_the_rest_of_a_table_with_a_faulty_value() -> None:
    text = GUARD + 'metric = "error_rate"\nabove = 5\nwindow = "2h"\naction = "step_down"\nstep = 0\n'
    assert [path for path, _ in problems(text)] == [
        "rollouts.0.guards.0.above",
        "rollouts.0.guards.0.window",
        "rollouts.0.guards.0.step",
    ]


# ... plans: phases, steps, what stops them


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("steps = { by = 60, every = '1h', until = 50 }", ("steps.by", "must be at most until (50), not 60")),
        ("auto_retry = 2", ("auto_retry", "needs phases: without them there is nothing to start")),
        (
            "freeze = [{ from = 2026-01-02T00:00:00Z, until = 2026-01-01T00:00:00Z }]",
            ("freeze.0.until", "must be after from"),
        ),
        ("judge = { action = 'step_down', step = 0 }", ("judge.step", "must be above 0 for step_down")),
    ],
)
def test_a_plan_that_contradicts_itself(keys: str, problem: tuple[str, str]) -> None:
    assert problems(ROLLOUT + keys) == [("rollouts.0." + problem[0], problem[1])]


def test_steps_take_the_place_of_phases() -> None:
    steps = "steps = { by = 30, every = '1h' }\n"
    assert problems(ROLLOUT + steps + "phases = [{ name = 'a', percentage = 5 }]\n") == [
        ("rollouts.0.steps", "takes the place of phases: leave out one of them")
    ]
    rollout = parse(ROLLOUT + steps + "auto_retry = 1\nautostart = true\n", {}).rollouts[0]
    assert [(phase.name, phase.percentage) for phase in rollout.phases] == [
        ("30%", 30.0),
        ("60%", 60.0),
        ("90%", 90.0),
        ("100%", 100.0),
    ]
    assert {phase.min_duration_s for phase in rollout.phases} == {3600.0}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            "min_duration = '1h'\nmax_duration = '1h'",
            ("max_duration", "must be longer than min_duration (1h)"),
        ),
        ("require = { or_baseline = true }", ("require.or_baseline", "goes with error_rate_below")),
        (
            "require = { improvement_above = 10.0, improvement_against = 'baseline' }",
            ("require.improvement_against", "needs baseline.latency_mean"),
        ),
        (
            "abort_if = [{ metric = 'error_rate' }]",
            ("abort_if.0", "needs a limit: above or below"),
        ),
    ],
)
def test_a_phase_that_cannot_pass(keys: str, problem: tuple[str, str]) -> None:
    phase = '[[rollouts.phases]]\nname = "a"\npercentage = 5\n'
    assert problems(ROLLOUT + phase + keys) == [("rollouts.0.phases.0." + problem[0], problem[1])]


def test_the_guards_of_steps_are_checked_once() -> None:
    steps = "steps = { by = 10, every = '1h', abort_if = [{ metric = 'health', above = 0.5 }] }\n"
    assert problems(ROLLOUT + steps) == [
        ("rollouts.0.steps.abort_if.0.above", "must be below for health, which falls when endpoints fail")
    ]


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        (
            "metric = 'latency_ratio_p95'\nabove = 2",
            (".mode", "must be window: only client_error_rate, error_rate, "),
        ),
        ("metric = 'error_rate'\nbelow = 0.5", (".mode", "must be window: only ")),
        (
            "metric = 'error_rate'\nabove = 0",
            (".mode", "must be window: of a limit of 0 there is nothing to test"),
        ),
        ("metric = 'error_rate'\nabove = 0.1\nfor = '1s'", (".for", "goes with mode window: ")),
    ],
)
def test_a_guard_that_cannot_be_sequential(guard: str, problem: tuple[str, str]) -> None:
    [(at, message)] = problems(GUARD + "mode = 'sequential'\n" + guard)
    assert at == "rollouts.0.guards.0" + problem[0]
    assert message.startswith(problem[1])


def test_what_stands_against_steps_is_silent_about_steps_that_are_not_sound() -> None:
    found = problems(ROLLOUT + "steps = { by = 0 }\nfreeze = [{ from = 1, until = 2 }]\nauto_retry = -1\n")
    assert [at for at, _ in found] == [
        "rollouts.0.steps.by",
        "rollouts.0.steps.every",
        "rollouts.0.freeze.0.from",
        "rollouts.0.freeze.0.until",
        "rollouts.0.auto_retry",
    ]


def test_a_smoke_request_is_a_request() -> None:
    smoke = (
        "[[rollouts.smoke]]\npath = '/menu?city=1'\nheaders = { Host = 'a.example' }\nexpect_status = 200\n"
    )
    [request] = parse(ROLLOUT + smoke, {}).rollouts[0].smoke
    assert (request.method, request.path, request.headers) == ("GET", "/menu?city=1", {"Host": "a.example"})
    found = problems(ROLLOUT + smoke.replace("/menu", "menu").replace("Host", "'a b'").replace("200", "20"))
    assert [at.rpartition("smoke.0.")[2].partition(".")[0] for at, _ in found] == [
        "path",
        "headers",
        "expect_status",
    ]
