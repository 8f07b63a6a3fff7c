"""Spans as OTLP has them on the wire: protobuf, written directly.

Owns the encoding of `opentelemetry/proto/trace/v1/trace.proto` as far as spans of ours need it. The objects
of the SDK and its encoder take six times as long for a request, more than the whole budget of tracing one in
a hundred. What comes again and again (a rollout's name, a method, a route) is encoded once and kept, in a
bounded number. Tests hold each byte against OpenTelemetry's own encoder and decoder. Must never know what a
span stands for.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - a compiled dataclass looks it up
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, pack
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | bool | int | float
Attributes = list[tuple[str, Value]]

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3

OK: Final = 1
ERROR: Final = 2

_SAMPLED: Final = 0x01
_IS_REMOTE_KNOWN: Final = 0x100
_IS_REMOTE: Final = 0x200
_LOCAL_PARENT: Final = pack("<BBI", 0x85, 0x01, _SAMPLED | _IS_REMOTE_KNOWN)
_REMOTE_PARENT: Final = pack("<BBI", 0x85, 0x01, _SAMPLED | _IS_REMOTE_KNOWN | _IS_REMOTE)
_times: Final = Struct("<BBBQBQ").pack

_MOST_KEPT: Final = 4096
_LONGEST_KEPT: Final = 256
_OF_ONE: Final = (
    "url.path",
    "url.query",
    "url.full",
    "client.address",
    "dualpath.request_id",
    "dualpath.bucket",
)
"""What seldom comes again, and whose business it is to be forgotten."""
_KEYS: Final = {name: b"\x0a%c%b" % (len(name), name.encode()) for name in _OF_ONE}
_BYTES: Final = [bytes((number,)) for number in range(256)]
_SHORT: Final = 90  # so that all lengths around it take one byte


@dataclass(slots=True)
class Event:
    """Something that happened at one instant while a span lasted."""

    name: str
    at_s: float
    attributes: Attributes


class Shared:
    """Attributes that many spans have in common, encoded once."""

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.encoded = b"".join([_attribute(b"\x4a", name, value) for name, value in attributes])

    def __repr__(self) -> str:
        return f"Shared({self.attributes!r})"


@dataclass(slots=True, init=False)
class Span:
    """One span; ids are hexadecimal, instants seconds since the Unix epoch. `attributes` are its own, beside
    those that it shares; `links` are pairs of trace and span."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start_s: float
    end_s: float
    attributes: Attributes
    shared: Shared | None
    trace_state: str
    parent_is_remote: bool
    events: Sequence[Event]
    links: Sequence[tuple[str, str]]
    status: int
    status_message: str

    def __init__(
        self,
        name: str,
        kind: int,
        trace_id: str,
        span_id: str,
        parent_id: str,
        start_s: float,
        end_s: float,
        attributes: Attributes,
        shared: Shared | None = None,
        trace_state: str = "",
        parent_is_remote: bool = False,
        events: Sequence[Event] = (),
        links: Sequence[tuple[str, str]] = (),
        status: int = 0,
        status_message: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.start_s = start_s
        self.end_s = end_s
        self.attributes = attributes
        self.shared = shared
        self.trace_state = trace_state
        self.parent_is_remote = parent_is_remote
        self.events = events
        self.links = links
        self.status = status
        self.status_message = status_message


# ... the whole of a request


class Envelope:
    """What stands around the spans of every request: the resource, and who has made them."""

    __slots__ = ("_head", "_scope")

    def __init__(self, resource: Mapping[str, Value], scope: str, version: str) -> None:
        attributes = b"".join(_attribute(b"\x0a", name, value) for name, value in resource.items())
        self._head = _field(b"\x0a", attributes)
        self._scope = _field(b"\x0a", _field(b"\x0a", scope.encode()) + _field(b"\x12", version.encode()))

    def __repr__(self) -> str:
        return f"<Envelope of {len(self._head)} B>"

    def around(self, spans: Iterable[bytes]) -> bytes:
        """An `ExportTraceServiceRequest` with what `encoded` has made of spans."""
        scope_spans = _field(b"\x12", self._scope + b"".join(spans))
        return _field(b"\x0a", self._head + scope_spans)


# ... one span


def encoded(span: Span) -> bytes:
    """A span as an `Envelope` takes it. Raises ValueError for ids that are none."""
    ids = f"0a10{span.trace_id}1208{span.span_id}"
    parts = [
        bytes.fromhex(f"{ids}2208{span.parent_id}" if span.parent_id else ids),
        _name(span.name),
        _times(0x30, span.kind, 0x39, _nanos(span.start_s), 0x41, _nanos(span.end_s)),
        _REMOTE_PARENT if span.parent_is_remote else _LOCAL_PARENT,
    ]
    parts += [_attribute(b"\x4a", name, value) for name, value in span.attributes]
    if span.shared is not None:
        parts.append(span.shared.encoded)
    if span.trace_state:
        parts.append(_field(b"\x1a", span.trace_state.encode()))
    if span.events:
        parts += [_field(b"\x5a", _event(event)) for event in span.events]
    if span.links:
        parts += [_field(b"\x6a", _link(trace_id, span_id)) for trace_id, span_id in span.links]
    if span.status:
        parts.append(_status(span))
    return _field(b"\x12", b"".join(parts))


@lru_cache(maxsize=1024)
def _name(text: str) -> bytes:
    return _field(b"\x2a", text.encode("utf-8", "replace"))


def _event(event: Event) -> bytes:
    attributes = b"".join([_attribute(b"\x1a", name, value) for name, value in event.attributes])
    return pack("<BQ", 0x09, _nanos(event.at_s)) + _field(b"\x12", event.name.encode()) + attributes


def _link(trace_id: str, span_id: str) -> bytes:
    return b"\x0a\x10" + bytes.fromhex(trace_id) + b"\x12\x08" + bytes.fromhex(span_id)


def _status(span: Span) -> bytes:
    message = _field(b"\x12", span.status_message.encode()) if span.status_message else b""
    return _field(b"\x7a", message + bytes((0x18, span.status)))


_kept: Final[dict[tuple[bytes, str, Value, type], bytes]] = {}


def _attribute(tag: bytes, name: str, value: Value) -> bytes:
    """A `KeyValue`, kept if it is short and may come again."""
    key = _KEYS.get(name)
    if key is not None:
        return _of_one(tag, key, name, value)
    kind = type(value)  # 1 is True, and 1.0
    known = _kept.get((tag, name, value, kind))
    if known is not None:
        return known
    made = _key_value(tag, name, value)
    if len(made) <= _LONGEST_KEPT:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[tag, name, value, kind] = made
    return made


def _of_one(tag: bytes, key: bytes, name: str, value: Value) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-8", "replace")
        size = len(text)
        if size <= _SHORT:
            lengths = _BYTES[len(key) + size + 4], _BYTES[size + 2], _BYTES[size]
            return b"".join([tag, lengths[0], key, b"\x12", lengths[1], b"\x0a", lengths[2], text])
    return _key_value(tag, name, value)


def _key_value(tag: bytes, name: str, value: Value) -> bytes:
    key = _field(b"\x0a", name.encode())
    return _field(tag, key + _field(b"\x12", _any_value(value)))


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return _field(b"\x0a", value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return pack("<Bd", 0x21, value)


# ... the wire


def _field(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return b"".join([tag, _BYTES[size], content])
    return tag + _varint(size) + content


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _nanos(seconds: float) -> int:
    return int(seconds * 1e9)


# ... what is answered


def rejected_spans(answer: bytes) -> int:
    """How many spans an `ExportTraceServiceResponse` says were not taken; 0 if it says nothing of it."""
    if len(answer) < 4 or answer[0] != 0x0A or answer[2] != 0x08:  # partial_success { rejected_spans
        return 0
    number = 0
    for place, digit in enumerate(answer[3:12]):
        number |= (digit & 0x7F) << 7 * place
        if digit < 0x80:
            return number
    return 0
