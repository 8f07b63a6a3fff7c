from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.config.faults import Fault, dotted, faults_of, without
from proxy.config.schema import Config
from proxy.config.table import FAULTY
from tests.config.documents import BACKENDS, GUARD, ROLLOUT, problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[listen]\naddress = 8080\n", ("listen.address", "must be text")),
        ("[listen]\nbacklog = '5'\n", ("listen.backlog", "must be a whole number, not '5'")),
        ("[listen]\nbacklog = 5.0\n", ("listen.backlog", "must be a whole number, not 5.0")),
        ("[listen]\nbacklog = true\n", ("listen.backlog", "must be a whole number, not true")),
        ("[listen]\nbacklog = 0\n", ("listen.backlog", "must be at least 1, not 0")),
        ("[listen]\nexpose_path = 'yes'\n", ("listen.expose_path", "must be true or false, not 'yes'")),
        ("[listen]\nexpose_path = 1\n", ("listen.expose_path", "must be true or false, not 1")),
        ("[listen]\nheader_timeout = '0s'\n", ("listen.header_timeout", "must be above 0")),
        ("[listen]\nmax_head = '0B'\n", ("listen.max_head", "must be above 0")),
        ("[listen]\ntrusted_proxies = 5\n", ("listen.trusted_proxies", "must be a list, not 5")),
        ("listen = 5\n", ("listen", "must be a table, not 5")),
        (
            "[log]\nlevel = 'loud'\n",
            ("log.level", "must be one of 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ),
        ("[loging]\n", ("loging", 'unknown key; did you mean "log"?')),
        ("[log]\nxyz = 5\n", ("log.xyz", "unknown key")),
        ("[admin]\ntokens = [{}]\n", ("admin.tokens.0.name", "is required")),
    ],
)
def test_a_problem_is_one_plain_line(text: str, problem: tuple[str, str]) -> None:
    assert problems(text + BACKENDS)[0] == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[rollouts.fallback]\nbudget = 1.5\n", ("fallback.budget", "must be at most 1, not 1.5")),
        ("[rollouts.fallback]\nbudget = nan\n", ("fallback.budget", "must be a finite number, not nan")),
        ("[rollouts.fallback]\nbudget = '1'\n", ("fallback.budget", "must be a number, not '1'")),
        (
            "[rollouts.fallback]\nbudget_floor = inf\n",
            ("fallback.budget_floor", "must be a finite number, not inf"),
        ),
        ("[rollouts.fallback]\nreserve = 1\n", ("fallback.reserve", "must be below 1, not 1")),
        ("[rollouts.breaker]\nfailure_rate = 0\n", ("breaker.failure_rate", "must be above 0")),
        ("[rollouts.tunnels]\nidle_timeout = '0s'\n", ("tunnels.idle_timeout", "must be above 0")),
        (
            "[rollouts.tunnels]\nprotocols = ['web socket']\n",
            ("tunnels.protocols.0", 'must be a protocol such as "websocket", or "*", not \'web socket\''),
        ),
        (
            "[rollouts.tunnels]\nprotocols = ['websocket', 'H2C']\n",
            ("tunnels.protocols.1", "must not be 'H2C': HTTP and TLS are for one connection only"),
        ),
        (
            "[rollouts.tunnels]\non_rollback = 'drop'\n",
            ("tunnels.on_rollback", "must be one of 'keep' or 'cut', not 'drop'"),
        ),
        ("[rollouts.judge]\ntick = '0s'\n", ("judge.tick", "must be above 0")),
        ("[rollouts.breaker]\nwindow = '0ms'\n", ("breaker.window", "must be above 0")),
        ("[rollouts.allow]\nv1 = 'u1'\n", ("allow.v1", "must be a list, not 'u1'")),
        ("[rollouts.allow]\nv1 = [1]\n", ("allow.v1.0", "must be text")),
        (
            "[rollouts.override]\nsecret = 'short'\n",
            ("override.secret", "must have at least 16 characters"),
        ),
        ("[rollouts.override]\nsecret = 1234567890123456\n", ("override.secret", "must be text")),
        ("routes = []\n", ("routes", "needs at least one entry")),
        ("key = []\n", ("key", "needs at least one entry")),
        ("name = 'a b'\n", None),
    ],
)
def test_a_problem_of_a_rollout_is_one_plain_line(text: str, problem: tuple[str, str] | None) -> None:
    if problem is None:
        assert problems(BACKENDS + "[[rollouts]]\n" + text) == [
            ("rollouts.0.name", "must be a name without spaces or separators, not 'a b'")
        ]
    else:
        assert problems(ROLLOUT + text) == [("rollouts.0." + problem[0], problem[1])]


def test_no_rollouts_at_all_is_a_problem() -> None:
    assert problems("rollouts = []\n" + BACKENDS) == [("rollouts", "needs at least one entry")]


def test_a_bad_entry_is_no_second_problem_of_its_list() -> None:
    text = BACKENDS.replace("http://127.0.0.1:9002", "x")
    assert [path for path, _ in problems(text)] == ["backends.v2.endpoints.0"]


def test_an_unknown_metric_lists_the_known_ones() -> None:
    path, message = problems(GUARD + 'metric = "speed"\nabove = 1\n')[0]
    assert path == "rollouts.0.guards.0.metric"
    assert message.startswith("must be one of 'error_rate', 'fallback_rate'")
    assert message.endswith("not 'speed'")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ((), ""),
        (("rollouts", 0, "guards", 1, "metric"), "rollouts.0.guards.1.metric"),
        (("listen", "a.b"), "listen.'a.b'"),
        (("a\nb",), r"'a\nb'"),
        (("",), "''"),
        (("x" * 1000,), "'" + "x" * 59 + "…"),
    ],
)
def test_places_are_dotted_and_on_one_line(at: tuple[str | int, ...], text: str) -> None:
    assert dotted(at) == text


def test_a_document_without_its_faults_is_a_copy() -> None:
    document: dict[str, Any] = {"a": {"b": [1, 2], "c": 3, "d": 4}, "e": 5}
    faults = [
        Fault(("a", "b", 1), "int_type", ""),
        Fault(("a", "c"), "extra_forbidden", ""),
        Fault(("a", "x"), "missing", ""),
    ]
    assert without(document, faults) == {"a": {"b": FAULTY, "d": 4, "x": FAULTY}, "e": 5}
    assert document == {"a": {"b": [1, 2], "c": 3, "d": 4}, "e": 5}


def test_what_is_in_a_faulty_value_is_gone_with_it() -> None:
    faults = [Fault(("a", 0), "model_type", ""), Fault(("a", 1, "b"), "missing", "")]
    assert without({"a": [1, {}]}, faults) == {"a": FAULTY}


def test_an_entry_that_is_no_table_takes_its_list_along() -> None:
    assert problems(BACKENDS.replace("[backends", "rollouts = [5, {}]\n[backends", 1)) == [
        ("rollouts.0", "must be a table, not 5"),
        ("rollouts.1.name", "is required"),
    ]


def test_every_kind_of_error_is_a_fault() -> None:
    with pytest.raises(ValidationError) as raised:
        Config.read({"listen": 1, "x": 2})
    assert {fault.kind for fault in faults_of(raised.value, Config)} == {
        "model_type",
        "missing",
        "extra_forbidden",
    }
