"""When a collector is asked again, and who is said to send."""

from __future__ import annotations

from concurrent.futures import Future
from email.message import Message
from typing import Any

import pytest
from tenacity import RetryCallState, Retrying

from proxy.config.schema import Telemetry
from proxy.telemetry.otlp import Collector, _after, _PassingError, _wait, resource


class Answer:
    """An answer with a Retry-After."""

    def __init__(self, text: str | None) -> None:
        self.headers = Message()
        if text is not None:
            self.headers["Retry-After"] = text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("7", 7.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("-1", 0.0),
        ("9" * 40, 0.0),
        ("\xb2", 0.0),
    ],
)
def test_retry_after_is_read_in_seconds(text: str | None, seconds: float) -> None:
    assert _after(Answer(text)) == seconds  # type: ignore[arg-type]


def waits(after_s: float, attempt: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    outcome: Future[Any] = Future()
    outcome.set_exception(_PassingError("x", after_s))
    state.outcome = outcome  # type: ignore[assignment]
    return _wait(state)


def test_a_collector_is_asked_ever_more_rarely_and_by_chance() -> None:
    first, later = [waits(0, 1) for _ in range(50)], [waits(0, 12) for _ in range(50)]
    assert 0 <= min(first) < max(first) <= 0.5
    assert 2 < max(later) <= 10
    assert len(set(later)) > 10


def test_it_is_not_asked_before_it_wants_to_be() -> None:
    assert waits(60, 1) == 60


def test_what_is_sent_says_who_sends_it_and_people_have_the_last_word() -> None:
    sender = resource(Telemetry.read({"service_name": "shop", "resource": {"host.name": "h", "a.b": "c"}}))
    assert (sender["service.name"], sender["host.name"], sender["a.b"]) == ("shop", "h", "c")
    assert sender["service.instance.id"] != "h"
    assert isinstance(sender["process.pid"], int)


def test_signals_have_their_places_below_the_address() -> None:
    telemetry = Telemetry.read({"otlp_endpoint": "http://a:1/otlp/"})
    assert Collector(telemetry, "traces").url == "http://a:1/otlp/v1/traces"
    assert Collector(Telemetry.read({"otlp_endpoint": "https://a"}), "metrics")._tls is not None
