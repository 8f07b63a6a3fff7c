"""What a caller sends, read strictly: bodies of commands, and query parameters.

Pure. A key that is not known is an error, because the typo `percentge` must not become "no percentage given".
JSON that cannot be read is 400, JSON that says something impossible is 422; all problems are named at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from proxy.admin.problems import RefusedError
from proxy.config.units import Percentage, weight_of
from proxy.model import Command, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BODY_BYTES = 16 << 10
MAX_EVENTS = 1000
MAX_MINUTES = 1440
MAX_REASON = 500
_HOUR_S = 3600.0
_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")
_MAX_DIGITS = 18  # sequence numbers fit 63 bits

_TAKES: dict[Verb, frozenset[str]] = {
    Verb.SET: frozenset({"percentage"}),
    Verb.ROLLBACK: frozenset({"percentage"}),
    Verb.PROMOTE: frozenset({"full"}),
}
_ALL_TAKE = frozenset({"reason", "revision"})
MANY_TAKE = frozenset({"reason"})
"""What a command to many takes: one revision cannot be that of them all."""
Shape = TypeVar("Shape", bound=BaseModel)
_PERCENTAGE = TypeAdapter(Percentage).json_schema()


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which part of the audit is asked for, see `ports.Store.events`."""

    after: int
    limit: int
    rollout: str | None


@dataclass(frozen=True, slots=True)
class MinuteQuery:
    """Which minutes are asked for: those that began at `start` or later and before `end`."""

    start: float
    end: float
    limit: int


@dataclass(frozen=True, slots=True)
class Listening:
    """What a listener wants. `known` is the last event that it has, None for one that wants only what
    comes; `rollout` the one that it looks at."""

    known: int | None
    status: bool
    board: bool
    rollout: str | None


@dataclass(frozen=True, slots=True)
class ExplainQuery:
    """The request that is to be explained."""

    key: str | None
    host: str
    path: str
    method: str
    rollout: str | None


def read_command(raw: bytes, content_type: str, *, rollout: str, verb: Verb, actor: str) -> Command:
    """The command in a POST body. An empty body of no type (""), or of JSON, is an empty object. Raises
    `RefusedError` 400, 415 or 422.

    A body of another type is refused even if it is empty: a form on somebody's page is all that sends one.
    """
    fields = fields_of(raw, content_type)
    command = command_of(fields, rollout=rollout, verb=verb, actor=actor)
    refuse_twice(raw, fields)
    return command


def command_of(
    fields: dict[str, object], *, rollout: str, verb: Verb, actor: str, takes: frozenset[str] = _ALL_TAKE
) -> Command:
    """The command in a body, which may hold `takes` with any verb. Raises `RefusedError` 422."""
    body = validated(_Body, fields)
    problems = [
        (name, f"does not go with {verb}")
        for name in sorted(body.model_fields_set - _TAKES.get(verb, frozenset()) - takes)
    ]
    if verb is Verb.SET and body.percentage is None:
        problems.append(("percentage", "is needed to set one"))
    if problems:
        raise _invalid(problems)
    return Command(
        rollout=rollout,
        verb=verb,
        actor=actor,
        reason=body.reason,
        weight=None if body.percentage is None else weight_of(body.percentage),
        full=body.full,
        revision=body.revision,
    )


def body_schema(verb: Verb) -> dict[str, Any]:
    """What `read_command` takes for a verb, as JSON Schema."""
    schema = _Body.model_json_schema()
    takes = _TAKES.get(verb, frozenset()) | _ALL_TAKE
    schema["title"] = verb.capitalize()
    schema["properties"] = {name: value for name, value in schema["properties"].items() if name in takes}
    if verb is Verb.SET:
        schema["required"] = ["percentage"]
        schema["properties"]["percentage"] = _PERCENTAGE
    return schema


def read_event_query(query: Iterable[tuple[str, str]]) -> EventQuery:
    """`after` (-1: the newest), `limit` (1..1000) and `rollout`. Raises `RefusedError` 400."""
    given = _known(query, frozenset({"after", "limit", "rollout"}))
    return EventQuery(
        after=_whole(given, "after", default=0, low=-1, high=10**_MAX_DIGITS),
        limit=_whole(given, "limit", default=100, low=1, high=MAX_EVENTS),
        rollout=given.get("rollout"),
    )


def read_trail_query(query: Iterable[tuple[str, str]]) -> EventQuery:
    """`after` and `limit`, as of `read_event_query`. Raises `RefusedError` 400."""
    given = _known(query, frozenset({"after", "limit"}))
    return EventQuery(
        after=_whole(given, "after", default=0, low=0, high=10**_MAX_DIGITS),
        limit=_whole(given, "limit", default=100, low=1, high=MAX_EVENTS),
        rollout=None,
    )


def read_minute_query(query: Iterable[tuple[str, str]], now: float) -> MinuteQuery:
    """`from`, `to` and `limit`, all optional; `now` is seconds since the Unix epoch. Raises 400."""
    given = _known(query, frozenset({"from", "to", "limit"}))
    end = _instant(given, "to", now)
    return MinuteQuery(
        start=_instant(given, "from", end - _HOUR_S),
        end=end,
        limit=_whole(given, "limit", default=MAX_MINUTES, low=1, high=MAX_MINUTES),
    )


def read_explain_query(query: Iterable[tuple[str, str]]) -> ExplainQuery:
    """`key`, `host`, `path`, `method`, `rollout`, all optional; an empty key is none. Raises 400."""
    given = _known(query, frozenset({"key", "host", "path", "method", "rollout"}))
    path = given.get("path", "/")
    if not path.startswith("/"):
        raise RefusedError(400, 'query parameter "path" must start with "/"')
    return ExplainQuery(
        key=given.get("key") or None,
        host=given.get("host", "").lower(),
        path=path.partition("?")[0],
        method=given.get("method", "GET").upper(),
        rollout=given.get("rollout") or None,
    )


def read_listening(query: Iterable[tuple[str, str]], last: str | None) -> Listening:
    """`after`, `status`, `board` and `rollout`, all optional. `last` is what a listener that comes back had
    last, which wins over `after`. Raises 400."""
    given = _known(query, frozenset({"after", "status", "board", "rollout"}))
    given |= {"after": last} if last else {}
    return Listening(
        known=_whole(given, "after", default=0, low=0, high=10**_MAX_DIGITS) if "after" in given else None,
        status=_flag(given, "status"),
        board=_flag(given, "board"),
        rollout=given.get("rollout") or None,
    )


def read_reason_query(query: Iterable[tuple[str, str]]) -> str:
    """`reason`, optional. Raises 400 unless it is one printable line."""
    given = _known(query, frozenset({"reason"})).get("reason", "")
    try:
        return _REASON.validate_python(given)
    except ValidationError:
        said = f'query parameter "reason" must be one printable line of at most {MAX_REASON} characters'
        raise RefusedError(400, said) from None


def refuse_query(query: Iterable[tuple[str, str]]) -> None:
    """For what takes no query parameter. Raises `RefusedError` 400 if there is one."""
    _known(query, frozenset())


def printable(value: str) -> str:
    """Text that fits one line. Raises ValueError."""
    if not value.isprintable():
        raise ValueError("must hold no control characters")
    return value.strip()


Reason = Annotated[str, Field(max_length=MAX_REASON), AfterValidator(printable)]
_REASON: TypeAdapter[str] = TypeAdapter(Reason)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    percentage: Percentage | None = None
    reason: Reason = ""
    full: bool = False
    revision: Annotated[int, Field(ge=0)] | None = None


def fields_of(raw: bytes, content_type: str) -> dict[str, object]:
    """The JSON object in a body; an empty body of no type, or of JSON, is an empty one. Raises `RefusedError`
    400 or 415."""
    if not raw.strip() and not content_type:
        return {}
    if content_type.lower() != "application/json":
        raise RefusedError(
            415, "a command's body is application/json", headers={"Accept": "application/json"}
        )
    if not raw.strip():
        return {}
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise RefusedError(400, "the body must be a JSON object")
    return fields


def refuse_twice(raw: bytes, fields: dict[str, object]) -> None:
    """Raises `RefusedError` 400 if the body that these fields are from, validated by now and therefore flat,
    has a key twice: readers differ in which of the two counts (RFC 8259 section 4)."""
    if fields and len(json.loads(raw, object_pairs_hook=list)) > len(fields):
        raise RefusedError(400, "the body has a key twice")


def validated(shape: type[Shape], fields: dict[str, object]) -> Shape:
    """The fields as this shape has them. Raises `RefusedError` 422 with every problem."""
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise _invalid([(str(item["loc"][0]), _said(item["type"], item["msg"])) for item in found]) from None


def _said(kind: str, message: str) -> str:
    return "is not known" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


def _invalid(problems: list[tuple[str, str]]) -> RefusedError:
    listed = [{"path": name, "message": message} for name, message in problems]
    return RefusedError(
        422, "; ".join(f"{name}: {message}" for name, message in problems), members={"problems": listed}
    )


def _known(query: Iterable[tuple[str, str]], names: frozenset[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in names:
            raise RefusedError(400, f"query parameter {name!r} is not known")
        if name in given:
            raise RefusedError(400, f"query parameter {name!r} is given twice")
        given[name] = value
    return given


def _instant(given: dict[str, str], name: str, default: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that was not escaped
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise RefusedError(
        400, f'query parameter "{name}" must be an instant such as 2026-01-01T00:00:00Z, or seconds'
    )


def _flag(given: dict[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in {"true", "false"}:
        raise RefusedError(400, f'query parameter "{name}" must be true or false')
    return text == "true"


def _whole(given: dict[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = given.get(name, str(default))
    digits = text.removeprefix("-")
    if not (
        digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS and low <= int(text) <= high
    ):
        raise RefusedError(400, f'query parameter "{name}" must be a whole number from {low} to {high}')
    return int(text)
