"""A client's request head: checked, sorted, and made into the head that is sent on.

Owns what an intermediary does to a request: RFC 9110 sections 7.6 and 10.1.1, W3C Trace Context. Heads are
rebuilt field by field, never copied. It knows no connection, no configuration and no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.core.fields import connection_options, without_options
from proxy.core.framing import CHUNKED, check_host, is_origin_form, request_length, resolve_target
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What is done with a field; one that is not listed passes.
_HOST: Final = 1
_CONTENT_LENGTH: Final = 2
_TRANSFER_ENCODING: Final = 3
_CONNECTION: Final = 4
_EXPECT: Final = 5
_IDEMPOTENCY_KEY: Final = 6
_REQUEST_ID: Final = 7
_TRACEPARENT: Final = 8
_TRACESTATE: Final = 9
_VIA: Final = 10
_FORWARDING: Final = 11
_DROP: Final = 12
_MAX_FORWARDS: Final = 13

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
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"http2-settings": _DROP,
    b"x-dualpath-path": _DROP,
    b"x-dualpath-mirror": _DROP,
}


def kinds_without(names: Iterable[bytes]) -> dict[bytes, int]:
    """How fields are treated where those of the given lower-case `names` are for us alone and go no
    further."""
    return _KINDS | dict.fromkeys(names, _DROP)


_TWINS: Final = frozenset(name.replace(b"-", b"_") for name in _KINDS if b"-" in name)
"""Spellings that a CGI-like backend cannot tell from a field of ours: refused."""

_REQUEST_ID_FORM = re.compile(rb"[A-Za-z0-9\-_.:+/=@]{1,128}")
_TRACEPARENT_FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))


class RequestHead:
    """A request's head after `check`.

    `length` is the body's: bytes or `CHUNKED`. `lines` are the end-to-end fields as name, ": ", value, CRLF,
    ready to be joined; `forwarding` the (lower-case name, value) of Forwarded and X-Forwarded-*, kept apart
    because only a trusted peer's are believed; `keyed` says that there is an Idempotency-Key.

    Not slotted: most requests use few of these, and a class default costs nothing per request.
    """

    host = b""
    length = 0
    keyed = False
    expects_continue = False
    max_forwards = -1
    request_id: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    via: bytes | None = None
    forwarding: Sequence[tuple[bytes, bytes]] = ()
    _options: frozenset[bytes] | None = None

    def __init__(self, method: bytes, target: bytes, minor_version: int) -> None:
        self.method = method
        self.target = target
        self.minor_version = minor_version
        self.lines: list[bytes] = []

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} length={self.length}>"

    def check(
        self,
        fields: list[tuple[bytes, bytes]],
        names: list[bytes],
        known_host: bytes,
        kinds: dict[bytes, int] = _KINDS,
    ) -> None:
        """Takes in the (lower-case name, value) `fields`, whose names were spelt as `names`.

        `known_host` is a Host that was checked before, `kinds` from `kinds_without`. Raises `BadRequest`
        (400, 405, 417): nothing of such a request may reach an upstream.
        """
        if self.method == b"CONNECT":
            raise BadRequest(405, "CONNECT is not supported")  # RFC 9110 section 9.3.6
        authority: bytes | None = None
        if not is_origin_form(self.target):
            self.target, authority = resolve_target(self.method, self.target)
        self._sort(fields, names, kinds)
        if self.host != known_host if self.host else self.minor_version:
            self.host = self.host.rstrip(b" \t")  # which the parser leaves there (RFC 9112 section 5.1)
            check_host(self.host)
        if authority is not None:
            self.host = authority  # RFC 9112 section 3.2.2: the absolute form wins over Host
        if self._options:
            self.lines = without_options(self.lines, set(self._options))

    def _sort(self, fields: list[tuple[bytes, bytes]], names: list[bytes], kinds: dict[bytes, int]) -> None:
        lines = self.lines
        hosts = 0
        framing: list[tuple[bool, bytes]] | None = None
        for at, (lower, value) in enumerate(fields):
            kind = kinds.get(lower, 0)
            if kind == 0:
                if b"_" in lower and lower.replace(b"-", b"_") in _TWINS:
                    raise BadRequest(400, "a field name with underscores imitates another")
                lines += (names[at], b": ", value, b"\r\n")
            elif kind == _HOST:
                self.host = value
                hosts += 1
            elif kind <= _TRANSFER_ENCODING:
                framing = framing or []
                framing.append((kind == _CONTENT_LENGTH, value))
            elif kind != _DROP:
                self._take(kind, lower, names[at], value)
        if hosts != 1 and (hosts or self.minor_version):
            raise BadRequest(400, "exactly one Host is required")  # RFC 9112 section 3.2
        if framing is not None:
            self.length = request_length(
                [value for is_length, value in framing if is_length],
                [value for is_length, value in framing if not is_length],
                self.minor_version,
            )
        # Ignored in HTTP/1.0, and without a body there is nothing to wait for (RFC 9110 section 10.1.1).
        self.expects_continue = self.expects_continue and self.minor_version == 1 and self.length != 0

    def _take(self, kind: int, lower: bytes, name: bytes, value: bytes) -> None:
        if kind == _CONNECTION:
            self._options = (self._options or frozenset()) | connection_options(value)
        elif kind == _FORWARDING:
            self.forwarding = (*self.forwarding, (lower, value))
        elif kind == _EXPECT:
            if value.rstrip(b" \t").lower() != b"100-continue":
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
            self.lines += (name, b": ", value, b"\r\n")
        else:
            self._take_max_forwards(name, value)

    def _take_max_forwards(self, name: bytes, value: bytes) -> None:
        # RFC 9110 section 7.6.2: it concerns TRACE and OPTIONS; elsewhere it passes untouched.
        if self.method == b"TRACE" or self.method == b"OPTIONS":
            if not value.isdigit():
                raise BadRequest(400, "invalid Max-Forwards")
            self.max_forwards = int(value[:9])
            value = b"%d" % max(0, self.max_forwards - 1)
        self.lines += (name, b": ", value, b"\r\n")

    def upstream_bytes(self, forwarded: bytes, ids: bytes, pseudonym: bytes) -> bytes:
        """The head for an upstream, up to but without the path's own line and the final empty line.

        `forwarded` are the ready forwarding lines for this client (`core.forwarding`), `ids` 48 fresh random
        hex digits for what the client did not send, `pseudonym` ours in Via.
        """
        parts = [self.method, b" ", self.target, b" HTTP/1.1\r\nHost: ", self.host, b"\r\n", *self.lines]
        if self.length > 0 or (self.length == 0 and self.method in _WITH_BODY):
            parts.append(b"Content-Length: %d\r\n" % self.length)
        elif self.length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        if self.expects_continue:
            parts.append(b"Expect: 100-continue\r\n")
        if self.traceparent is None:
            parts += (b"traceparent: 00-", ids[:32], b"-", ids[32:], b"-00\r\n")
        else:
            parts += (b"traceparent: ", self.traceparent, b"\r\n")
            if self.tracestate is not None:
                parts += (b"tracestate: ", self.tracestate, b"\r\n")
        if self.via is not None:
            pseudonym = self.via + b", " + pseudonym
        parts += (b"X-Request-Id: ", self.request_id or ids[:32], b"\r\nVia: ", pseudonym, b"\r\n", forwarded)
        return b"".join(parts)
