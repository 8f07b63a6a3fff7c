from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.inputs import (
    EventQuery,
    ExplainQuery,
    read_command,
    read_event_query,
    read_explain_query,
    refuse_query,
)
from proxy.admin.problems import RefusedError
from proxy.model import BUCKETS, Command, Verb

JSON = "application/json"


def command(verb: Verb = Verb.SET, content_type: str = JSON, **fields: Any) -> Command:
    return read_command(orjson.dumps(fields), content_type, rollout="default", verb=verb, actor="bob")


def refused(raw: bytes, verb: Verb = Verb.SET, content_type: str = JSON) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read_command(raw, content_type, rollout="default", verb=verb, actor="bob")
    return caught.value


def test_a_set_carries_weight_reason_and_revision() -> None:
    assert command(percentage=12.5, reason=" more of it ", revision=3) == Command(
        "default", Verb.SET, "bob", "more of it", weight=12_500, revision=3
    )


def test_a_rollback_may_name_where_to() -> None:
    assert command(Verb.ROLLBACK, percentage=5).weight == 5_000
    assert command(Verb.ROLLBACK, percentage=None).weight is None


def test_a_promotion_may_be_full() -> None:
    assert command(Verb.PROMOTE, full=True).full
    assert not command(Verb.PROMOTE).full


@pytest.mark.parametrize("raw", [b"", b"  \r\n", b"{}"])
@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.SET])
def test_verbs_that_need_nothing_take_an_empty_body(verb: Verb, raw: bytes) -> None:
    for content_type in (JSON,) if raw == b"{}" else (JSON, ""):
        read = read_command(raw, content_type, rollout="default", verb=verb, actor="bob")
        assert read == Command("default", verb, "bob")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_can_send_is_refused_even_if_it_is_empty(content_type: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_command(b"", content_type, rollout="default", verb=Verb.ROLLBACK, actor="bob")
    assert caught.value.status == 415


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"percentage": null}'])
def test_a_set_needs_a_percentage(raw: bytes) -> None:
    error = refused(raw)
    assert (error.status, error.detail) == (422, "percentage: is needed to set one")


@pytest.mark.parametrize("percentage", [101, -0.001, 100.001, 12.3456, "50", True, [], {}])
def test_what_is_no_percentage_is_refused(percentage: object) -> None:
    error = refused(orjson.dumps({"percentage": percentage}))
    assert error.status == 422
    assert error.members["problems"] == [{"path": "percentage", "message": error.detail.partition(": ")[2]}]


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense",
        b'{"percentage": NaN}',
        b'{"percentage": Infinity}',
        b'{"percentage": 1e999}',
        b'{"percentage": 5',
        b"\xff",
        b"[" * 4000,
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    error = refused(raw)
    assert error.status == 400
    assert "not JSON" in error.detail


def test_a_key_that_is_given_twice_is_refused() -> None:
    error = refused(b'{"percentage": 1, "reason": "x", "percentage": 99}')
    assert (error.status, error.detail) == (400, "the body has a key twice")


def test_json_that_is_as_deep_as_can_be_read_is_no_failure() -> None:
    assert refused(b'{"reason": ' + b"[" * 1000 + b"]" * 1000 + b"}").status == 422


@pytest.mark.parametrize("raw", [b"[]", b"5", b'"set"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(raw: bytes) -> None:
    error = refused(raw)
    assert (error.status, error.detail) == (400, "the body must be a JSON object")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_a_body_of_another_type_is_refused(content_type: str) -> None:
    assert refused(b'{"percentage": 5}', content_type=content_type).status == 415


def test_the_content_type_is_read_without_case() -> None:
    assert command(content_type="Application/JSON", percentage=1).weight == 1_000


def test_all_problems_are_named_at_once() -> None:
    error = refused(b'{"percentge": 5, "reason": 7, "revision": -1, "full": "yes"}')
    assert error.status == 422
    problems = error.members["problems"]
    assert isinstance(problems, list)
    assert {problem["path"] for problem in problems} == {"percentge", "reason", "revision", "full"}
    assert {"path": "percentge", "message": "is not known"} in problems


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        (Verb.PAUSE, {"percentage": 5}),
        (Verb.RESUME, {"full": True}),
        (Verb.SET, {"percentage": 5, "full": False}),
        (Verb.ABORT, {"percentage": 0}),
    ],
)
def test_a_field_that_another_verb_takes_is_refused(verb: Verb, fields: dict[str, object]) -> None:
    error = refused(orjson.dumps(fields), verb)
    assert error.status == 422
    assert f"does not go with {verb}" in error.detail


@pytest.mark.parametrize("reason", ["a\nb", "\x1b[31m", "x" * 501, None])
def test_a_reason_is_one_short_printable_line(reason: object) -> None:
    assert refused(orjson.dumps({"percentage": 5, "reason": reason})).status == 422


@pytest.mark.parametrize("revision", [1.5, "4", True, -1])
def test_a_revision_is_a_whole_number(revision: object) -> None:
    assert refused(orjson.dumps({"percentage": 5, "revision": revision})).status == 422


@given(st.integers(0, BUCKETS))
def test_every_weight_can_be_asked_for(weight: int) -> None:
    assert command(percentage=weight / 1000).weight == weight


@given(st.binary(max_size=200), st.sampled_from(list(Verb)))
def test_any_bytes_are_a_command_or_refused(raw: bytes, verb: Verb) -> None:
    with suppress(RefusedError):
        read = read_command(raw, JSON, rollout="default", verb=verb, actor="bob")
        assert read.weight is None or 0 <= read.weight <= BUCKETS


def test_events_begin_at_the_first_and_come_a_hundred_at_a_time() -> None:
    assert read_event_query([]) == EventQuery(0, 100, None)


def test_events_can_be_chosen() -> None:
    query = [("after", "-1"), ("limit", "1000"), ("rollout", "checkout")]
    assert read_event_query(query) == EventQuery(-1, 1000, "checkout")


@pytest.mark.parametrize(
    "query",
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "ten"),
        ("limit", ""),
        ("limit", "--1"),
        ("limit", "1.0"),
        ("limit", "٣"),
        ("after", "-2"),
        ("after", "9" * 5000),
        ("befor", "1"),
    ],
)
def test_other_event_queries_are_refused(query: tuple[str, str]) -> None:
    with pytest.raises(RefusedError) as caught:
        read_event_query([query])
    assert caught.value.status == 400
    assert query[0] in caught.value.detail


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(RefusedError, match="twice"):
        read_event_query([("after", "1"), ("after", "2")])


def test_an_explanation_needs_nothing() -> None:
    assert read_explain_query([]) == ExplainQuery(None, "", "/", "GET", None)
    assert read_explain_query([("key", ""), ("rollout", "")]) == ExplainQuery(None, "", "/", "GET", None)


def test_an_explanation_reads_a_request_as_the_proxy_would() -> None:
    query = [
        ("key", "alice"),
        ("host", "API.example.com"),
        ("path", "/a?b=c"),
        ("method", "post"),
        ("rollout", "x"),
    ]
    assert read_explain_query(query) == ExplainQuery("alice", "api.example.com", "/a", "POST", "x")


def test_a_path_that_does_not_start_with_a_slash_is_refused() -> None:
    with pytest.raises(RefusedError, match="path"):
        read_explain_query([("path", "a")])


def test_what_takes_no_parameter_refuses_one() -> None:
    refuse_query([])
    with pytest.raises(RefusedError, match="token"):
        refuse_query([("token", "x")])
