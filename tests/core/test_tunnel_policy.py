"""Which protocols a connection may switch to."""

from __future__ import annotations

import math

import pytest

from proxy.config.schema import Tunnels
from proxy.core.tunnel_policy import TunnelPolicy


def policy(**keys: object) -> TunnelPolicy:
    return TunnelPolicy.of(Tunnels.model_validate(keys))


@pytest.mark.parametrize(
    ("protocols", "allowed"),
    [
        (None, {b"websocket"}),
        ([], set()),
        (["IRC/6.9", "websocket"], {b"irc/6.9", b"websocket"}),
        (["*"], {b"irc/6.9", b"irc", b"websocket"}),
    ],
)
def test_what_is_not_named_is_not_allowed(protocols: list[str] | None, allowed: set[bytes]) -> None:
    tunnels = policy() if protocols is None else policy(protocols=protocols)
    assert {name for name in (b"websocket", b"irc", b"irc/6.9") if tunnels.allows(name)} == allowed


@pytest.mark.parametrize(
    ("protocols", "named", "offered"),
    [
        (["websocket"], b"h2c, WebSocket/13 ,\tIRC/6.9,WebSocket", b"WebSocket"),
        (["*"], b"TLS/1.0, HTTP/2.0, h2, websocket, IRC/6.9, a b, ,", b"websocket, IRC/6.9"),
        (["*"], b"", b""),
        ([], b"websocket", b""),
    ],
)
def test_rfc9110_15_5_22_only_what_can_be_had_is_offered(
    protocols: list[str], named: bytes, offered: bytes
) -> None:
    assert policy(protocols=protocols).offered(named) == offered


def test_tunnels_outlive_the_weight_unless_they_are_to_be_cut() -> None:
    assert policy().drain_s == policy(drain_timeout="1s").drain_s == math.inf
    assert policy(on_rollback="cut").drain_s == 30.0
    assert policy(on_rollback="cut", drain_timeout="1500ms").drain_s == 1.5
    assert (policy().idle_timeout_s, policy(idle_timeout="1h").idle_timeout_s) == (600.0, 3600.0)
