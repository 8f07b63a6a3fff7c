"""What all exchanges share."""

from __future__ import annotations

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


def test_both_backends_are_there() -> None:
    shared = context()
    assert [pool.path for pool in shared.pools] == [Path.V1, Path.V2]
    assert repr(shared) == "<Context 0 exchanges draining=False>"
