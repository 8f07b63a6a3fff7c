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
from proxy.core.request_line import read_start, start_text
from proxy.core.tunnel_policy import may_be_tunnelled
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.core.field_line import FieldLine
    from proxy.core.request_line import StartLine

# What is done with a field; one that is not listed passes.
_HOST: Final = 1
_CONTENT_LENGTH: Final = 2
_TRANSFER_ENCODING: Final = 3
_CONNECTION: Final = 4
_UPGRADE: Final = 5
_EXPECT: Final = 6
_IDEMPOTENCY_KEY: Final = 7
_REQUEST_ID: Final = 8
_TRACEPARENT: Final = 9
_TRACESTATE: Final = 10
_VIA: Final = 11
_FORWARDING: Final = 12
_MAX_FORWARDS: Final = 13
_TWIN: Final = 14
_DROP: Final = 15
_KEEP_ALIVE: Final = 16  # dropped too; HTTP/1.0 asks for it

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
    b"x-forwarded-client-cert": _FORWARDING,
    b"max-forwards": _MAX_FORWARDS,
    b"upgrade": _UPGRADE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"http2-settings": _DROP,
    b"x-dualpath-path": _DROP,
    b"x-dualpath-mirror": _DROP,
}

RESERVED: Final = frozenset(_KINDS)
"""Names of fields that have a meaning for us, in lower case."""
_TWINS: Final = frozenset(name.replace(b"-", b"_") for name in _KINDS if b"-" in name)
"""Spellings that a CGI-like backend cannot tell from a field of ours: refused."""
_X_FORWARDED: Final = b"x-forwarded-"
"""What begins like this says whose a request is (-Ssl, -User, ...): ours to say, or a trusted peer's."""
_X_FORWARDED_TWIN: Final = b"x_forwarded_"


def _kinds(private: Iterable[bytes]) -> Callable[[bytes], int]:
    private = tuple(private)
    kinds = _KINDS | {b"connection": -_CONNECTION} | dict.fromkeys(private, _DROP)
    twins = _TWINS | {name.replace(b"-", b"_") for name in private}

    def kind_of(name: bytes) -> int:
        kind = kinds.get(name, 0)
        if kind == 0 and name.startswith(_X_FORWARDED):
            return _FORWARDING
        if kind == 0 and b"_" in name:
            spelt = name.replace(b"-", b"_")
            if spelt in twins or spelt.startswith(_X_FORWARDED_TWIN):
                return _TWIN
        return kind

    return kind_of


def _refine(kind: int, value: bytes) -> int:
    return _KEEP_ALIVE if value.lower() == b"keep-alive" else kind  # of Connection


_REQUEST_ID_FORM = re.compile(rb"[A-Za-z0-9\-_.:+/=@]{1,128}")
_TRACEPARENT_FORM = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
"""Version 00 ends here; one that is still to come may go on, and is read as far as it is known."""
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_SECRETS: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
_MAX_ROUNDS: Final = 5
"""How often a request may have passed a proxy of our name: a few may stand in a row, a circle has no end."""
_MAX_STARTS: Final = 4096

TRACE_ID: Final = -6
SPAN_ID: Final = -4
PATH_LINE: Final = -2
REQUEST_ID: Final = -12
"""Where these stand in `upstream_parts`, which ends in them. Those of the trace hold only where it is
continued, or where the client sent none."""

PASSED_ON: Final = -1
UNSAMPLED: Final = 0
SAMPLED: Final = 1
"""What an upstream is told of the trace: what the client said; or that the caller is a span of ours, which
is kept or, as far as is known yet, not."""
_RANDOM: Final = b"2367abef"  # flags with the bit that says so of the trace's id


class RequestHead:
    """A request's head after `check`.

    `keep_alive` is whether the client's connection may stay. `length` is the body's: bytes or `CHUNKED`.
    `lines` are the end-to-end fields, each a line with its CRLF; `forwarding` are Forwarded and
    X-Forwarded-*, kept apart because only a trusted peer's are believed; `keyed` says that there is an
    Idempotency-Key. `upgrade` is the protocol, in lower case, that the client asks to switch to (RFC 9110
    section 7.8); if that is not to be, it is set to nothing, and the request goes on without the wish.

    Not slotted: most requests use few of these, and a class default costs nothing per request.
    """

    host = b""
    keep_alive = True
    length = 0
    keyed = False
    expects_continue = False
    max_forwards = -1
    upgrade = b""
    request_id: bytes | None = None
    traceparent: bytes | None = None  # empty if it is of no use
    tracestate: bytes | None = None
    via: bytes | None = None
    forwarding: Sequence[FieldLine] = ()
    _options: frozenset[bytes] | None = None
    _protocol: bytes | None = None  # as the client spells it

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
        options = self._options
        if options:
            self.lines = without_options(self.lines, options)
            if self._protocol is not None and b"upgrade" in options:
                self._ask_to_switch(self._protocol)
        if self.method == b"TRACE":
            self._trace()

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
            elif kind < _DROP:
                self._take(kind, field)
        if hosts != 1 and (hosts or self.minor_version):
            raise BadRequest(400, "exactly one Host is required")  # RFC 9112 section 3.2
        if framing is not None:
            self.length = request_length(
                [field.value for field in framing if field.kind == _CONTENT_LENGTH],
                [field.value for field in framing if field.kind == _TRANSFER_ENCODING],
                self.minor_version,
            )
        if self.minor_version == 0 and self.keep_alive:
            self.keep_alive = _asks_to_stay(fields)
        # Ignored in HTTP/1.0, and without a body there is nothing to wait for (RFC 9110 section 10.1.1).
        self.expects_continue = self.expects_continue and self.minor_version == 1 and self.length != 0

    def _take(self, kind: int, field: FieldLine) -> None:
        value = field.value
        if kind == _CONNECTION:
            self._take_options(value)
        elif kind == _UPGRADE:
            self._protocol = value if self._protocol is None else b""
        elif kind == _FORWARDING:
            self.forwarding = (*self.forwarding, field)
        elif kind == _EXPECT:
            self._take_expectations(value.lower())
        elif kind == _REQUEST_ID:
            self.request_id = value if _REQUEST_ID_FORM.fullmatch(value) else None
        elif kind == _TRACEPARENT:
            # Of two nobody can tell which is meant: none is.
            self.traceparent = (
                value if self.traceparent is None and _TRACEPARENT_FORM.fullmatch(value) else b""
            )
        elif kind == _TRACESTATE:
            self.tracestate = value if self.tracestate is None else self.tracestate + b", " + value
        elif kind == _VIA:
            self.via = value if self.via is None else self.via + b", " + value
        elif kind == _IDEMPOTENCY_KEY:
            self.keyed = bool(value)
            self.lines.append(field.text)
        elif kind == _MAX_FORWARDS:
            self._take_max_forwards(field)
        else:
            raise BadRequest(400, "a field name with underscores imitates another")

    def _take_options(self, value: bytes) -> None:
        options = connection_options(value)
        if b"close" in options:
            self.keep_alive = False
        self._options = (self._options or frozenset()) | options

    def _take_expectations(self, value: bytes) -> None:
        for expectation in value.split(b","):
            member = expectation.strip(b" \t")
            if member == b"100-continue":
                self.expects_continue = True
            elif member:
                raise BadRequest(417, "unknown expectation")

    def _take_max_forwards(self, field: FieldLine) -> None:
        # RFC 9110 section 7.6.2: it concerns TRACE and OPTIONS; elsewhere it passes untouched.
        if self.method != b"TRACE" and self.method != b"OPTIONS":
            self.lines.append(field.text)
            return
        if self.max_forwards >= 0 or not field.value.isdigit():  # a second one says something else
            raise BadRequest(400, "invalid Max-Forwards")
        self.max_forwards = int(field.value.lstrip(b"0")[:9] or b"0")
        self.lines.append(b"Max-Forwards: %d\r\n" % max(0, self.max_forwards - 1))

    def _via_before(self, pseudonym: bytes) -> bytes:
        via = self.via or b""
        if via.count(pseudonym) >= _MAX_ROUNDS:
            raise BadRequest(508, "the request goes round in a circle")  # RFC 9110 section 7.6
        return b"\r\nVia: " + via + b", "

    def _ask_to_switch(self, protocol: bytes) -> None:
        if (
            self.minor_version == 1
            and self.length == 0
            and self.method != b"HEAD"
            and self.method != b"TRACE"
            and may_be_tunnelled(protocol)
        ):
            self.upgrade = protocol.lower()

    def _trace(self) -> None:
        """RFC 9110 section 9.3.8: what comes back must not show what the client's page may not see."""
        if self.length:
            raise BadRequest(400, "TRACE has no content")
        self.lines = without_options(self.lines, _SECRETS)

    def upstream_parts(
        self, forwarded: bytes, ids: bytes, pseudonym: bytes, sampled: int = PASSED_ON
    ) -> list[bytes]:
        """The head for an upstream, to be joined. The last two parts are the path's own line, which is left
        empty, and the empty line; `SPAN_ID` is another one for every attempt if the trace is continued.

        `forwarded` are the ready forwarding lines for this client (`core.forwarding`), `ids` 32 fresh random
        hex digits for what the client did not send, `pseudonym` ours in Via. Raises `BadRequest` (508) for a
        request that has been here too often.
        """
        parts = [self._known_start or start_text(self.method, self.target), self.host, b"\r\n", *self.lines]
        if self.length > 0 or (self.length == 0 and self.method in _WITH_BODY):
            parts.append(b"Content-Length: %d\r\n" % self.length)
        elif self.length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        if self.expects_continue:
            parts.append(b"Expect: 100-continue\r\n")
        if self.upgrade:
            parts.append(b"Connection: upgrade\r\nUpgrade: %b\r\n" % (self._protocol or self.upgrade))
        request_id = self.request_id or ids
        via = b"\r\nVia: " if self.via is None else self._via_before(pseudonym)
        parts += (b"X-Request-Id: ", request_id, via, pseudonym, b"\r\n", forwarded)
        if self.traceparent:
            parts += self._trace_parts(self.traceparent, ids[:16], sampled)
        else:
            # The parent's id need not be another random number than the trace's.
            flags = b"-01\r\n" if sampled == SAMPLED else b"-00\r\n"
            parts += (b"traceparent: 00-", ids, b"-", ids[:16], flags)
        parts += (b"", b"\r\n")
        return parts

    def _trace_parts(self, traceparent: bytes, span_id: bytes, sampled: int) -> tuple[bytes, ...]:
        """The client's trace, as it came or with a span of ours in it."""
        state = b"\r\n" if self.tracestate is None else b"\r\ntracestate: %b\r\n" % self.tracestate
        if sampled == PASSED_ON:
            return b"traceparent: ", traceparent, b"", b"", state
        flags = (2 if traceparent[54] in _RANDOM else 0) + sampled
        return b"traceparent: 00-", traceparent[3:35], b"-", span_id, b"-0%d%b" % (flags, state)


def _asks_to_stay(fields: list[FieldLine]) -> bool:
    """Whether a client of HTTP/1.0 wants its connection kept (RFC 9112 section 9.3)."""
    for field in fields:
        if field.kind == _KEEP_ALIVE:
            return True
        if field.kind == _CONNECTION and b"keep-alive" in connection_options(field.value):
            return True
    return False


class RequestLines:
    """Reads heads, and remembers their lines. `private` are lower-case names of fields that are for us
    alone and go no further."""

    __slots__ = ("_fields", "_starts")

    def __init__(self, private: Iterable[bytes] = ()) -> None:
        self._fields = LineReader(_kinds(private), _refine)
        self._starts: Memory[StartLine] = Memory(_MAX_STARTS)

    def head(self, block: bytes) -> tuple[RequestHead, list[FieldLine]]:
        """The head that is written in `block`, without the empty line that ends it, and its fields, not
        checked yet.

        Raises `BadRequest` for what is not HTTP/1 to the letter.
        """
        line, crlf, rest = block.partition(b"\r\n")
        start = self._starts.seen.get(line)
        if start is None:
            start = self.start(line)
        fields = self._fields.read_all(rest) if crlf else []
        if fields is None:
            raise BadRequest(400, "a malformed field line")  # RFC 9112 sections 2.2, 5.1 and 5.2
        return RequestHead(start.method, start.target, start.minor_version, start.text), fields

    def start(self, line: bytes) -> StartLine:
        """A request line that was not seen before. Raises `BadRequest`."""
        start = read_start(line)
        if len(line) <= MAX_LINE_BYTES and not _may_hold_secrets(start, line) and self._starts.takes():
            self._starts.keep(line, start)
        return start

    def __repr__(self) -> str:
        return f"<RequestLines {len(self._starts.seen)} start lines, {self._fields!r}>"


def _may_hold_secrets(start: StartLine, line: bytes) -> bool:
    """Whether it has a query, or perhaps user information, which have no business in memory."""
    return b"?" in line or (not start.text and b"@" in line)
