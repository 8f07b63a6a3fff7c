from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from proxy import __version__, commands
from proxy.cli import main, plainly_served
from proxy.demo.faults import Fault
from proxy.demo.play import DemoOptions
from proxy.errors import DualpathError
from proxy.session import Outside
from tests.fake_admin import FakeOutside

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.config.source import ConfigSource

GOOD = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""
BAD = """
[listen]
adress = "127.0.0.1:1"
[backends.v1]
endpoints = ["ftp://x"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
[[rollouts]]
name = "default"
guards = [{ metric = "happiness", below = 1 }]
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def outside() -> FakeOutside:
    return FakeOutside()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    return path


def complaint(capsys: Captured) -> str:
    """The one line on standard error, without its prefix; nothing else was printed."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("dualpath: error: ")
    return err.removeprefix("dualpath: error: ").rstrip("\n")


# ... serve ...


def test_serve_runs_the_configuration_and_returns_its_exit_code(file: Path) -> None:
    outside = FakeOutside(code=7)
    assert main(["serve", "-c", str(file)], outside=outside.build()) == 7
    assert outside.served[0].backends.v1.endpoints == ("http://127.0.0.1:9001",)


def test_the_file_may_stand_alone(outside: FakeOutside, file: Path) -> None:
    assert main(["serve", str(file)], outside=outside.build()) == 0
    assert len(outside.served) == 1


def test_the_file_is_proxy_toml_by_default(
    outside: FakeOutside, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.rename(file.with_name("proxy.toml"))
    monkeypatch.chdir(file.parent)
    monkeypatch.delenv("DUALPATH_CONFIG", raising=False)
    assert main(["serve"], outside=outside.build()) == 0


def test_the_file_may_come_from_the_environment(
    outside: FakeOutside, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALPATH_CONFIG", str(file))
    assert main(["serve"], outside=outside.build()) == 0
    assert len(outside.served) == 1


def test_the_environment_overrides_the_file(outside: FakeOutside, file: Path) -> None:
    outside.environ["DUALPATH__LISTEN__ADDRESS"] = "127.0.0.1:1234"
    main(["serve", str(file)], outside=outside.build())
    assert outside.served[0].listen.address == "127.0.0.1:1234"


@pytest.mark.parametrize(
    "failure", [DualpathError("cannot listen on\nport 1"), OSError("cannot listen on port 1")]
)
def test_a_proxy_that_cannot_start_says_why_in_one_line(
    outside: FakeOutside, file: Path, failure: Exception, capsys: Captured
) -> None:
    outside.failure = failure
    assert main(["serve", str(file)], outside=outside.build()) == 1
    assert complaint(capsys) == "cannot listen on port 1"


@pytest.mark.parametrize("verb", ["serve", "check"])
def test_every_problem_of_the_file_is_a_line_and_nothing_starts(
    verb: str, outside: FakeOutside, bad: Path, capsys: Captured
) -> None:
    assert main([verb, "-c", str(bad)], outside=outside.build()) == 2
    lines = capsys.readouterr().err.splitlines()
    paths = {line.removeprefix(f"dualpath: {bad}: ").partition(": ")[0] for line in lines}
    assert paths == {"listen.adress", "backends.v1.endpoints.0", "rollouts.0.guards.0.metric"}
    assert outside.served == []


def test_a_missing_file_is_one_line(outside: FakeOutside, capsys: Captured) -> None:
    assert main(["serve", "-c", "/nowhere.toml"], outside=outside.build()) == 2
    assert capsys.readouterr().err == "dualpath: /nowhere.toml: cannot be read: No such file or directory\n"


# ... check, schema, demo ...


@pytest.mark.parametrize("verb", ["serve", "check"])
def test_an_empty_name_is_not_the_usual_file(outside: FakeOutside, capsys: Captured, verb: str) -> None:
    assert main([verb, ""], outside=outside.build()) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_check_says_what_would_run(outside: FakeOutside, file: Path, capsys: Captured) -> None:
    assert main(["check", str(file)], outside=outside.build()) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{file} is valid\n")
    assert "http://127.0.0.1:9002" in out
    assert outside.served == []


def test_schema_is_json(outside: FakeOutside, capsys: Captured) -> None:
    assert main(["schema"], outside=outside.build()) == 0
    assert "properties" in orjson.loads(capsys.readouterr().out)


def test_demo_plays_what_was_asked_for() -> None:
    outside = FakeOutside(code=1)
    asked = ["demo", "--fault", "slow", "--seconds", "12", "--rate", "30", "--stay"]
    assert main(asked, outside=outside.build()) == 1
    assert outside.played == [DemoOptions(fault=Fault.SLOW, seconds=12, rate=30, stay=True)]


def test_demo_has_defaults(outside: FakeOutside) -> None:
    assert main(["demo"], outside=outside.build()) == 0
    assert outside.played == [DemoOptions()]


# ... usage ...


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["explode"], "No such command 'explode'"),
        (["rollout"], "Missing command"),
        (["rollout", "explode"], "No such command 'explode'"),
        (["status", "--frobnicate"], "No such option: --frobnicate"),
        (["demo", "--fault", "comet"], "'comet' is not one of 'none', 'errors', 'slow', 'hang', 'flaky'"),
        (["demo", "--seconds", "0"], "'--seconds'"),
        (["history", "--limit", "0"], "'--limit'"),
        (["explain"], "Missing option '--key'"),
        (["rollout", "set"], "Missing argument 'PERCENT'"),
        (["serve", "a.toml", "b.toml"], "b.toml"),
        (["\x1b[31m\n"], "No such command"),
    ],
)
def test_wrong_usage_is_one_plain_line_and_exit_2(
    arguments: list[str], words: str, outside: FakeOutside, capsys: Captured
) -> None:
    assert main(arguments, outside=outside.build()) == 2
    said = complaint(capsys)
    assert words in said
    assert said.isprintable()
    assert "Value error" not in said
    assert [outside.connected, outside.served, outside.played] == [[], [], []]


@pytest.mark.parametrize("arguments", [["--help"], ["rollout", "--help"], ["rollout", "set", "--help"]])
def test_help_is_plain(arguments: list[str], outside: FakeOutside, capsys: Captured) -> None:
    assert main(arguments, outside=outside.build()) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: dualpath")
    assert "--admin URL" in out
    assert out.isascii()


@pytest.mark.parametrize("verb", [*commands._LOCAL, *commands._ASKING, *commands._GROUPS])
def test_the_list_says_of_a_verb_what_its_own_help_begins_with(
    verb: str, outside: FakeOutside, capsys: Captured
) -> None:
    assert main(["--help"], outside=outside.build()) == 0
    listed = " ".join(capsys.readouterr().out.partition("Commands:")[2].split())
    text, _ = {**commands._LOCAL, **commands._ASKING, **commands._GROUPS}[verb]
    assert f"{verb} {text}" in listed
    assert main([verb, "--help"], outside=outside.build()) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{text} " in told


@pytest.mark.parametrize(
    "arguments",
    [["serve"], ["serve", "a.toml"], ["serve", "-c", "a.toml"], ["serve", "--config", "a.toml"]],
)
@pytest.mark.parametrize("environ", [{}, {"DUALPATH_CONFIG": "b.toml"}, {"DUALPATH_CONFIG": ""}])
def test_the_usual_ways_to_serve_mean_what_the_verb_makes_of_them(
    arguments: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []

    def serve(file: ConfigSource) -> int:
        served.append(file.path)
        return 0

    outside = Outside(serve=serve)
    monkeypatch.delenv("DUALPATH_CONFIG", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert plainly_served(arguments, environ) is not None
    assert main(arguments, outside=outside) == commands.run(arguments, outside) == 0
    plain, read = served
    assert plain == read


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["check"], ["serve", ""], ["serve", "--help"], ["serve", "-x", "a.toml"], ["serve", "-c"]),
        *(["serve", "-c", "-x"], ["serve", "a.toml", "b.toml"], ["--admin", "x", "serve"]),
    ],
)
def test_everything_else_is_up_to_the_commands(arguments: list[str]) -> None:
    assert plainly_served(arguments, {}) is None


def test_commands_that_run_the_proxy_have_no_admin_options(outside: FakeOutside, capsys: Captured) -> None:
    assert main(["serve", "--admin", "http://x"], outside=outside.build()) == 2
    assert "No such option: --admin" in complaint(capsys)


def test_version(outside: FakeOutside, capsys: Captured) -> None:
    assert main(["--version"], outside=outside.build()) == 0
    assert capsys.readouterr().out == f"dualpath {__version__}\n"


def test_arguments_come_from_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, outside: FakeOutside, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "argv", ["dualpath", "--version"])
    assert main(outside=outside.build()) == 0
    assert capsys.readouterr().out.startswith("dualpath ")


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "argv", ["dualpath", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("proxy", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("dualpath ")
