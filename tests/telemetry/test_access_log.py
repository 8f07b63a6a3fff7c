from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.loading import parse
from proxy.telemetry.access_log import AccessLog, access_log
from proxy.telemetry.log_file import PIPE_BYTES
from proxy.telemetry.log_lines import line
from proxy.telemetry.log_writer import Writers
from tests.config.documents import BACKENDS
from tests.telemetry.seen import ATTEMPT, FAILED_ATTEMPT, fallen_back, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.core.observed import ObservedRequest

FORMATS = ("json", "text", "combined")
STRANGE = st.text(alphabet=st.characters(max_codepoint=0xFF), max_size=40)
"""Anything that latin-1 can hold: what a stranger may send, and more."""


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def log(form: str = "json", *headers: str) -> AccessLog:
    """An access log of that format."""
    text = f"[log.access]\nenabled = true\nformat = {json.dumps(form)}\nheaders = {json.dumps(headers)}\n"
    found = access_log(parse(BACKENDS + text, {}), Writers())
    assert found is not None
    return found


def written(seen: ObservedRequest, form: str = "json", *headers: str) -> str:
    """Its line, without the newline."""
    text = log(form, *headers).line(seen).decode()
    assert text.endswith("\n")
    return text[:-1]


def document(seen: ObservedRequest, *headers: str) -> dict[str, Any]:
    """Its line as JSON, read again."""
    found: dict[str, Any] = json.loads(written(seen, "json", *headers))
    return found


def test_a_document_has_everything() -> None:
    assert document(request()) == {
        "time": "2026-01-01T00:00:00.262500Z",
        "level": "info",
        "logger": "dualpath.access",
        "client": "192.0.2.7",
        "method": "GET",
        "scheme": "http",
        "host": "example.test",
        "target": "/things?page=2",
        "protocol": "HTTP/1.1",
        "status": 200,
        "duration_ms": 12.5,
        "received_bytes": 0,
        "sent_bytes": 512,
        "failed": False,
        "aborted": False,
        "request_id": "r-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "traced": False,
        "rollout": "default",
        "route": "/",
        "assigned": "v1",
        "overridden": False,
        "bucket": 70123,
        "weight": 5000,
        "phase": "canary",
        "breaker": "closed",
        "answered_by": "v1",
        "attempts": [
            {
                "path": "v1",
                "endpoint": "http://127.0.0.1:9001",
                "status": 200,
                "duration_ms": 12.0,
                "span_id": "a1" * 8,
            }
        ],
    }


def test_a_fallback_shows_both_attempts() -> None:
    found = document(fallen_back())
    assert (found["fallback"], found["answered_by"]) == ("connect", "v1-fallback")
    first, second = found["attempts"]
    assert (first["path"], first["error"], first["status"]) == ("v2", "connect", 0)
    assert first["detail"] == "cannot connect: Connection refused"
    assert (second["path"], "error" in second) == ("v1", False)


def test_what_no_rollout_covers_has_nothing_of_one() -> None:
    found = document(request(rollout="", answered_by=""))
    assert not {"rollout", "weight", "bucket", "answered_by", "fallback"} & set(found)


def test_what_was_no_request_has_a_line_all_the_same() -> None:
    seen = request(rollout="", answered_by="", method="", target="", host="", status=400, attempts=())
    assert document(seen)["status"] == 400
    assert ' 192.0.2.7 "-" - - id=' in written(seen, "text")
    assert '] "-" 400 512 "-" "-"' in written(seen, "combined")


def test_a_repeated_attempt_says_so() -> None:
    assert document(request(attempts=(ATTEMPT, replace(ATTEMPT, resend=1))))["attempts"][1]["resend"] == 1


def test_fields_stand_there_if_they_are_asked_for_and_secrets_do_not() -> None:
    fields = (
        ("user-agent", "curl/8"),
        ("authorization", "Bearer abc"),
        ("x-other", "no"),
        ("accept", "a"),
        ("accept", "b"),
    )
    seen = request(fields=fields, target="/a?token=abc")
    found = document(seen, "User-Agent", "Authorization", "Accept")
    assert found["headers"] == {"user-agent": "curl/8", "authorization": "***", "accept": "a, b"}
    assert found["target"] == "/a?token=***"
    assert "headers" not in document(seen)


def test_text_that_was_meant_as_utf_8_is_read_as_that() -> None:
    fields = (("a", "café".encode().decode("latin-1")), ("b", "caf\xe9"))
    assert document(request(fields=fields), "a", "b")["headers"] == {"a": "café", "b": "café"}


@pytest.mark.usefixtures("utc")
def test_a_line_for_people() -> None:
    assert written(request(), "text") == (
        "2026-01-01 00:00:00,262 INFO dualpath.access 200 12.5 ms 512 B 192.0.2.7"
        ' "GET http://example.test/things?page=2" default v1'
        ' id="r-1" trace=0af7651916cd43dd8448eb211c80319c'
    )
    found = written(replace(fallen_back(), fields=(("user-agent", 'a "b" \\'),)), "text", "User-Agent")
    assert 'default v1-fallback (v2 connect after 12.0 ms: "cannot connect: Connection refused") id=' in found
    assert found.endswith('user-agent="a \\x22b\\x22 \\x5c"')


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"status": 502, "failed": True}, " 502 failed 12.5 ms"),
        ({"status": 0, "aborted": True}, " 499 aborted 12.5 ms"),
        ({"status": 0, "failed": True}, " 0 failed 12.5 ms"),
    ],
)
def test_a_line_for_people_says_what_went_wrong(changes: dict[str, Any], shown: str) -> None:
    assert shown in written(request(**changes), "text")


def test_the_attempts_that_failed_without_words_are_shown_too() -> None:
    seen = replace(fallen_back(), attempts=(replace(FAILED_ATTEMPT, detail=""),))
    assert "(v2 connect after 12.0 ms) " in written(seen, "text")


@pytest.mark.usefixtures("utc")
def test_a_line_as_web_servers_write_it() -> None:
    fields = (("user-agent", 'curl "8"'), ("x-other", "no"))
    assert written(request(fields=fields, client="fe80::1"), "combined") == (
        'fe80::1 - - [01/Jan/2026:00:00:00 +0000] "GET /things?page=2 HTTP/1.1" 200 512'
        ' "-" "curl \\x228\\x22"'
    )
    assert ' HTTP/1.1" 499 0 ' in written(request(status=0, aborted=True, sent_bytes=0), "combined")


@pytest.mark.parametrize("form", FORMATS)
@given(texts=st.lists(STRANGE, min_size=9, max_size=9))
def test_no_request_can_break_its_line_or_steer_a_terminal(form: str, texts: list[str]) -> None:
    method, target, host, client, request_id, agent, other, detail, referer = texts
    found = written(
        request(
            method=method,
            target=target,
            host=host,
            client=client,
            request_id=request_id,
            fields=(("user-agent", agent), ("x-other", other), ("referer", referer)),
            attempts=(replace(FAILED_ATTEMPT, detail=detail),),
        ),
        form,
        "User-Agent",
        "X-Other",
    )
    assert len(found.splitlines()) <= 1
    assert line(found) == found  # nothing in it has to be escaped
    if form == "json":
        assert set(json.loads(found)) >= {"target", "host", "headers", "attempts"}
    if form == "combined":
        assert re.fullmatch(r'\S+ - - \[[^]]+\] "[^"]*" \d{3} \d+ "[^"]*" "[^"]*"', found)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("letter", ["x", "\x1b", '"', "\xff"])
def test_a_line_is_never_longer_than_what_a_pipe_takes_in_one_piece(form: str, letter: str) -> None:
    long = letter * 20_000
    found = log(form, *(f"X-{number}" for number in range(50))).line(
        request(
            method=long,
            target=long,
            host=long,
            request_id=long,
            fields=tuple((f"x-{number}", long) for number in range(50)),
            attempts=(replace(FAILED_ATTEMPT, detail=long), ATTEMPT, ATTEMPT, ATTEMPT, ATTEMPT),
        )
    )
    assert len(found) <= PIPE_BYTES
    assert found.count(b"\n") == 1
    assert b"127.0.0.1" in found or form != "json"


def test_a_long_target_is_cut_as_little_as_may_be() -> None:
    assert document(request(target="/" + "x" * 3000))["target"] == "/" + "x" * 2047 + "…"
    assert len(document(request(target="/" + "\x01" * 3000))["target"]) == 513


def test_only_what_is_to_be_logged_is(tmp_path: Path) -> None:
    text = f'[log.access]\nenabled = true\nfile = "{tmp_path}/access.log"\n'
    writers = Writers()
    found = access_log(parse(BACKENDS + text, {}), writers)
    assert found is not None
    found.request_ended(request(logged=False))
    found.request_ended(request(request_id="r-2"))
    writers.flush(5.0)
    (only,) = (tmp_path / "access.log").read_text().splitlines()
    assert json.loads(only)["request_id"] == "r-2"
    assert "json_form" in repr(found)


def test_lines_stand_beside_the_others_unless_they_have_a_file_of_their_own() -> None:
    assert access_log(parse(BACKENDS, {}), Writers()) is None
    writers = Writers()
    access_log(parse(f'{BACKENDS}[log]\nfile = "all.log"\n[log.access]\nenabled = true\n', {}), writers)
    assert repr(writers) == "Writers(all.log)"
