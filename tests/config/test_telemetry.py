"""The tables of telemetry: what they read, and that a secret in them stays one."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.export import redacted
from proxy.config.loading import parse
from proxy.config.telemetry import Telemetry
from proxy.errors import ConfigError
from tests.config.documents import BACKENDS


def read(**keys: Any) -> Telemetry:
    return Telemetry.read(keys)


def test_nothing_is_sent_unless_somebody_says_where() -> None:
    assert read().otlp_endpoint is None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318"),
        ("https://otlp.example.com/otlp/", "https://otlp.example.com:443/otlp"),
        ("HTTP://[::1]:4318/a/b", "http://[::1]:4318/a/b"),
    ],
)
def test_a_collector_is_an_address_with_or_without_a_path(given: str, meant: str) -> None:
    assert read(otlp_endpoint=given).otlp_endpoint == meant


@pytest.mark.parametrize(
    "given",
    ["127.0.0.1:4318", "grpc://a:4317", "http://", "http://u:p@a", "http://a?x", "http://a/ b", 4318, ""],
)
def test_what_is_no_address_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="must be http:// or https:// with a host"):
        read(otlp_endpoint=given)


def test_attributes_may_be_written_with_or_without_quotes() -> None:
    flat = read(resource={"deployment.environment.name": "x", "a": "b"}).resource
    assert flat == read(resource={"a": "b", "deployment": {"environment": {"name": "x"}}}).resource
    assert list(flat) == ["a", "deployment.environment.name"]


@pytest.mark.parametrize(
    "resource", [{"a": 1}, {"a": ""}, {"a": "b\n"}, {"1": "b"}, {"": "b"}, {"a": {}}, ["a"], {"a": {"b": 1}}]
)
def test_attributes_that_are_none_are_refused(resource: object) -> None:
    with pytest.raises(ValueError, match="must "):
        read(resource=resource)


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = f"""
{BACKENDS}
[telemetry]
otlp_endpoint = "4318"
otlp_timeout = "0s"
otlp_retry_for = 3
service_name = ""
tls = {{ certificate = "here.pem" }}
[telemetry.traces]
sample = 101
parent = "maybe"
keep = ["all"]
slow_above = "0s"
max_queue = 0
max_batch = 10001
every = "0s"
unknown = 1
"""
    with pytest.raises(ConfigError) as caught:
        parse(text, {})
    told = str(caught.value)
    for key in (
        *("otlp_endpoint", "otlp_timeout", "otlp_retry_for", "service_name", "tls", "traces.sample"),
        *("traces.parent", "traces.keep", "traces.slow_above", "traces.max_queue", "traces.max_batch"),
        *("traces.every", "traces.unknown"),
    ):
        assert f"telemetry.{key}" in told, key


def test_headers_come_from_the_environment_too_and_are_never_shown() -> None:
    config = parse(
        f"{BACKENDS}\n[telemetry]\notlp_endpoint = 'http://a:4318'",
        {"DUALPATH__TELEMETRY__OTLP_HEADERS": '{ Authorization = "Bearer 0123" }'},
    )
    assert config.telemetry.otlp_headers == {"Authorization": "Bearer 0123"}
    assert redacted(config)["telemetry"]["otlp_headers"] == {"Authorization": "***"}
