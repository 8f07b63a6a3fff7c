from __future__ import annotations

import contextlib
import os
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.loading import load, parse
from proxy.errors import ConfigError
from tests.config.documents import BACKENDS, PHASES, problems

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_loaded_with_its_overrides(tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(BACKENDS, encoding="utf-8")
    config = load(path, {"DUALPATH__LISTEN__BACKLOG": "7"})
    assert config.backends.v2.endpoints == ("http://127.0.0.1:9002",)
    assert config.listen.backlog == 7


def test_only_backends_are_required() -> None:
    config = parse(BACKENDS, {})
    assert [rollout.name for rollout in config.rollouts] == ["default"]
    assert not config.rollouts[0].guards
    assert not config.rollouts[0].phases


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "none.toml", {})
    assert raised.value.problems == [("", "cannot be read: No such file or directory")]
    assert raised.value.source == os.fspath(tmp_path / "none.toml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_name_with_a_nul_is_no_file() -> None:
    with pytest.raises(ConfigError, match="cannot be read: its name holds a NUL"):
        load("a\0b", {})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_bytes(b"[listen]\n# \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text, first in line 2"):
        load(path, {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[listen]\naddress = ?\n", "line 2, column 11: Invalid value"),
        ("[listen]\naddress =", "line 2, column 10: Invalid value"),
        ("[listen]\n[listen]\n", "line 2, column 8: Cannot declare ('listen',) twice"),
        ("a = " + "[" * 10_000, "is not usable: values are nested too deeply"),
        ("a = " + "9" * 5000, "is not usable: a number has thousands of digits"),
    ],
    ids=["invalid", "end", "twice", "deep", "digits"],
)
def test_a_syntax_error_names_its_place(text: str, problem: str) -> None:
    assert problems(text) == [("", problem)]


def test_the_source_of_a_text_goes_with_its_problems() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("", {}, source="proxy.toml")
    assert raised.value.source == "proxy.toml"
    assert raised.value.problems == [("backends", "is required")]


def test_every_problem_is_reported_at_once() -> None:
    text = (
        PHASES.replace('name = "half"\npercentage = 50', 'name = "canary"\npercentage = 101')
        + """
[rollouts.override]
[listen]
workers = 0
backlog = 0
adress = "x"
"""
    )
    environ = {
        "DUALPATH__ADMIN__ADDRESS": "0.0.0.0:9900",
        "DUALPATH__FOO": "1",
        "DUALPATH__ROLLOUTS__X__Y": "1",
    }
    assert [path for path, _ in problems(text, environ)] == [
        "DUALPATH__ROLLOUTS__X__Y",
        "listen.workers",
        "listen.backlog",
        "listen.adress",
        "rollouts.0.phases.1.percentage",
        "DUALPATH__FOO",
        "admin.tokens",
        "rollouts.0.override",
        "rollouts.0.phases.1.name",
    ]


def test_a_problem_of_the_environment_alone_refuses_a_sound_file() -> None:
    assert [path for path, _ in problems(BACKENDS, {"DUALPATH__": "1"})] == ["DUALPATH__"]


@pytest.mark.parametrize(
    "text",
    [
        "listen." + "a." * 1500 + "a = 1",
        "listen.address." + "a." * 1500 + "a = 1",
        "[listen]\nbacklog = 0x" + "f" * 9000,
        "[[rollouts]]\npercentage = 0x" + "f" * 9000,
        "[[rollouts]]\ntimeout = '" + "9" * 9000 + "d'",
        "[[rollouts.guards]]\nmetric = 'latency_ratio_p95'\nabove = 0x" + "f" * 9000,
        "[rollouts]\n",
        "rollouts = [[[]]]\nbackends = 2026-01-01",
        "backends.v1.endpoints = [{}, [], 1, 1.5, true, 2026-01-01, 07:00:00]",
        "'' = 1\n'a\\nb' = 1",
    ],
    ids=range(10),
)
def test_a_hostile_text_has_problems_of_one_line_each(text: str) -> None:
    assert all("\n" not in path + message and len(path + message) < 500 for path, message in problems(text))


@given(st.text())
def test_whatever_the_text_nothing_but_a_config_error_comes_out(text: str) -> None:
    assert problems(text)


_KEYS = [
    *(
        "listen",
        "admin",
        "tokens",
        "backends",
        "v1",
        "v2",
        "health",
        "endpoints",
        "rollouts",
        "routes",
        "key",
    ),
    *(
        "phases",
        "guards",
        "metric",
        "above",
        "percentage",
        "require",
        "override",
        "allow",
        "name",
        "0",
        "foo",
    ),
]
_VALUES = [
    "1",
    "0",
    "-1",
    "nan",
    "x",
    "10s",
    "error_rate",
    "[]",
    "[1]",
    "{}",
    "{ name = 'x' }",
    "[{}]",
    "true",
    "",
]


@given(
    st.dictionaries(
        st.lists(st.sampled_from(_KEYS), min_size=1, max_size=5).map(
            lambda parts: "__".join(["DUALPATH", *parts])
        ),
        st.sampled_from(_VALUES) | st.text(),
        max_size=6,
    )
)
def test_whatever_the_environment_nothing_but_a_config_error_comes_out(environ: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(PHASES, environ).rollouts


_SCALARS = st.none().map(lambda _: "x") | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(
    st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_KEYS), inner)),
    st.sampled_from(
        ["listen", "backends", "rollouts", "rollouts__0", "rollouts__0__guards", "rollouts__0__phases__0"]
    ),
)
def test_whatever_stands_in_the_place_of_a_table(value: object, key: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(PHASES, {f"DUALPATH__{key}": _toml(value)}).rollouts


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, str):
        return (
            '"'
            + "".join(f"\\U{ord(letter):08X}" for letter in value if not "\ud800" <= letter <= "\udfff")
            + '"'
        )
    return str(value).lower()


def test_the_generated_values_are_toml() -> None:
    value = {"a": [1, "ä\n", True], "0": {"b": float("inf")}}
    assert tomllib.loads(f"value = {_toml(value)}")["value"] == value
