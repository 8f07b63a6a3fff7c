"""From a parsed head to an exchange: is the request sound, whose is it, and which path does it get?

Owns the limits on a finished head, the client's address, the key, the override and the issued cookie. It
decides with `core` and changes nothing but the exchange that it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.forwarding import forwarded_lines
from proxy.core.framing import CHUNKED
from proxy.core.keys import client_address
from proxy.core.request_head import RequestHead
from proxy.dataplane.exchange import Exchange
from proxy.dataplane.routes import overridden_path
from proxy.errors import BadRequest

if TYPE_CHECKING:
    import httptools

    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.routes import LiveRollout


def admit(
    context: Context,
    downstream: Downstream,
    parser: httptools.HttpRequestParser,
    target: bytes,
    fields: list[tuple[bytes, bytes]],
    names: list[bytes],
    size: int,
) -> Exchange:
    """The exchange for a head of at most `size` bytes. Raises `BadRequest`; then nothing has reached an
    upstream."""
    listen = context.listen
    if len(target) > listen.max_target_bytes:
        raise BadRequest(414, "request target over the limit")
    if len(fields) > listen.max_fields:
        raise BadRequest(431, "too many header fields")
    if size > listen.max_head_bytes and _head_size(target, fields) > listen.max_head_bytes:
        raise BadRequest(431, "request head over the limit")
    version = parser.get_http_version()
    if version == "1.1":
        minor_version = 1
    elif version == "1.0":
        minor_version = 0
        if b" RTSP/1.0\r\n" in bytes(downstream.chunk):
            raise BadRequest(400, "this is not HTTP")  # llhttp speaks RTSP too (RFC 9112 section 2.3)
    else:
        raise BadRequest(505, "HTTP version is not supported")
    known_host, forwarded = downstream.forwarding_cache
    head = RequestHead(parser.get_method(), target, minor_version)
    head.check(fields, names, known_host, context.kinds)
    if head.length == CHUNKED and parser.should_upgrade():
        # The parser gives up here, and the body would be taken for the next request (RFC 9112 section 11.2).
        raise BadRequest(400, "an upgrade with a chunked body is not supported")
    if head.host != known_host or not forwarded or head.forwarding:
        believed = head.forwarding if downstream.trusted else ()
        forwarded = forwarded_lines(downstream.peer, b"http", head.host, believed)
        if not believed:
            downstream.forwarding_cache = (head.host, forwarded)
    routes = context.routes
    rollout = routes.only or routes.match(head.host, head.target, head.method)
    head_bytes = head.upstream_bytes(forwarded, context.identifiers.next(), context.via)
    exchange = Exchange(context, downstream, head, head_bytes, rollout)
    exchange.keep_alive = parser.should_keep_alive()
    if rollout is not None:
        _assign(exchange, rollout, downstream, head, fields)
    return exchange


def _assign(
    exchange: Exchange,
    rollout: LiveRollout,
    downstream: Downstream,
    head: RequestHead,
    fields: list[tuple[bytes, bytes]],
) -> None:
    """override > deny and allow lists > bucket < weight."""
    context = exchange.context
    if rollout.override is not None:
        values = [value for name, value in fields if name == rollout.override_header]
        if values:
            client = _client_ip(context, downstream, head)
            path = overridden_path(rollout.override, rollout.name, values, client, context.wall())
            if path is not None:
                exchange.assigned = path
                exchange.overridden = True
                return
    keys = rollout.keys
    key = keys.read(fields, _client_ip(context, downstream, head) if keys.needs_client_ip else "")
    if key is None and rollout.issue_cookie is not None:
        key = b"%032x" % context.random.getrandbits(128)
        exchange.extra_lines = b"Set-Cookie: %b=%b; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax\r\n" % (
            rollout.issue_cookie.encode(),
            key,
        )
    split = rollout.split
    exchange.assigned = split.decide(key)
    if split.pins:
        exchange.overridden = split.is_pinned(key)


def _client_ip(context: Context, downstream: Downstream, head: RequestHead) -> str:
    if not downstream.trusted:
        return downstream.peer
    lines = [value for name, value in head.forwarding if name == b"x-forwarded-for"]
    return client_address(downstream.peer, lines, context.listen.trusted_proxies)


def _head_size(target: bytes, fields: list[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields)
