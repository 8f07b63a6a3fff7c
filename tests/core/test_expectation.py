"""What a probe's answer has to be."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.schema import Probe
from proxy.core.expectation import unexpected

WELL = b'{"database": "connected", "cache": "operational", "extra": [1], "a.b": 1}'


def probe(**table: Any) -> Probe:
    return Probe.read({"path": "/health", **table})


@pytest.mark.parametrize(
    ("expected", "status", "problem"),
    [
        ([], 200, ""),
        ([], 304, ""),
        ([], 400, "status 400"),
        ([], 199, "status 199"),
        ([200], 204, "status 204"),
        ([200, 429], 429, ""),
    ],
)
def test_the_status_is_one_of_those_that_are_expected(expected: list[int], status: int, problem: str) -> None:
    assert unexpected(probe(expect_status=expected), status, b"") == problem


@pytest.mark.parametrize(
    ("expected", "body", "problem"),
    [
        ({"database": "connected", "cache": "operational"}, WELL, ""),
        ({"database": "connected", "cache": "warm"}, WELL, "cache is 'operational', not 'warm'"),
        ({"queue": "up"}, WELL, "queue is missing"),
        ({"a.b": 1}, WELL, ""),
        ({"checks.cache": "up"}, b'{"checks": {"cache": "up"}}', ""),
        ({"checks": {"cache": "up", "db": True}}, b'{"checks": {"cache": "up", "db": true, "x": 1}}', ""),
        ({"checks": {"cache": "up"}}, b'{"checks": {"cache": "down"}}', "checks.cache is 'down', not 'up'"),
        ({"checks": {"cache": "up"}}, b'{"checks": "up"}', "checks.cache is missing"),
        ({"checks.cache": "up"}, b'{"checks": ["up"]}', "checks.cache is missing"),
        ({"ready": True}, b'{"ready": 1}', "ready is 1, not true"),
        ({"lag": 0}, b'{"lag": 0.0}', ""),
        ({"lag": 0}, b'{"lag": false}', "lag is false, not 0"),
        ({"a": "b"}, b"[]", "a is missing"),
        ({"a": "b"}, b"<html>", "its answer is no JSON"),
        ({"a": "b"}, b"", "its answer is no JSON"),
    ],
)
def test_the_json_holds_what_is_expected(expected: dict[str, Any], body: bytes, problem: str) -> None:
    assert unexpected(probe(expect_json=expected), 200, body) == problem


def test_the_status_goes_first_and_what_is_said_of_a_value_is_short() -> None:
    assert unexpected(probe(expect_json={"a": "b"}), 503, b"{}") == "status 503"
    said = unexpected(probe(expect_json={"a": "b"}), 200, b'{"a": "%b\\n"}' % (b"x" * 5_000))
    assert len(said) < 100
    assert "\n" not in said


@pytest.mark.parametrize("wrong", [{}, {"a": {}}, {"a": [1]}, "up", {"a": {"b": {"c": None}}}])
def test_what_cannot_be_expected_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="must be a table such as"):
        probe(expect_json=wrong)
