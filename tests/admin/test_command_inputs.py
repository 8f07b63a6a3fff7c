"""Bodies of what concerns many rollouts, or one key."""

from __future__ import annotations

import jsonschema_rs
import orjson
import pytest

from proxy.admin.command_inputs import (
    OVERRIDE_SCHEMA,
    STOP_SCHEMA,
    bulk_schema,
    read_bulk,
    read_override,
    read_reason,
)
from proxy.admin.problems import RefusedError
from proxy.model import Command, KeyOverride, Path, Verb

JSON = "application/json"
NOW = 1_000.0


def override(**fields: object) -> KeyOverride:
    return read_override(orjson.dumps(fields), JSON, rollout="default", actor="tess", now=NOW)


def bulk(verb: Verb, **fields: object) -> tuple[str, Command]:
    return read_bulk(orjson.dumps(fields), JSON, verb=verb, actor="tess")


def test_a_command_to_many_names_a_pattern() -> None:
    assert bulk(Verb.SET, name="checkout-*", percentage=5, reason="x") == (
        "checkout-*",
        Command("", Verb.SET, "tess", "x", weight=5_000),
    )


def test_without_a_pattern_it_goes_to_all() -> None:
    assert read_bulk(b"", "", verb=Verb.ROLLBACK, actor="tess") == ("*", Command("", Verb.ROLLBACK, "tess"))


@pytest.mark.parametrize(
    ("verb", "fields", "status", "says"),
    [
        (Verb.PAUSE, {"revision": 1}, 422, "revision: does not go with pause"),
        (Verb.PAUSE, {"percentage": 1}, 422, "percentage: does not go with pause"),
        (Verb.PAUSE, {"nmae": "a"}, 422, "nmae: is not known"),
        (Verb.PAUSE, {"name": ""}, 422, "name: "),
        (Verb.PAUSE, {"name": 5}, 422, "name: "),
        (Verb.SET, {}, 422, "percentage: is needed"),
    ],
)
def test_what_cannot_go_to_many_is_refused(
    verb: Verb, fields: dict[str, object], status: int, says: str
) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        bulk(verb, **fields)
    assert refused.value.status == status


def test_a_key_twice_is_refused_everywhere() -> None:
    twice = b'{"reason": "a", "reason": "b"}'
    for read in (
        lambda: read_bulk(twice, JSON, verb=Verb.PAUSE, actor="tess"),
        lambda: read_reason(twice, JSON),
        lambda: read_override(
            b'{"key": "a", "key": "b", "path": "v1"}', JSON, rollout="default", actor="tess", now=NOW
        ),
    ):
        with pytest.raises(RefusedError, match="twice"):
            read()


def test_an_emergency_takes_a_reason_and_nothing_else() -> None:
    assert read_reason(b"", "") == ""
    assert read_reason(b'{"reason": " fire "}', JSON) == "fire"
    with pytest.raises(RefusedError, match="percentage: is not known"):
        read_reason(b'{"percentage": 5}', JSON)


def test_an_override_is_a_key_and_a_path() -> None:
    assert override(key=" ada ", path="v2", reason="to look") == KeyOverride(
        "default", " ada ", Path.V2, "tess", NOW, None, "to look"
    )


@pytest.mark.parametrize(
    ("fields", "expires_at"),
    [
        ({"expires_in": "1h"}, NOW + 3600),
        ({"expires_at": "1970-01-01T01:00:00Z"}, 3600.0),
        ({"expires_at": "1970-01-01T01:00:00Z", "expires_in": "1m"}, NOW + 60),
        ({"expires_at": None}, None),
    ],
)
def test_an_override_may_end(fields: dict[str, object], expires_at: float | None) -> None:
    assert override(key="ada", path="v1", **fields).expires_at == expires_at


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": "v1"}, "key: "),
        ({"key": "", "path": "v1"}, "key: "),
        ({"key": "a\nb", "path": "v1"}, "key: must hold no control"),
        ({"key": "a" * 1025, "path": "v1"}, "key: "),
        ({"key": "ada", "path": "v3"}, "path: "),
        ({"key": "ada", "path": "v1", "expires_at": "tomorrow"}, "expires_at: must be a date"),
        ({"key": "ada", "path": "v1", "expires_at": "2026-01-01T00:00:00"}, "expires_at: must be a date"),
        ({"key": "ada", "path": "v1", "expires_in": "0s"}, "expires_in: must be above 0"),
        ({"key": "ada", "path": "v1", "expires_in": "soon"}, "expires_in: must be a duration"),
        ({"key": "ada", "path": "v1", "actor": "eve"}, "actor: is not known"),
    ],
)
def test_an_override_that_cannot_be_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        override(**fields)
    assert refused.value.status == 422


@pytest.mark.parametrize("verb", Verb)
def test_the_schemas_take_what_is_taken(verb: Verb) -> None:
    schema = bulk_schema(verb)
    jsonschema_rs.validator_for(schema).validate({"name": "a*", "percentage": 5} if verb is Verb.SET else {})
    assert "revision" not in schema["properties"]
    jsonschema_rs.validator_for(STOP_SCHEMA).validate({"reason": "fire"})
    jsonschema_rs.validator_for(OVERRIDE_SCHEMA).validate({"key": "ada", "path": "v1", "expires_in": None})
