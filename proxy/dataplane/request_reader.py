"""Requests out of the bytes of one connection: heads, bodies, and where one ends and the next begins.

Owns the request parser (llhttp) and the limits on a head that is not finished. A head that comes whole and
plain is read at once (`core.request_head`), a body of known length is counted: neither needs the parser,
which has the last word on everything else. What a request means is `admission`'s affair, whose turn it is
the connection's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

from proxy.core.request_head import RequestHead
from proxy.dataplane.admission import admit
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from proxy.core.field_line import FieldLine
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.exchange import Exchange

_SLICE: Final = 16 << 10
"""How much is parsed at once where requests may begin, so that a flood of tiny ones cannot stall the loop."""
_SMALL: Final = 4 << 10
"""Reads up to this size are taken apart with one call; of a longer one nothing is copied but the head."""
_AHEAD: Final = 1
"""How many requests may wait for their turn before no more of them are read."""


class RequestReader:
    """Reads for one `Downstream`. `receiving` is the exchange whose body is not complete, `head_bytes` how
    much there is of an unfinished head; once `refused`, nothing more is read."""

    __slots__ = (
        "_chunk",
        "_counting",
        "_downstream",
        "_fields",
        "_first_here",
        "_inside",
        "_left",
        "_next_context",
        "_overhead",
        "_parser",
        "_start",
        "_target",
        "context",
        "head_bytes",
        "receiving",
        "refused",
    )

    def __init__(self, context: Context, downstream: Downstream) -> None:
        self.context = context
        self._downstream = downstream
        self._parser = httptools.HttpRequestParser(self)
        self._inside = False  # whether the parser has begun with a request and not ended it
        self._target = b""
        self._fields: list[FieldLine] = []
        self._chunk: bytes | memoryview = b""  # what is being parsed
        self._first_here = True  # no request before has begun or gone on in the present chunk
        self._left = 0  # of a body of known length
        self._counting = False
        self._overhead = 0  # bytes of a chunked body since its last content
        self._start = b""  # of an unfinished head: its bytes up to the first line's end, or more
        self._next_context: Context | None = None
        self.head_bytes = 0
        self.receiving: Exchange | None = None
        self.refused = False

    def __repr__(self) -> str:
        return f"<RequestReader head_bytes={self.head_bytes} left={self._left} refused={self.refused}>"

    def consume(self, data: bytes, at: int = 0) -> int:
        """Reads what has come, from `at` on; returns where it stopped, because earlier requests have to have
        their turn before what follows is looked at."""
        size = len(data)
        while at < size and not self.refused:
            if self._counting:
                at = self._count(data, at)
            else:
                end = 0 if self._inside else self._read_at_once(data, at)
                at = end or self._parse(data, at)
            if at < size and self.receiving is None and self._downstream.waiting > _AHEAD:
                return at
        return size

    def go_over_to(self, context: Context) -> None:
        """Reads the next requests for another configuration; a head that has begun is still the present
        one's."""
        if self._inside:
            self._next_context = context
        else:
            self.context = context

    def stop(self) -> None:
        """Reads nothing more; the request that is being received is given up."""
        self.refused = True
        self.head_bytes = 0
        self.receiving = None

    def _read_at_once(self, data: bytes, at: int) -> int:
        """Where the head that begins at `at` ends, if it is all there and plain; else 0."""
        limit = self.context.listen.max_head_bytes
        if at == 0 and len(data) <= _SMALL:
            block = data.partition(b"\r\n\r\n")[0]
            end = len(block)
        else:
            end = data.find(b"\r\n\r\n", at, at + limit + 4)
            if end < 0:
                return 0
            block = data[at:end]
        if len(block) > limit or end == len(data):
            return 0
        read = self.context.lines.head(block)
        if read is None:
            return 0
        end += 4
        self._admit(read[0], read[1], end - at)
        self._counting = self.receiving is not None
        return end

    def _admit(self, head: RequestHead, fields: list[FieldLine], size: int) -> None:
        try:
            exchange = admit(self.context, self._downstream, head, fields, size)
        except BadRequest as error:
            self._downstream.refuse_input(error)
            return
        self._downstream.admitted(exchange)
        if not exchange.body.complete:
            self.receiving = exchange
            self._left = max(0, head.length)

    def _count(self, data: bytes, at: int) -> int:
        """The rest of a body of known length needs no parser; what follows it gets a fresh one."""
        piece = data[at : at + self._left]
        self._left -= len(piece)
        receiving = self.receiving
        if receiving is not None:
            receiving.body_piece(piece)
        if self._left == 0:
            self._counting = False
            self.receiving = None
            if self._inside:
                self._renew_parser()
            if receiving is not None:
                receiving.request_complete()
        return at + len(piece)

    def _renew_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._inside = False

    # ... what is not plain ...

    def _parse(self, data: bytes, at: int) -> int:
        """Where the parser stopped: at the end of a slice, or of a request that asks to switch protocols."""
        chunk = data if at == 0 and len(data) <= _SLICE else memoryview(data)[at : at + _SLICE]
        end = at + len(chunk)
        self._chunk = chunk
        self._first_here = True
        if self.receiving is not None:
            self._overhead += len(chunk)
        elif self._inside:
            self.head_bytes += len(chunk)
            if b"\n" not in self._start:
                self._start += bytes(chunk)
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserUpgrade as upgrade:
            # We never switch: its body or the next request follows (RFC 9110 section 7.8).
            self._renew_parser()
            end = at + upgrade.args[0]
        except httptools.HttpParserError as error:
            if not self.refused:
                known = self._parser.get_http_version().startswith(("0.", "1."))
                self._downstream.refuse_input(BadRequest(400 if known else 505, str(error)))
        self._chunk = b""
        if self._left:
            self._counting = True
        elif not self.refused:
            self._check_limits()
        return end

    def _check_limits(self) -> None:
        limit = self.context.listen.max_head_bytes
        if self._overhead > limit:
            self._downstream.refuse_input(BadRequest(431, "chunk extensions or trailers over the limit"))
        elif self.head_bytes > limit:
            status, what = (431, "request head") if self._fields else (414, "request target")
            self._downstream.refuse_input(BadRequest(status, f"{what} over the limit"))
        elif self.head_bytes:
            self._downstream.head_begun()

    # ... httptools callbacks ...

    def on_message_begin(self) -> None:
        # Where in the chunk is not told: one that has a predecessor there is counted from its next bytes on.
        self._inside = True
        self._start = bytes(self._chunk)
        self.head_bytes = len(self._start) if self._first_here else 1
        self._first_here = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append(self.context.lines.field(name, value))

    def on_headers_complete(self) -> None:
        if self.refused:
            return
        parser = self._parser
        version = parser.get_http_version()
        size, self.head_bytes = max(self.head_bytes, len(self._chunk)), 0
        start, self._start = self._start, b""
        head = RequestHead(parser.get_method(), self._target, 0 if version == "1.0" else 1)
        head.keep_alive = parser.should_keep_alive()
        fields, self._fields, self._target = self._fields, [], b""
        if version != "1.1" and version != "1.0":
            self._downstream.refuse_input(BadRequest(505, "HTTP version is not supported"))
        elif version == "1.0" and b" RTSP/1.0\r\n" in start:
            # llhttp speaks RTSP too (RFC 9112 section 2.3).
            self._downstream.refuse_input(BadRequest(400, "this is not HTTP"))
        elif parser.should_upgrade() and any(field.name == b"transfer-encoding" for field in fields):
            # The parser gives up here, and the body would be taken for the next request (RFC 9112 11.2).
            self._downstream.refuse_input(BadRequest(400, "an upgrade with a chunked body is not supported"))
        else:
            self._admit(head, fields, size)
        if self._next_context is not None:
            self.context, self._next_context = self._next_context, None

    def on_body(self, piece: bytes) -> None:
        receiving = self.receiving
        if receiving is None:
            return
        if self._left:
            self._left -= len(piece)
        self._overhead = 0
        receiving.body_piece(piece)

    def on_message_complete(self) -> None:
        self._overhead = 0
        self._inside = False
        if self._fields:
            self._fields = []  # trailers are dropped (RFC 9110 section 6.5.1)
        receiving = self.receiving
        if receiving is not None and not self._left:
            self.receiving = None
            receiving.request_complete()
