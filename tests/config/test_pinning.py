"""Keys that the environment sends to one path."""

from __future__ import annotations

import pytest

from proxy.config.loading import parse
from proxy.errors import ConfigError

FILE = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""
TWO = """
[[rollouts]]
name = "checkout"
routes = [{ prefix = "/checkout" }]
[[rollouts]]
name = "search"
allow = { v1 = ["ada", "eve"] }
deny = { v2 = ["ada"] }
"""


def lists(overrides: str, text: str = FILE + TWO) -> list[tuple[str, set[str], set[str], set[str]]]:
    config = parse(text, {"DUALPATH_OVERRIDES": overrides})
    return [(one.name, set(one.allow.v1), set(one.allow.v2), set(one.deny.v2)) for one in config.rollouts]


def test_a_key_is_sent_to_one_path() -> None:
    assert lists("checkout:ada=v2, checkout:bob=v1,") == [
        ("checkout", {"bob"}, {"ada"}, set()),
        ("search", {"ada", "eve"}, set(), {"ada"}),
    ]


def test_the_environment_beats_the_files_lists() -> None:
    assert lists("search:ada=v2")[1] == ("search", {"eve"}, {"ada"}, set())
    assert lists("search:eve=v1")[1] == ("search", {"ada", "eve"}, set(), {"ada"})


def test_a_key_may_hold_what_separates() -> None:
    assert lists("checkout:a:b=c=v2")[0] == ("checkout", set(), {"a:b=c"}, set())


def test_without_rollouts_in_the_file_it_is_the_default_one() -> None:
    assert lists("default:ada=v2", FILE) == [("default", set(), {"ada"}, set())]


def test_nothing_is_said_of_nothing() -> None:
    assert lists("") == lists(" , ")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("ada=v2", "not 'ada=v2'"),
        (":ada=v2", "not ':ada=v2'"),
        ("checkout:=v2", "not 'checkout:=v2'"),
        ("checkout:ada=v3", "not 'checkout:ada=v3'"),
        ("checkout:ada", "not 'checkout:ada'"),
        ("nobody:ada=v2", "there is no rollout 'nobody'"),
    ],
)
def test_what_cannot_be_is_said_with_everything_else(overrides: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"{FILE}{TWO}colour = 1", {"DUALPATH_OVERRIDES": f"checkout:bob=v1,{overrides}"})
    problems = dict(refused.value.problems)
    assert says in problems["DUALPATH_OVERRIDES"]
    assert len(problems) == 2


@pytest.mark.parametrize("wrong", ["allow = 5", "allow = { v2 = 5 }", "deny = { v2 = 5 }", "deny = 5"])
def test_a_list_that_is_none_is_the_files_problem(wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f'{FILE}[[rollouts]]\nname = "checkout"\n{wrong}', {"DUALPATH_OVERRIDES": "checkout:ada=v2"})
    assert all(path.startswith("rollouts.0.") for path, _ in refused.value.problems)


def test_rollouts_that_are_none_are_the_files_problem() -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"rollouts = 5\n{FILE}", {"DUALPATH_OVERRIDES": "checkout:ada=v2"})
    assert [path for path, _ in refused.value.problems] == ["DUALPATH_OVERRIDES", "rollouts"]
