"""A client's request head: checked, sorted, and made into the head that is sent on.

Owns what an intermediary does to a request: RFC 9110 sections 7.6 and 10.1.1, W3C Trace Context. Heads are
rebuilt field by field, never copied. It knows no connection, no configuration and no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.core.field_line import MAX_LINE_BYTES, LineReader, Memory
from proxy.core.fields import connection_options, without_options
from proxy.core.framing import CHUNKED, check_host, is_origin_form, request_length, resolve_target
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.core.field_line import FieldLine

# What is done with a field; one that is not listed passes.
_HOST: Final = 1
_CONTENT_LENGTH: Final = 2
_TRANSFER_ENCODING: Final = 3
_CONNECTION: Final = 4
_PROXY_CONNECTION: Final = 5  # no field of any standard; the parser heeds it
_EXPECT: Final = 6
_IDEMPOTENCY_KEY: Final = 7
_REQUEST_ID: Final = 8
_TRACEPARENT: Final = 9
_TRACESTATE: Final = 10
_VIA: Final = 11
_FORWARDING: Final = 12
_DROP: Final = 13
_MAX_FORWARDS: Final = 14

_KINDS: Final[dict[bytes, int]] = {
    b"host": _HOST,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"idempotency-key": _IDEMPOTENCY_KEY,
    b"x-request-id": _REQUEST_ID,
    b"traceparent": _TRACEPARENT,
    b"tracestate": _TRACESTATE,
    b"via": _VIA,
    b"forwarded": _FORWARDING,
    b"x-forwarded-for": _FORWARDING,
    b"x-forwarded-proto": _FORWARDING,
    b"x-forwarded-host": _FORWARDING,
    b"x-forwarded-port": _FORWARDING,
    b"x-forwarded-prefix": _FORWARDING,
    b"x-forwarded-server": _FORWARDING,
    b"x-real-ip": _FORWARDING,
    b"max-forwards": _MAX_FORWARDS,
    b"upgrade": _DROP,
    b"keep-alive": _DROP,
    b"proxy-connection": _PROXY_CONNECTION,
    b"te": _DROP,
    b"trailer": _DROP,
    b"http2-settings": _DROP,
    b"x-dualpath-path": _DROP,
    b"x-dualpath-mirror": _DROP,
}


_TWIN: Final = 15
RESERVED: Final = frozenset(_KINDS)
"""Names of fields that have a meaning for us, in lower case."""
_TWINS: Final = frozenset(name.replace(b"-", b"_") for name in _KINDS if b"-" in name)
"""Spellings that a CGI-like backend cannot tell from a field of ours: refused."""


def _kinds(private: Iterable[bytes]) -> Callable[[bytes], int]:
    kinds = (
        _KINDS
        | {b"connection": -_CONNECTION, b"proxy-connection": -_PROXY_CONNECTION}
        | dict.fromkeys(private, _DROP)
    )

    def kind_of(name: bytes) -> int:
        kind = kinds.get(name, 0)
        if kind == 0 and b"_" in name and name.replace(b"-", b"_") in _TWINS:
            return _TWIN
        return kind

    return kind_of


def _refine(kind: int, value: bytes) -> int:
    return _DROP if value.lower() == b"keep-alive" else kind  # of Connection and its imitation


_REQUEST_ID_FORM = re.compile(rb"[A-Za-z0-9\-_.:+/=@]{1,128}")
_TRACEPARENT_FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_VERSION: Final = b" HTTP/1.1"
_MAX_STARTS: Final = 4096


class StartLine:
    """A request line of HTTP/1.1 whose target is in origin form; `text` is what goes on, up to the value of
    Host."""

    __slots__ = ("method", "target", "text")

    def __init__(self, method: bytes, target: bytes) -> None:
        self.method = method
        self.target = target
        self.text = _start(method, target)

    def __repr__(self) -> str:
        return f"<StartLine {self.method!r} {self.target!r}>"


class RequestHead:
    """A request's head after `check`.

    `keep_alive` is whether the client's connection may stay. `length` is the body's: bytes or `CHUNKED`.
    `lines` are the end-to-end fields, each a line with its CRLF; `forwarding` are Forwarded and
    X-Forwarded-*, kept apart because only a trusted peer's are believed; `keyed` says that there is an
    Idempotency-Key.

    Not slotted: most requests use few of these, and a class default costs nothing per request.
    """

    host = b""
    keep_alive = True
    length = 0
    keyed = False
    expects_continue = False
    max_forwards = -1
    request_id: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    via: bytes | None = None
    forwarding: Sequence[FieldLine] = ()
    _options: frozenset[bytes] | None = None

    def __init__(self, method: bytes, target: bytes, minor_version: int, known_start: bytes = b"") -> None:
        self.method = method
        self.target = target
        self.minor_version = minor_version
        self._known_start = known_start  # of a target that is known to be in origin form
        self.lines: list[bytes] = []

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} length={self.length}>"

    def check(self, fields: list[FieldLine], known_host: bytes) -> None:
        """Takes in the `fields` as read by a `line_reader`; `known_host` is a Host that was checked before.

        Raises `BadRequest` (400, 405, 417): nothing of such a request may reach an upstream.
        """
        if self.method == b"CONNECT":
            raise BadRequest(405, "CONNECT is not supported")  # RFC 9110 section 9.3.6
        authority: bytes | None = None
        if not self._known_start and not is_origin_form(self.target):
            self.target, authority = resolve_target(self.method, self.target)
        self._sort(fields)
        if self.host != known_host if self.host else self.minor_version:
            check_host(self.host)
        if authority is not None:
            self.host = authority  # RFC 9112 section 3.2.2: the absolute form wins over Host
        if self._options:
            self.lines = without_options(self.lines, self._options)

    def _sort(self, fields: list[FieldLine]) -> None:
        lines = self.lines
        hosts = 0
        framing: list[FieldLine] | None = None
        for field in fields:
            kind = field.kind
            if kind == 0:
                lines.append(field.text)
            elif kind == _HOST:
                self.host = field.value
                hosts += 1
            elif kind <= _TRANSFER_ENCODING:
                framing = framing or []
                framing.append(field)
            elif kind != _DROP:
                self._take(kind, field)
        if hosts != 1 and (hosts or self.minor_version):
            raise BadRequest(400, "exactly one Host is required")  # RFC 9112 section 3.2
        if framing is not None:
            self.length = request_length(
                [field.value for field in framing if field.kind == _CONTENT_LENGTH],
                [field.value for field in framing if field.kind == _TRANSFER_ENCODING],
                self.minor_version,
            )
        # Ignored in HTTP/1.0, and without a body there is nothing to wait for (RFC 9110 section 10.1.1).
        self.expects_continue = self.expects_continue and self.minor_version == 1 and self.length != 0

    def _take(self, kind: int, field: FieldLine) -> None:
        value = field.value
        if kind == _CONNECTION:
            self._options = (self._options or frozenset()) | connection_options(value)
        elif kind == _FORWARDING:
            self.forwarding = (*self.forwarding, field)
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise BadRequest(417, "unknown expectation")
            self.expects_continue = True
        elif kind == _REQUEST_ID:
            self.request_id = value if _REQUEST_ID_FORM.fullmatch(value) else None
        elif kind == _TRACEPARENT:
            self.traceparent = value if _TRACEPARENT_FORM.fullmatch(value) else None
        elif kind == _TRACESTATE:
            self.tracestate = value if self.tracestate is None else self.tracestate + b", " + value
        elif kind == _VIA:
            self.via = value if self.via is None else self.via + b", " + value
        elif kind == _IDEMPOTENCY_KEY:
            self.keyed = bool(value)
            self.lines.append(field.text)
        elif kind == _MAX_FORWARDS:
            self._take_max_forwards(field)
        elif kind == _TWIN:
            raise BadRequest(400, "a field name with underscores imitates another")

    def _take_max_forwards(self, field: FieldLine) -> None:
        # RFC 9110 section 7.6.2: it concerns TRACE and OPTIONS; elsewhere it passes untouched.
        if self.method != b"TRACE" and self.method != b"OPTIONS":
            self.lines.append(field.text)
            return
        if not field.value.isdigit():
            raise BadRequest(400, "invalid Max-Forwards")
        self.max_forwards = int(field.value[:9])
        self.lines.append(b"Max-Forwards: %d\r\n" % max(0, self.max_forwards - 1))

    def upstream_parts(self, forwarded: bytes, ids: bytes, pseudonym: bytes) -> list[bytes]:
        """The head for an upstream, to be joined. The last two parts are the path's own line, which is left
        empty, and the empty line.

        `forwarded` are the ready forwarding lines for this client (`core.forwarding`), `ids` 32 fresh random
        hex digits for what the client did not send, `pseudonym` ours in Via.
        """
        parts = [self._known_start or _start(self.method, self.target), self.host, b"\r\n", *self.lines]
        if self.length > 0 or (self.length == 0 and self.method in _WITH_BODY):
            parts.append(b"Content-Length: %d\r\n" % self.length)
        elif self.length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        if self.expects_continue:
            parts.append(b"Expect: 100-continue\r\n")
        if self.traceparent is None:
            # The parent's id need not be another random number than the trace's.
            parts += (b"traceparent: 00-", ids, b"-", ids[:16], b"-00\r\nX-Request-Id: ")
        elif self.tracestate is None:
            parts += (b"traceparent: ", self.traceparent, b"\r\nX-Request-Id: ")
        else:
            parts += (b"traceparent: ", self.traceparent, b"\r\ntracestate: ", self.tracestate)
            parts.append(b"\r\nX-Request-Id: ")
        parts.append(self.request_id or ids)
        parts.append(b"\r\nVia: " if self.via is None else b"\r\nVia: " + self.via + b", ")
        parts += (pseudonym, b"\r\n", forwarded, b"", b"\r\n")
        return parts


def _start(method: bytes, target: bytes) -> bytes:
    """A head up to the value of Host."""
    return b"".join((method, b" ", target, b" HTTP/1.1\r\nHost: "))


class RequestLines:
    """Reads plain heads, and remembers their lines. `private` are lower-case names of fields that are for us
    alone and go no further."""

    __slots__ = ("_fields", "_starts")

    def __init__(self, private: Iterable[bytes] = ()) -> None:
        self._fields = LineReader(_kinds(private), _refine)
        self._starts: Memory[StartLine] = Memory(_MAX_STARTS)

    def field(self, name: bytes, value: bytes) -> FieldLine:
        """The field of a name and a value that a parser has told apart."""
        return self._fields.field(name, value)

    def head(self, block: bytes) -> tuple[RequestHead, list[FieldLine]] | None:
        """The head that is written in `block`, without the empty line that ends it, and its fields, not
        checked yet.

        None leaves it to the parser: whatever is not HTTP/1.1 to the letter, and what asks more of the
        connection than to stay: Transfer-Encoding, Expect, and options of Connection other than keep-alive.
        """
        line, _, rest = block.partition(b"\r\n")
        start = self._starts.seen.get(line)
        if start is None:
            start = self._read_start(line)
            if start is None:
                return None
        fields = self._fields.read_all(rest)
        if fields is None:
            return None
        for field in fields:
            if _TRANSFER_ENCODING <= field.kind <= _EXPECT:
                return None
        return RequestHead(start.method, start.target, 1, start.text), fields

    def _read_start(self, line: bytes) -> StartLine | None:
        method, _, target = line.partition(b" ")
        if method not in _METHODS or not target.endswith(_VERSION):
            return None
        target = target[: -len(_VERSION)]
        if not is_origin_form(target):
            return None
        start = StartLine(method, target)
        if len(line) <= MAX_LINE_BYTES and b"?" not in line and self._starts.takes():
            self._starts.keep(line, start)
        return start

    def __repr__(self) -> str:
        return f"<RequestLines {len(self._starts.seen)} start lines, {self._fields!r}>"
