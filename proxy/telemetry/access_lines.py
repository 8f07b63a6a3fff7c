"""What stands in a line of the access log, in each of its three formats.

All text of a request is a stranger's: it is cut, its secrets are hidden, and what could end a line or steer a
terminal is escaped. Must never know where lines go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from proxy.telemetry.json_lines import json_line
from proxy.telemetry.log_lines import line, quoted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.core.observed import ObservedAttempt, ObservedRequest
    from proxy.telemetry.redaction import Redaction

    Form = Callable[[ObservedRequest, "Shown"], bytes]

LOGGER: Final = "dualpath.access"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEFT: Final = 499
"""What web servers write where the client has left before its answer."""


class Shown:
    """What of a request's text is shown: without secrets, and of each no more than `longest` characters."""

    __slots__ = ("_longest", "_names", "_redaction")

    def __init__(self, redaction: Redaction, names: tuple[str, ...], longest: int) -> None:
        self._redaction = redaction
        self._names = frozenset(names)
        self._longest = longest

    def text(self, received: str) -> str:
        """Any text, as it was received."""
        if len(received) <= self._longest and received.isascii():
            return received
        return shortened(_decoded(received), self._longest)

    def target(self, received: str) -> str:
        """A request's target."""
        return self.text(self._redaction.target(received))

    def fields(self, received: tuple[tuple[str, str], ...]) -> dict[str, str]:
        """The header fields that are to be shown, by name; those of one name as one list."""
        found: dict[str, str] = {}
        for name, value in received:
            if name in self._names:
                value = self.text(self._redaction.field(name, value))
                found[name] = f"{found[name]}, {value}" if name in found else value
        return found


# ... JSON


def json_form(request: ObservedRequest, shown: Shown) -> bytes:
    """A document. What was refused before it was a request has an empty method and target; what no rollout
    covers has nothing of one."""
    document: dict[str, Any] = {
        "time": datetime.fromtimestamp(request.started_at + request.duration_s, UTC),
        "level": "info",
        "logger": LOGGER,
        "client": request.client,
        "scheme": request.scheme,
        "method": shown.text(request.method),
        "host": shown.text(request.host),
        "target": shown.target(request.target),
        "protocol": f"HTTP/1.{request.minor_version}",
        "status": request.status,
        "duration_ms": _ms(request.duration_s),
        "received_bytes": request.received_bytes,
        "sent_bytes": request.sent_bytes,
        "failed": request.failed,
        "aborted": request.aborted,
        "request_id": shown.text(request.request_id),
        "trace_id": request.trace_id,
        "span_id": request.span_id,
        "traced": request.traced,
    }
    if request.rollout:
        document["rollout"] = request.rollout
        document["route"] = request.route
        document["assigned"] = request.assigned
        document["overridden"] = request.overridden
        document["bucket"] = request.bucket
        document["weight"] = request.weight
        document["phase"] = request.phase
        document["breaker"] = request.breaker
    if request.answered_by:
        document["answered_by"] = request.answered_by
    if request.fallback is not None:
        document["fallback"] = request.fallback
    document["attempts"] = [_json_attempt(attempt, shown) for attempt in request.attempts]
    if request.fields and (fields := shown.fields(request.fields)):
        document["headers"] = fields
    return json_line(document)


def _json_attempt(attempt: ObservedAttempt, shown: Shown) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": attempt.path,
        "endpoint": attempt.endpoint,
        "status": attempt.status,
        "duration_ms": _ms(attempt.duration_s),
        "span_id": attempt.span_id,
    }
    if attempt.resend:
        document["resend"] = attempt.resend
    if attempt.error is not None:
        document["error"] = attempt.error
    if attempt.detail:
        document["detail"] = shown.text(attempt.detail)
    return document


# ... for people


def text_form(request: ObservedRequest, shown: Shown) -> bytes:
    """One line, beginning as those of the process do, and then with the result: what an eye looks for."""
    ended_at = request.started_at + request.duration_s
    start = "-"
    if request.method:
        start = f"{shown.text(request.method)} {request.scheme}://{shown.text(request.host)}"
    parts = [
        f"{_second(int(ended_at))},{int(ended_at % 1 * 1000):03d} INFO {LOGGER} {_status(request)}",
        *(["failed"] if request.failed else ["aborted"] if request.aborted else []),
        f"{_ms(request.duration_s)} ms {request.sent_bytes} B",
        _word(request.client),
        quoted(start + shown.target(request.target)),
        f"{request.rollout or '-'} {request.answered_by or '-'}",
        *(_text_attempt(attempt, shown) for attempt in request.attempts if attempt.error is not None),
        f"id={quoted(shown.text(request.request_id))} trace={request.trace_id}",
        *(f"{name}={quoted(value)}" for name, value in shown.fields(request.fields).items()),
    ]
    return line(" ".join(parts)).encode() + b"\n"


def _text_attempt(attempt: ObservedAttempt, shown: Shown) -> str:
    detail = f": {quoted(shown.text(attempt.detail))}" if attempt.detail else ""
    return f"({attempt.path} {attempt.error} after {_ms(attempt.duration_s)} ms{detail})"


def combined_form(request: ObservedRequest, shown: Shown) -> bytes:
    """As web servers write it ("combined"): what reads their logs reads this one."""
    at = _second_as_combined(int(request.started_at + request.duration_s))
    fields = shown.fields(request.fields)
    start = "-"
    if request.method:
        start = f"{shown.text(request.method)} {shown.target(request.target)} HTTP/1.{request.minor_version}"
    return (
        f"{_word(request.client)} - - [{at}] {quoted(start)} {_status(request):03d} {request.sent_bytes}"
        f" {quoted(fields.get('referer', '-'))} {quoted(fields.get('user-agent', '-'))}\n"
    ).encode()


FORMS: Final[Mapping[str, Form]] = {"json": json_form, "text": text_form, "combined": combined_form}


# ... single values


@lru_cache(maxsize=4)
def _second(epoch_s: int) -> str:
    """By the clock on the wall of this machine, as in all lines for people."""
    return f"{datetime.fromtimestamp(epoch_s, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


@lru_cache(maxsize=4)
def _second_as_combined(epoch_s: int) -> str:
    at = datetime.fromtimestamp(epoch_s, UTC).astimezone()
    return f"{at.day:02d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S %z}"


def _status(request: ObservedRequest) -> int:
    return request.status or (_LEFT if request.aborted else 0)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _decoded(received: str) -> str:
    """Text is latin-1 as it was received; most of what is not ASCII was meant as UTF-8."""
    try:
        return received.encode("latin-1").decode()
    except UnicodeError:
        return received


def _word(text: str) -> str:
    """Without spaces and quotation marks, so that what counts words is not led astray."""
    return quoted(text)[1:-1].replace(" ", "\\x20") or "-"
