"""Bodies of what concerns many rollouts, or one key: read as strictly as those of commands (`inputs`).

Pure. Owns their keys and their schemas.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from proxy.admin.inputs import (
    MANY_TAKE,
    Reason,
    Shape,
    body_schema,
    command_of,
    fields_of,
    printable,
    refuse_twice,
    validated,
)
from proxy.config.times import parse_instant
from proxy.config.units import parse_duration
from proxy.model import Command, KeyOverride, Path, Verb

_MOST_KEY = 1024
_MOST_PATTERN = 200


def _pattern(value: str) -> str:
    text = printable(value)
    if not text:
        raise ValueError("must not be blank")
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=_MOST_PATTERN), AfterValidator(_pattern)]


class _Pattern(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    name: Pattern = "*"


class _Stop(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: Reason = ""


def _instant(value: str | None) -> str | None:
    if value is not None:
        parse_instant(value)
    return value


def _duration(value: str | None) -> str | None:
    if value is not None and parse_duration(value) <= 0:
        raise ValueError("must be above 0")
    return value


def _as_it_is(value: str) -> str:
    printable(value)
    return value


class _Override(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=_MOST_KEY), AfterValidator(_as_it_is)]
    path: Literal["v1", "v2"]
    expires_at: Annotated[str | None, AfterValidator(_instant)] = None
    expires_in: Annotated[str | None, AfterValidator(_duration)] = None
    reason: Reason = ""


def read_bulk(raw: bytes, content_type: str, *, verb: Verb, actor: str) -> tuple[str, Command]:
    """The pattern of names ("*" if there is none) and the command, for a rollout that is still to be named.
    Raises `RefusedError` 400, 415 or 422."""
    fields = fields_of(raw, content_type)
    pattern = validated(_Pattern, fields).name
    rest = {key: value for key, value in fields.items() if key != "name"}
    command = command_of(rest, rollout="", verb=verb, actor=actor, takes=MANY_TAKE)
    refuse_twice(raw, fields)
    return pattern, command


def read_reason(raw: bytes, content_type: str) -> str:
    """The reason of an emergency stop. Raises as `read_bulk`; who stops goes on without a reason then."""
    return _read(_Stop, raw, content_type).reason


def read_override(raw: bytes, content_type: str, *, rollout: str, actor: str, now: float) -> KeyOverride:
    """The override that is wanted at wall time `now`. Raises as `read_bulk`."""
    body = _read(_Override, raw, content_type)
    expires_at = None if body.expires_at is None else parse_instant(body.expires_at)
    if body.expires_in is not None:
        in_s = now + parse_duration(body.expires_in)
        expires_at = in_s if expires_at is None else min(in_s, expires_at)
    return KeyOverride(rollout, body.key, Path(body.path), actor, now, expires_at, body.reason)


def bulk_schema(verb: Verb) -> dict[str, Any]:
    """What `read_bulk` takes, as JSON Schema."""
    schema = body_schema(verb)
    schema["title"] = f"{schema['title']} many"
    del schema["properties"]["revision"]
    schema["properties"]["name"] = {
        **_Pattern.model_json_schema()["properties"]["name"],
        "description": 'Names of rollouts as a shell would match them: "checkout-*"; all by default.',
    }
    return schema


def _read(shape: type[Shape], raw: bytes, content_type: str) -> Shape:
    fields = fields_of(raw, content_type)
    body = validated(shape, fields)
    refuse_twice(raw, fields)
    return body


STOP_SCHEMA: dict[str, Any] = _Stop.model_json_schema()
OVERRIDE_SCHEMA: dict[str, Any] = _Override.model_json_schema()
