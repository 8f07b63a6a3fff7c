"""What all exchanges share."""

from __future__ import annotations

import math

import pytest

from proxy.dataplane.context import Context, Limits
from proxy.dataplane.downstream import Downstream
from proxy.dataplane.routes import Routes
from proxy.model import Path
from tests.dataplane.wire import DATE, SteadyRandom, TranscriptRecorder, settings
from tests.fakes import FakeClock


def context(clock: FakeClock | None = None, **keys: object) -> Context:
    config = settings(**keys)  # type: ignore[arg-type]
    return Context(config, Routes(config), TranscriptRecorder(), clock or FakeClock(), SteadyRandom())


def test_the_limits_are_those_of_the_configuration() -> None:
    limits = Limits.of(settings(listen={"max_fields": 7, "header_timeout": "3s"}).listen)
    assert (limits.max_fields, limits.header_timeout_s) == (7, 3.0)


def test_the_coarse_clock_moves_when_it_is_told() -> None:
    clock = FakeClock()
    shared = context(clock)
    assert (shared.now, shared.date_line) == (1_000.0, DATE)
    clock.advance(60)
    assert shared.now == 1_000.0
    shared.tell_time()
    assert (shared.now, shared.date_line) == (1_060.0, DATE.replace(b"22:13", b"22:14"))


@pytest.mark.parametrize(
    ("peer", "trusted"), [("10.1.2.3", True), ("192.0.2.7", False), ("", False), ("::ffff:10.1.2.3", True)]
)
def test_a_peer_in_a_listed_network_is_one_of_our_proxies(peer: str, trusted: bool) -> None:
    shared = context(listen={"trusted_proxies": ["10.0.0.0/8"]})
    connection = Downstream(shared)
    connection.peer = peer
    shared.arrived(connection)
    assert connection in shared.connections
    assert connection.trusted is trusted


def test_without_listed_networks_nobody_is_trusted() -> None:
    shared = context()
    connection = Downstream(shared)
    connection.peer = "10.1.2.3"
    shared.arrived(connection)
    assert not connection.trusted


def arrives(shared: Context, peer: str) -> Downstream | None:
    """A connection from there, if there is room for it."""
    connection = Downstream(shared)
    connection.peer = peer
    return connection if shared.arrived(connection) else None


def test_what_is_off_is_a_limit_that_nobody_reaches() -> None:
    limits = Limits.of(settings().listen)
    assert limits.max_body_bytes > 1 << 60
    assert limits.max_loop_lag_s == math.inf
    limits = Limits.of(settings(listen={"max_body": "1KiB", "max_loop_lag": "1s"}).listen)
    assert (limits.max_body_bytes, limits.max_loop_lag_s) == (1024, 1.0)


def test_there_is_room_for_so_many_and_again_when_one_has_left() -> None:
    shared = context(listen={"max_connections": 2})
    first, second = arrives(shared, "192.0.2.1"), arrives(shared, "192.0.2.2")
    assert first is not None
    assert second is not None
    assert arrives(shared, "192.0.2.3") is None
    shared.left(first)
    shared.left(first)  # one that is not there leaves no room
    assert arrives(shared, "192.0.2.3") is not None
    assert arrives(shared, "192.0.2.4") is None
    assert shared.refusals.counts["connection_limit"] == 2


def test_one_address_has_a_share_of_it_also_after_a_reload() -> None:
    shared = context(listen={"max_connections_per_client": 2, "trusted_proxies": ["10.0.0.0/8"]})
    first = arrives(shared, "192.0.2.1")
    assert first is not None
    assert arrives(shared, "192.0.2.1") is not None
    assert arrives(shared, "192.0.2.1") is None
    assert arrives(shared, "192.0.2.2") is not None
    assert all(arrives(shared, "10.1.1.1") for _ in range(5))
    again = context(listen={"max_connections_per_client": 2})
    again.succeed(shared)
    assert arrives(again, "192.0.2.1") is None
    again.left(first)
    assert arrives(again, "192.0.2.1") is not None
    assert again.refusals.counts["connection_limit"] == 2


def test_whoever_has_many_addresses_of_ipv6_has_no_more_than_that_share() -> None:
    shared = context(listen={"max_connections_per_client": 2})
    first = arrives(shared, "2001:db8:1:2::1")
    assert first is not None
    assert arrives(shared, "2001:db8:1:2::2") is not None
    assert arrives(shared, "2001:db8:1:2:ffff::3") is None
    assert arrives(shared, "2001:db8:1:3::1") is not None
    shared.left(first)
    assert arrives(shared, "2001:db8:1:2:ffff::3") is not None


def test_both_backends_are_there() -> None:
    shared = context()
    assert [pool.path for pool in shared.pools] == [Path.V1, Path.V2]
    assert repr(shared) == "<Context 0 exchanges draining=False>"
