"""What contradicts itself among alerts and hooks, all of it told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.alert_checks import read_secret
from proxy.config.export import redacted, whole
from proxy.config.loading import load, parse
from proxy.config.schema import Config
from proxy.errors import ConfigError
from tests.config.documents import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0123456789abcdef"


def problems(text: str) -> dict[str, str]:
    try:
        parse(BACKENDS + text, {})
    except ConfigError as error:
        return dict(error.problems)
    return {}


def sink(**keys: Any) -> str:
    lines = {"name": "'s'", **keys}
    return "[[alerts.sinks]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def rule(**keys: Any) -> str:
    return sink(**keys).replace("sinks", "rules")


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "'log'"},
        {"kind": "'webhook'", "url": "'https://a.test/x'", "secret": f"'{SECRET}'"},
        {"kind": "'slack'", "url": "'https://a.test/x'"},
        {"kind": "'pagerduty'", "secret": f"'{SECRET}'"},
        {"kind": "'email'", "server": "'a.test:25'", "from": "'a@b.test'", "to": "['c@d.test']"},
        {"kind": "'callback'", "call": "'a.b:c.d'"},
    ],
)
def test_every_kind_of_sink_has_what_it_needs(keys: dict[str, str]) -> None:
    assert problems(sink(**keys)) == {}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"kind": "'webhook'"}, {"url": "is required for webhook"}),
        ({"kind": "'pagerduty'"}, {"secret": "is required for pagerduty"}),
        (
            {"kind": "'email'", "call": "'a:b'"},
            {
                **dict.fromkeys(("server", "from", "to"), "is required for email"),
                "call": "does not go with email",
            },
        ),
        (
            {"kind": "'slack'", "url": "'https://a.test'", "secret": f"'{SECRET}'"},
            {"secret": "does not go with slack"},
        ),
        ({"kind": "'log'", "tls": "'tls'"}, {"tls": "does not go with log"}),
        (
            {
                "kind": "'webhook'",
                "url": "'https://a.test'",
                "secret": f"'{SECRET}'",
                "secret_file": "'/x'",
            },
            {"secret_file": "goes in place of secret: leave out one of them"},
        ),
    ],
)
def test_keys_that_do_not_go_with_a_kind(keys: dict[str, str], expected: dict[str, str]) -> None:
    assert problems(sink(**keys)) == {f"alerts.sinks.0.{key}": text for key, text in expected.items()}


@pytest.mark.parametrize(
    ("keys", "at", "text"),
    [
        ({"username": "'x'"}, "", "needs both username and password, or neither"),
        ({"password": "'x'"}, "", "needs both username and password, or neither"),
        (
            {"username": "'x'", "password": "'y'", "password_file": "'/z'"},
            ".password_file",
            "goes in place of password: leave out one of them",
        ),
        (
            {"username": "'x'", "password": "'y'", "tls": "'none'"},
            ".tls",
            "must not be none with a password: everybody on the way could read it",
        ),
    ],
)
def test_a_password_of_a_mail_server(keys: dict[str, str], at: str, text: str) -> None:
    mail = {"kind": "'email'", "server": "'a.test:25'", "from": "'a@b.test'", "to": "['c@d.test']"}
    assert problems(sink(**mail, **keys)) == {f"alerts.sinks.0{at}": text}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("call", "'nothing'"),
        ("call", "'a.b:c()'"),
        ("from", "'Ops <a@b.test>'"),
        ("from", "'a@b.test\\nBcc: x'"),
        ("to", "['ops']"),
        ("url", "'ftp://a.test'"),
        ("secret", "'short'"),
        ("kind", "'smoke signal'"),
        ("severity", "'fatal'"),
        ("on", "['dinner']"),
        ("rollouts", "['']"),
        ("server", "'a.test'"),
    ],
)
def test_values_that_are_none(key: str, value: str) -> None:
    found = problems(sink(**{"kind": "'log'", key: value.replace("\\n", "\\\\n")}))
    assert any(at.startswith(f"alerts.sinks.0.{key}") for at in found)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("keys", "at", "text"),
    [
        ({}, "", "needs a limit: above or below"),
        ({"above": 0.1, "below": 0.2}, "", "takes either above or below, not both"),
        ({"above": 1.0}, ".above", "can never fire: error_rate is never above 1"),
        ({"below": 0.0}, ".below", "can never fire: error_rate is never below 0"),
        ({"above": 0.1, "clear": 0.2}, ".clear", "must not be over above (0.1), as 0.2 is"),
        ({"below": 0.2, "clear": 0.1}, ".clear", "must not be under below (0.2), as 0.1 is"),
        ({"above": 0.1, "window": "'2h'"}, ".window", "must be at most 1h, not 2h"),
    ],
)
def test_rules_that_cannot_be_meant(keys: dict[str, Any], at: str, text: str) -> None:
    assert problems(rule(metric="'error_rate'", **keys)) == {f"alerts.rules.0{at}": text}


def test_health_falls() -> None:
    found = problems(rule(metric="'health'", above=0.1))
    assert found == {"alerts.rules.0.above": "must be below for health, which falls when endpoints fail"}


@pytest.mark.parametrize("metric", ["host_cpu", "host_memory", "process_cpu", "process_memory"])
def test_what_this_machine_reports_is_a_share(metric: str) -> None:
    assert problems(rule(metric=f"'{metric}'", above=0.9)) == {}
    assert "alerts.rules.0.above" in problems(rule(metric=f"'{metric}'", above=90))


def test_limits_of_latencies_are_durations_and_stay_so() -> None:
    config = parse(BACKENDS + rule(metric="'latency_p95'", above="'2s'", clear="'1s'"), {})
    (written,) = redacted(config)["alerts"]["rules"]
    assert (written["above"], written["clear"]) == ("2s", "1s")


def test_everything_is_told_at_once() -> None:
    silence = "[[alerts.silences]]\nfrom = '2026-01-02T00:00:00Z'\nuntil = '2026-01-01T00:00:00Z'\n"
    hook = "[[hooks]]\nname = 'h'\non = ['rollback']\nurl = 'http://a.test'\nrequired = true\n"
    again = "[[hooks]]\nname = 'h'\non = []\nurl = 'http://a.test'\n"
    found = problems(
        rule(metric="'health'") + sink(kind="'slack'") + sink(kind="'log'") + silence + hook + again
    )
    assert set(found) == {
        *("alerts.rules.0", "alerts.sinks.0.url", "alerts.sinks.1.name", "alerts.silences.0.until"),
        *("hooks.0.required", "hooks.1.name", "hooks.1.on"),
    }


def test_the_log_is_the_only_sink_by_default_and_nothing_is_secret_in_what_is_shown() -> None:
    assert [one.kind for one in parse(BACKENDS, {}).alerts.sinks] == ["log"]
    text = sink(kind="'webhook'", url=f"'https://a.test/{SECRET}'", secret=f"'{SECRET}'")
    text += f"[[hooks]]\nname='h'\non=['rollback']\nurl='http://a.test/{SECRET}'\nsecret='{SECRET}'\n"
    config = parse(BACKENDS + text, {})
    assert SECRET not in str(redacted(config))
    assert SECRET not in repr(config.alerts.sinks[0]).replace("a.test/" + SECRET, "")
    assert config.alerts.sinks[0].secret == SECRET


def test_a_written_out_configuration_reads_as_sound() -> None:
    config = parse(BACKENDS + sink(kind="'slack'", url="'https://a.test'"), {})
    assert Config.read(whole(config)) == config


def test_secrets_come_from_the_environment() -> None:
    text = sink(kind="'webhook'", url="'https://a.test'")
    config = parse(BACKENDS + text, {"DUALPATH__ALERTS__SINKS__S__SECRET": SECRET})
    assert config.alerts.sinks[0].secret == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "must hold one line"),
        (b"a\nb", "must hold one line"),
        (b"\xff", "UTF-8"),
    ],
)
def test_files_of_secrets_are_looked_into(tmp_path: Path, content: bytes | None, why: str) -> None:
    secret, file = tmp_path / "secret", tmp_path / "proxy.toml"
    if content is not None:
        secret.write_bytes(content)
    text = sink(kind="'pagerduty'", secret_file=f"'{secret}'")
    mail = {"kind": "'email'", "server": "'a.test:25'", "from": "'a@b.test'", "to": "['c@d.test']"}
    text += sink(**{**mail, "name": "'m'", "username": "'x'", "password_file": f"'{secret}'"})
    text += f"[[hooks]]\nname = 'h'\non = ['rollback']\nurl = 'http://a.test'\nsecret_file = '{secret}'\n"
    file.write_text(BACKENDS + text)
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    found = dict(raised.value.problems)
    assert set(found) == {
        "alerts.sinks.0.secret_file",
        "alerts.sinks.1.password_file",
        "hooks.0.secret_file",
    }
    assert all(why in text for text in found.values())
    secret.write_text(f" {SECRET}\n")
    assert load(file, {}).hooks[0].secret_file == str(secret)
    assert read_secret(None, str(secret), "x") == SECRET
    assert read_secret("given", None, "x") == "given"


def test_a_faulty_table_silences_no_other() -> None:
    found = problems("[alerts]\nsinks = 3\n" + rule(metric="'health'") + "[[hooks]]\nname = 'h'\n")
    assert {"alerts.sinks", "alerts.rules.0"} <= set(found)
