from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from proxy.config.loading import load, parse
from proxy.config.logs import is_on_stdout
from proxy.config.schema import Access
from proxy.errors import ConfigError
from tests.config.documents import BACKENDS, problems

if TYPE_CHECKING:
    from pathlib import Path

WRONG = """
[log]
level = "loud"
format = "xml"
file = "logs/"
summary_every = 30
redact = ["a b"]
colour = true
[log.access]
enabled = "yes"
file = "a\\nb"
format = "common"
sample = 101
keep = ["errors"]
slow_above = "0s"
headers = ["User Agent"]
"""


def test_every_bad_value_is_reported_at_once() -> None:
    assert {at for at, _ in problems(BACKENDS + WRONG)} == {
        *("log.level", "log.format", "log.file", "log.summary_every", "log.redact.0", "log.colour"),
        *("log.access.enabled", "log.access.file", "log.access.format", "log.access.sample"),
        *("log.access.keep.0", "log.access.slow_above", "log.access.headers.0"),
    }


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ({}, ()),
        ({"headers": ["User-Agent", "user-agent", "X-Tenant"]}, ("user-agent", "x-tenant")),
        ({"format": "combined"}, ("referer", "user-agent")),
        ({"format": "combined", "headers": ["X-A", "Referer"]}, ("referer", "user-agent", "x-a")),
    ],
)
def test_the_fields_that_a_line_has_a_place_for(table: dict[str, object], wanted: tuple[str, ...]) -> None:
    assert Access.read(table).wanted == wanted


def file_problems(directory: Path, log: str) -> list[tuple[str, str]]:
    file = directory / "proxy.toml"
    file.write_text(BACKENDS + log)
    try:
        load(file, {})
    except ConfigError as error:
        return error.problems
    return []


def test_files_that_cannot_be_written_are_found_before_anything_starts(tmp_path: Path) -> None:
    found = file_problems(
        tmp_path,
        f'[log]\nfile = "{tmp_path}"\n[log.access]\nenabled = true\nfile = "{tmp_path}/none/access.log"\n',
    )
    assert found == [
        ("log.file", f"{tmp_path} is a directory"),
        ("log.access.file", f"{tmp_path}/none is no directory"),
    ]


def test_what_may_not_be_written_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    for name, problem in (("there", "may not be written"), ("new", "may not be made in")):
        ((at, message),) = file_problems(tmp_path, f'[log]\nfile = "{tmp_path}/{name}"\n')
        assert at == "log.file"
        assert problem in message


@pytest.mark.parametrize(
    "log",
    [
        '[log]\nfile = "/dev/stdout"\n',
        '[log]\nfile = "new.log"\n',
        '[log.access]\nfile = "/nowhere/at/all"\n',  # not enabled
    ],
)
def test_other_files_are_sound(tmp_path: Path, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_problems(tmp_path, log) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "proxy.toml"]


def test_no_file_is_looked_at_where_only_a_text_is_read() -> None:
    assert parse(f'{BACKENDS}[log]\nfile = "/nowhere/at/all"\n', {}).log.file == "/nowhere/at/all"


@pytest.mark.parametrize(
    ("log", "speaks"),
    [
        ("", False),
        ('file = "/dev/stdout"', True),
        ('access = { file = "/dev/stdout" }', False),
        ('access = { file = "/dev/stdout", enabled = true }', True),
    ],
)
def test_workers_have_standard_output_where_lines_go_there(log: str, speaks: bool) -> None:
    assert is_on_stdout(parse(f"{BACKENDS}[log]\n{log}\n", {}).log) is speaks
