"""The answer on its way to the client: a head of our own making, then the body in the client's framing.

Owns what the client reads: framing, connection persistence, the fields that are ours. It never ends a body
that the upstream has not ended. It knows nothing of attempts and fallback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.dataplane.answers import CLOSE, empty, problem, status_line
from proxy.dataplane.body import LAST_CHUNK
from proxy.dataplane.routes import UNROUTED_TUNNELS

if TYPE_CHECKING:
    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.exchange import Exchange

_JOIN_BYTES: Final = 32 << 10
_FALLBACK_LINE: Final = b"X-Dualpath-Path: v1-fallback\r\n"


def opening(exchange: Exchange, head: ResponseHead) -> bytes:
    """The head for the client. Settles whether the body is chunked and whether the connection stays."""
    request = exchange.head
    if exchange.pool.caches is not None:
        exchange.pool.caches.saw(head.lines)
    if (
        head.sized
        and request.minor_version == 1
        and request.method != b"HEAD"
        and _stays_open(exchange)
        and not exchange.extra_lines
    ):
        start = head.start or _start(head)
        if not head.dated:
            start += exchange.context.date_line
        return start + _path_line(exchange, head) + b"\r\n"
    return _unusual_opening(exchange, head)


def _start(head: ResponseHead) -> bytes:
    """The part that all answers with this head have in common; kept, because a head may serve many."""
    status, declared = head.status, head.declared or b"0"
    head.start = b"%b%bContent-Length: %b\r\n" % (
        status_line(status),
        head.text,
        declared,
    )
    return head.start


def _unusual_opening(exchange: Exchange, head: ResponseHead) -> bytes:
    request = exchange.head
    status = head.status
    ours = b"" if head.dated else exchange.context.date_line
    if request.method == b"HEAD" or status == 304:
        if head.declared is not None:
            ours += b"Content-Length: " + head.declared + b"\r\n"
    elif head.length >= 0:
        if status != 204:  # RFC 9110 section 8.6
            ours += b"Content-Length: " + (head.declared or b"0") + b"\r\n"
    elif request.minor_version == 1:
        exchange.chunked = True
        ours += b"Transfer-Encoding: chunked\r\n"
    else:
        exchange.keep_alive = False  # the body ends with the connection (RFC 9112 section 6.3, rule 8)
    ours += _connection_line(exchange)
    if status == 426 and head.upgrade:
        ours += _upgrade_lines(exchange, head.upgrade)
    ours += _path_line(exchange, head) + exchange.extra_lines
    return (status_line(status)) + head.text + ours + b"\r\n"


def _upgrade_lines(exchange: Exchange, protocols: bytes) -> bytes:
    """What a 426 asks for (RFC 9110 section 15.5.22), as far as clients can have it."""
    rollout = exchange.rollout
    offered = (UNROUTED_TUNNELS if rollout is None else rollout.tunnels).offered(protocols)
    return b"Connection: upgrade\r\nUpgrade: %b\r\n" % offered if offered else b""


def _path_line(exchange: Exchange, head: ResponseHead) -> bytes:
    if not exchange.context.expose_path:
        return b""
    by_v2 = exchange.original is not None and exchange.original[0] is head
    return exchange.context.v2.path_line if by_v2 else _answering_path(exchange)


def _answering_path(exchange: Exchange) -> bytes:
    return exchange.pool.path_line if exchange.fallback is None else _FALLBACK_LINE


def switching(exchange: Exchange, lines: list[bytes]) -> bytes:
    """The head of a 101, with the upstream's own lines. It takes no Date and no framing (RFC 9110 15.2.2)."""
    ours = b"" if not exchange.context.expose_path else _answering_path(exchange)
    return status_line(101) + b"".join(lines) + ours + exchange.extra_lines + b"\r\n"


def write(exchange: Exchange, first: bytes, pieces: list[bytes], *, complete: bool, skip: int = 0) -> None:
    """Passes on what one read brought: the opening or nothing, then body. `complete`: the upstream
    ended it. The first `skip` bytes of the first piece are no body."""
    if len(pieces) == 1 and not exchange.chunked and len(pieces[0]) <= _JOIN_BYTES:
        piece = pieces[0]
        exchange.sent_bytes += len(piece) - skip
        if skip:
            piece = b"".join((first, memoryview(piece)[skip:]))
        elif first:
            piece = first + piece
        exchange.downstream.write(piece)
        return
    if skip:
        pieces = [pieces[0][skip:], *pieces[1:]]
    size = 0
    for piece in pieces:
        size += len(piece)
    exchange.sent_bytes += size
    if exchange.chunked:
        if size:
            pieces = [b"%x\r\n" % size, *pieces, b"\r\n"]
        if complete:
            pieces = [*pieces, LAST_CHUNK]  # the list is the upstream's
    send = exchange.downstream.write
    if size > _JOIN_BYTES:
        if first:
            send(first)
        for piece in pieces:
            send(piece)
        return
    data = first + b"".join(pieces)
    if data:
        send(data)


def _stays_open(exchange: Exchange) -> bool:
    """Whether the client's connection stays, decided as the head of the answer is written."""
    if exchange.keep_alive and (exchange.context.draining or not exchange.body.complete):
        exchange.keep_alive = False
    return exchange.keep_alive


def _connection_line(exchange: Exchange) -> bytes:
    """Whether the connection stays, if that does not go without saying (RFC 9112 section 9.3)."""
    if not _stays_open(exchange):
        return CLOSE
    return b"" if exchange.head.minor_version else b"Connection: keep-alive\r\n"


def own_answer(exchange: Exchange, status: int, detail: str, more: bytes = b"") -> None:
    """A problem document of ours, with `more` whole lines in its head."""
    exchange.status = status
    exchange.answered_here = True
    extra = exchange.extra_lines + more + _connection_line(exchange)
    bodiless = exchange.head.method == b"HEAD"
    date = exchange.context.date_line
    answer = problem(status, detail, date=date, extra=extra, bodiless=bodiless)
    exchange.sent_bytes = len(answer.partition(b"\r\n\r\n")[2])
    exchange.downstream.write(answer)


def kept_answer(exchange: Exchange, head: ResponseHead, pieces: list[bytes]) -> None:
    """The upstream's answer that was to be replaced; where no more than its status was kept, that in one of
    ours."""
    if pieces or head.length == 0:
        exchange.status = head.status
        exchange.restored = True
        write(exchange, opening(exchange, head), pieces, complete=True)
    else:
        own_answer(exchange, head.status, "both backends failed")


def recipient_answer(exchange: Exchange) -> None:
    """With Max-Forwards at 0 the request is for us (RFC 9110 section 7.6.2); TRACE we do not support."""
    if exchange.head.method == b"TRACE":
        own_answer(exchange, 405, "TRACE is not supported")
        return
    extra = _connection_line(exchange)
    exchange.status = 200
    exchange.answered_here = True
    exchange.downstream.write(empty(200, date=exchange.context.date_line, extra=extra))
