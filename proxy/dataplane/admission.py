"""From a parsed head to an exchange: is the request sound, whose is it, and which path does it get?

Owns the limits on a finished head, the client's address, the key, the override and the issued cookie. It
decides with `core` and changes nothing but the exchange that it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.forwarding import forwarded_lines
from proxy.dataplane.exchange import Exchange
from proxy.dataplane.routes import UNROUTED_TUNNELS, overridden_path
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from proxy.core.field_line import FieldLine
    from proxy.core.request_head import RequestHead
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.routes import LiveRollout


def admit(
    context: Context, downstream: Downstream, head: RequestHead, fields: list[FieldLine], size: int
) -> Exchange:
    """The exchange for a head of at most `size` bytes. Raises `BadRequest`; then nothing has reached an
    upstream."""
    listen = context.listen
    if len(head.target) > listen.max_target_bytes:
        raise BadRequest(414, "request target over the limit")
    if len(fields) > listen.max_fields:
        raise BadRequest(431, "too many header fields")
    if size > listen.max_head_bytes and _head_size(head.target, fields) > listen.max_head_bytes:
        raise BadRequest(431, "request head over the limit")
    known_host, forwarded = downstream.forwarding_cache
    head.check(fields, known_host)
    if head.length > listen.max_body_bytes:
        raise BadRequest(413, "request body over the limit")
    if head.host != known_host or not forwarded or head.forwarding:
        believed = head.forwarding if downstream.trusted else ()
        forwarded = forwarded_lines(downstream.peer, downstream.scheme, head.host, believed)
        if downstream.client_cert:
            forwarded += b"X-Forwarded-Client-Cert: %b\r\n" % downstream.client_cert
        if not believed:
            downstream.forwarding_cache = (head.host, forwarded)
    routes = context.routes
    rollout = routes.only or routes.match(head.host, head.target, head.method)
    if head.upgrade and not (UNROUTED_TUNNELS if rollout is None else rollout.tunnels).allows(head.upgrade):
        head.upgrade = b""  # ignored, as RFC 9110 section 7.8 lets us
    ids = context.identifiers.next()
    watch = context.watch
    if watch is None:
        parts = head.upstream_parts(forwarded, ids, context.via)
        exchange = Exchange(context, downstream, head, parts, rollout)
    else:
        wanted = watch.choose(head, ids)
        parts = head.upstream_parts(forwarded, ids, context.via, watch.sampled_flag(wanted))
        exchange = Exchange(context, downstream, head, parts, rollout)
        exchange.wanted = wanted
    exchange.keep_alive = head.keep_alive
    if rollout is not None:
        _assign(exchange, rollout, downstream, head, fields)
    return exchange


def _assign(
    exchange: Exchange,
    rollout: LiveRollout,
    downstream: Downstream,
    head: RequestHead,
    fields: list[FieldLine],
) -> None:
    """Override header > overridden keys > deny and allow lists > bucket < weight."""
    context = exchange.context
    if rollout.override is not None:
        values = [field.value for field in fields if field.name == rollout.override_header]
        if values:
            client = context.client_ip(downstream, head)
            path = overridden_path(rollout.override, rollout.name, values, client, context.wall())
            if path is not None:
                exchange.assigned = path
                exchange.overridden = True
                exchange.by_header = True
                return
    keys = rollout.keys
    key = keys.read(fields, context.client_ip(downstream, head) if keys.needs_client_ip else "")
    if key is None and rollout.issue_cookie is not None:
        key = b"%032x" % context.random.getrandbits(128)
        exchange.extra_lines = b"Set-Cookie: %b=%b; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax\r\n" % (
            rollout.issue_cookie.encode(),
            key,
        )
    exchange.key = key
    split = rollout.split
    exchange.assigned = split.assign(key)
    if split.pinning:
        exchange.overridden = split.is_pinned(key)


def _head_size(target: bytes, fields: list[FieldLine]) -> int:
    return len(target) + sum(len(field.text) + 2 for field in fields)
