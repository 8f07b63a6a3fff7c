"""A balancer in front tells who the client is, by the PROXY protocol; nobody else is believed."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.e2e.here import serving
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_client import LIMIT_S, Outcome, RawClient, connected, request
from tests.e2e.tls_client import trusting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

V1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 80\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 7, 127, 0, 0, 1]) + struct.pack("!HH", 50_000, 80)
V2_TCP4 = V2 + b"\x21\x11" + struct.pack("!H", 12 + 1003) + ADDRESSES + b"\x04\x03\xe8" + bytes(1000)
V2_LOCAL = V2 + b"\x20\x00\x00\x00"


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, b"192.0.2.7"),
        (V2_TCP4, b"192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 50000 80\r\n", b"2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (V2_LOCAL, b"127.0.0.1"),
    ],
)
async def test_the_client_is_who_the_header_names(
    v1: RawBackend, v2: RawBackend, header: bytes, client: bytes
) -> None:
    async with serving(config(v1.url, v2.url, listen={"proxy_protocol": True})) as here:
        async with connected(here.listen) as balancer:  # in one piece with the request
            await balancer.send(header + request("GET", "/"))
            assert (await balancer.response()).status == 200
            assert (await balancer.ask()).status == 200
        async with connected(here.listen) as balancer:  # byte by byte
            for at in range(min(len(header), 60)):
                await balancer.send(header[at : at + 1])
                await asyncio.sleep(0)
            await balancer.send(header[60:])
            assert (await balancer.ask()).status == 200
        assert [one.get(b"x-forwarded-for") for one in v1.received] == [client] * 3
        assert here.refused == {}


async def test_the_clients_address_is_the_key_and_has_its_own_limit(v1: RawBackend, v2: RawBackend) -> None:
    document = config(
        v1.url,
        v2.url,
        listen={"proxy_protocol": True, "max_connections_per_client": 1},
        rollout={"key": ["client_ip"], "percentage": 0, "allow": {"v2": ["192.0.2.7"]}},
    )
    async with serving(document) as here, connected(here.listen) as one, connected(here.listen) as other:
        await one.send(V1)
        assert (await one.ask()).backend == b"v2"
        await other.send(V1.replace(b".7", b".8"))
        assert (await other.ask()).backend == b"v1"
        async with connected(here.listen) as more:
            await more.send(V1)
            assert (await more.response()).status == 503
        assert here.refused == {"connection_limit": 1}


@pytest.mark.parametrize(
    "begins",
    [request("GET", "/"), b"PROXY TCP4 192.0.2.7\r\n", V2 + b"\x21\x11\x00\x04abcd", b"\x16\x03\x01\x02\x00"],
)
async def test_a_connection_that_begins_otherwise_is_closed_and_counted(
    v1: RawBackend, v2: RawBackend, begins: bytes
) -> None:
    async with (
        serving(config(v1.url, v2.url, listen={"proxy_protocol": True})) as here,
        connected(here.listen) as client,
    ):
        await client.send(begins)
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert here.refused == {"proxy_protocol": 1}
        assert v1.count() == 0


async def test_a_header_nobody_asked_for_is_no_request(v1: RawBackend, v2: RawBackend) -> None:
    async with serving(config(v1.url, v2.url)) as here, connected(here.listen) as client:
        await client.send(V1 + request("GET", "/"))
        assert (await client.response()).status == 400
        assert v1.count() == 0


async def test_only_trusted_proxies_may_speak_for_others(v1: RawBackend, v2: RawBackend) -> None:
    listen = {"proxy_protocol": True, "trusted_proxies": ["10.0.0.0/8"]}
    async with (
        serving(config(v1.url, v2.url, listen=listen)) as here,
        connected(here.listen) as client,
    ):
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert here.refused == {"proxy_protocol": 1}


async def test_what_the_client_itself_says_is_not_believed_because_its_balancer_is(
    v1: RawBackend, v2: RawBackend
) -> None:
    listen = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"]}
    async with serving(config(v1.url, v2.url, listen=listen)) as here, connected(here.listen) as client:
        await client.send(V1 + request("GET", "/", ((b"X-Forwarded-For", b"203.0.113.9"),)))
        assert (await client.response()).status == 200
        assert v1.received[0].get(b"x-forwarded-for") == b"192.0.2.7"


@pytest.mark.parametrize("part", [b"", V1[:20], V2_TCP4[:40]])
async def test_a_header_that_does_not_come_in_time_is_not_waited_for(
    v1: RawBackend, v2: RawBackend, part: bytes
) -> None:
    listen = {"proxy_protocol": True, "header_timeout": "100ms"}
    async with serving(config(v1.url, v2.url, listen=listen)) as here, connected(here.listen) as client:
        await client.send(part)
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert here.refused == {"timeout": 1}
        assert here.connections == 0


async def test_the_header_comes_before_tls(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = {"certificates": [authority.signs(["localhost"]).table]}
    document = config(v1.url, v2.url, listen={"proxy_protocol": True, "tls": tls})
    async with running_proxy(document, tmp_path) as proxy:
        for header in (V1, V2_TCP4):
            async with connected(proxy.listen) as plain:
                await plain.send(header)
                client = await encrypted(plain, authority)
                assert (await client.ask("POST", "/", body=b"x" * 100_000)).status == 200
                await client.close()
        told = [(one.get(b"x-forwarded-for"), one.get(b"x-forwarded-proto")) for one in v1.received]
        assert told == [(b"192.0.2.7", b"https")] * 2


async def encrypted(plain: RawClient, authority: Authority) -> RawClient:
    """The connection after a handshake on it."""
    await asyncio.wait_for(
        plain.writer.start_tls(trusting(authority.file), server_hostname="localhost"), LIMIT_S
    )
    return plain
