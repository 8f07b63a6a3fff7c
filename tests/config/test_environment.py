from __future__ import annotations

from typing import Any

import pytest

from proxy.config.environment import apply_overrides, as_value
from proxy.config.loading import parse
from proxy.judgment import Metric
from tests.config.documents import BACKENDS, GUARD, PHASES, ROLLOUT, problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("true", True),
        ('"30"', "30"),
        ('["a", "b"]', ["a", "b"]),
        ("{ prefix = '/' }", {"prefix": "/"}),
        ("", ""),
        ("10s", "10s"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("True", "True"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("07:32:00", "07:32:00"),
        ("1\nother = 2", "1\nother = 2"),
        ("[" * 10_000, "[" * 10_000),
        ("9" * 5000, "9" * 5000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_is_toml_where_it_is_toml_else_text(text: str, value: object) -> None:
    assert as_value(text) == value


def test_a_key_is_overridden() -> None:
    config = parse("[listen]\nbacklog = 5\n" + BACKENDS, {"DUALPATH__LISTEN__ADDRESS": "127.0.0.1:80"})
    assert (config.listen.address, config.listen.backlog) == ("127.0.0.1:80", 5)


def test_names_are_read_without_regard_to_case() -> None:
    assert parse(BACKENDS, {"dualpath__Listen__Max_Fields": "7"}).listen.max_fields == 7


def test_a_table_that_the_file_lacks_is_added() -> None:
    config = parse(BACKENDS, {"DUALPATH__BACKENDS__V2__HEALTH__PATH": "/healthz"})
    assert config.backends.v2.health is not None


def test_an_entry_is_chosen_by_its_number() -> None:
    environ = {"DUALPATH__ROLLOUTS__0__PHASES__1__PERCENTAGE": "60"}
    assert [phase.percentage for phase in parse(PHASES, environ).rollouts[0].phases] == [1, 60]


def test_an_entry_is_chosen_by_its_name() -> None:
    environ = {"DUALPATH__ROLLOUTS__DEFAULT__PHASES__HALF__PERCENTAGE": "60"}
    assert [phase.percentage for phase in parse(PHASES, environ).rollouts[0].phases] == [1, 60]


def test_what_a_shell_forbids_in_names_is_an_underscore() -> None:
    text = BACKENDS + '[[rollouts]]\nname = "search-v2.eu"\n'
    assert parse(text, {"DUALPATH__ROLLOUTS__SEARCH_V2_EU__PERCENTAGE": "5"}).rollouts[0].percentage == 5


def test_without_rollouts_in_the_file_the_default_one_is_overridden() -> None:
    for which in ("0", "DEFAULT"):
        rollouts = parse(BACKENDS, {f"DUALPATH__ROLLOUTS__{which}__PERCENTAGE": "30"}).rollouts
        assert [(rollout.name, rollout.percentage) for rollout in rollouts] == [("default", 30)]


def test_the_number_after_the_last_adds_an_entry() -> None:
    environ = {
        "DUALPATH__ROLLOUTS__0__GUARDS__0__METRIC": "fallback_rate",
        "DUALPATH__ROLLOUTS__0__GUARDS__0__ABOVE": "0.5",
    }
    assert [guard.metric for guard in parse(ROLLOUT, environ).rollouts[0].guards] == [Metric.FALLBACK_RATE]


def test_entries_are_added_in_the_order_of_their_numbers() -> None:
    environ = {f"DUALPATH__BACKENDS__V1__ENDPOINTS__{n}": f"http://a{n}" for n in reversed(range(11))}
    assert parse(BACKENDS, environ).backends.v1.endpoints == tuple(f"http://a{n}:80" for n in range(11))


def test_a_whole_list_is_replaced() -> None:
    environ = {"DUALPATH__BACKENDS__V1__ENDPOINTS": '["http://b"]'}
    assert parse(BACKENDS, environ).backends.v1.endpoints == ("http://b:80",)


@pytest.mark.parametrize("salt", ["123", "true", "1.0", "2026-01-01", "[1]"])
def test_text_that_looks_like_another_value_is_text_where_text_belongs(salt: str) -> None:
    environ = {"DUALPATH__ROLLOUTS__0__SALT": salt, "DUALPATH__ROLLOUTS__0__PERCENTAGE": "5"}
    rollout = parse(ROLLOUT, environ).rollouts[0]
    assert (rollout.salt, rollout.percentage) == (salt, 5)


def test_a_choice_that_looks_like_a_number_needs_no_quotes() -> None:
    variable = "DUALPATH__BACKENDS__V1__TLS__MIN_VERSION"
    tls = parse(BACKENDS, {variable: "1.3"}).backends.v1.tls
    assert tls is not None
    assert tls.min_version == "1.3"
    assert problems(BACKENDS, {variable: "1.1"}) == [
        ("backends.v1.tls.min_version", f"must be one of '1.2' or '1.3', not '1.1' (from {variable})")
    ]


def test_variables_with_one_underscore_are_no_overrides() -> None:
    environ = {
        "DUALPATH_ADMIN": "x",
        "DUALPATH_TOKEN": "x",
        "DUALPATH_CONFIG": "x",
        "DUALPATH": "x",
        "PATH": "x",
    }
    assert parse(BACKENDS, environ) == parse(BACKENDS, {})


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("DUALPATH__LISTEN__ADRESS", 'unknown key; did you mean "address"? (listen.adress)'),
        ("DUALPATH__FOO__BAR", "unknown key (foo)"),
        ("DUALPATH__", "must name a key, its parts separated by two underscores"),
        ("DUALPATH__LISTEN____ADDRESS", "must name a key, its parts separated by two underscores"),
        ("DUALPATH__BACKENDS__V1__ENDPOINTS__0__URL", "backends.v1.endpoints.0 has nothing below it"),
        ("DUALPATH__ROLLOUTS__2__SALT", "rollouts has 1 entries; the next one is 1"),
        ("DUALPATH__ROLLOUTS__OTHER__SALT", "rollouts has no entries named other; give the number"),
        (
            "DUALPATH__BACKENDS__V1__ENDPOINTS__A",
            "backends.v1.endpoints has no entries named a; give the number",
        ),
    ],
)
def test_a_variable_that_names_no_key_is_a_problem_under_its_own_name(variable: str, message: str) -> None:
    assert problems(ROLLOUT, {variable: "1"}) == [(variable, message)]


def test_an_ambiguous_name_is_a_problem() -> None:
    text = ROLLOUT + '[[rollouts]]\nname = "Default"\nroutes = [{ prefix = "/b" }]\n'
    assert problems(text, {"DUALPATH__ROLLOUTS__DEFAULT__SALT": "x"}) == [
        ("DUALPATH__ROLLOUTS__DEFAULT__SALT", "rollouts has 2 entries named default; give the number")
    ]


def test_two_variables_for_one_key_are_a_problem() -> None:
    environ = {"DUALPATH__LISTEN__BACKLOG": "1", "dualpath__listen__backlog": "2"}
    assert [message for _, message in problems(BACKENDS, environ)] == [
        "sets the same key as DUALPATH__LISTEN__BACKLOG"
    ]


def test_an_unsound_value_names_its_variable() -> None:
    assert problems(BACKENDS, {"DUALPATH__LISTEN__BACKLOG": "many"}) == [
        ("listen.backlog", "must be a whole number, not 'many' (from DUALPATH__LISTEN__BACKLOG)")
    ]


def test_an_unsound_value_in_a_table_from_the_environment_names_its_variable() -> None:
    text = GUARD + 'metric = "health"\nbelow = 1\n'
    environ = {"DUALPATH__ROLLOUTS__0__GUARDS": '[{metric = "health", below = 2}]'}
    assert problems(text, environ) == [
        (
            "rollouts.0.guards.0.below",
            "must be from 0 to 1, because health is a share, not 2 (from DUALPATH__ROLLOUTS__0__GUARDS)",
        )
    ]


def test_the_files_own_problem_names_no_variable() -> None:
    text = "[listen]\nbacklog = 0\nadress = 1\n" + BACKENDS
    assert problems(text, {"DUALPATH__LISTEN__MAX_FIELDS": "7"}) == [
        ("listen.backlog", "must be at least 1, not 0"),
        ("listen.adress", 'unknown key; did you mean "address"?'),
    ]


def test_text_that_is_not_unicode_is_a_problem() -> None:
    assert problems(BACKENDS, {"DUALPATH__STORE__URL": "sqlite:///\udcff"}) == [
        ("DUALPATH__STORE__URL", "must be UTF-8 text")
    ]


def test_without_variables_nothing_is_touched() -> None:
    document: dict[str, Any] = {"listen": {}}
    assert apply_overrides(document, {"HOME": "/"}) == ([], [])
    assert document == {"listen": {}}
