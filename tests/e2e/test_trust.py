"""What a client says of itself: who is believed, and what it can leave behind in logs and figures."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.e2e.raw_client import RawClient, connected, fetch, request
from tests.e2e.test_overrides import signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.raw_client import Response

TRUSTED, STRANGER = "127.0.0.1", "127.0.0.9"
HOST = (b"Host", b"a.test")
OVERRIDE = (b"X-Dualpath-Override", b"v2")
Fields = tuple[tuple[bytes, bytes], ...]


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    """Who comes from 203.0.113.0/24 may choose the path, which shows whom the proxy takes a client for."""
    return {
        "listen": {"trusted_proxies": [TRUSTED, "10.0.0.0/8"]},
        "log": {"level": "debug"},
        "rollout": {"percentage": 0, "override": {"networks": ["203.0.113.0/24", "2001:db8::/32"]}},
    }


@asynccontextmanager
async def client_at(proxy: ProxyProcess, address: str) -> AsyncIterator[RawClient]:
    """A connection from that address."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(sock, proxy.listen)
    client = RawClient(*await asyncio.open_connection(sock=sock))
    try:
        yield client
    finally:
        await client.close()


async def ask(proxy: ProxyProcess, peer: str, *fields: tuple[bytes, bytes]) -> Response:
    async with client_at(proxy, peer) as client:
        return await client.ask("GET", "/", (HOST, *fields))


# ... who a client is

FOR = b"X-Forwarded-For"
BELIEVED: dict[str, Fields] = {
    "one": ((FOR, b"203.0.113.7"),),
    "with a port": ((FOR, b"203.0.113.7:4711"),),
    "behind another trusted one": ((FOR, b"1.1.1.1, 203.0.113.7, 10.0.0.2"),),
    "in many lines": (*((FOR, b"1.1.1.1"),) * 40, (FOR, b"203.0.113.7"), *((FOR, b"10.0.0.2"),) * 20),
    "behind empty claims": ((FOR, b", ,, 203.0.113.7"),),
    "behind rubbish": ((FOR, b'"\\\xff, unknown, 203.0.113.7'),),
    "mapped": ((FOR, b"::ffff:203.0.113.7"),),
    "ipv6": ((FOR, b"2001:DB8::7"),),
    "ipv6 in brackets": ((FOR, b"[2001:db8::7]:4711"),),
    "forwarded": ((b"Forwarded", b"for=203.0.113.7;proto=https"),),
    "forwarded, quoted": ((b"Forwarded", b'for=1.1.1.1, for="[2001:db8::7]:4711"'),),
    "forwarded, behind an open quote": ((b"Forwarded", b'for=", for=203.0.113.7'),),
}
CLAIMED: dict[str, Fields] = {
    "further left": ((FOR, b"203.0.113.7, 1.1.1.1"),),
    "in an earlier line": ((FOR, b"203.0.113.7"), (FOR, b"1.1.1.1")),
    "left of a thousand": ((FOR, b"203.0.113.7" + b", 10.0.0.2" * 1000),),
    "left of an unknown": ((FOR, b"203.0.113.7, unknown"),),
    "left of an obfuscated": ((FOR, b"203.0.113.7, _hidden, 10.0.0.2"),),
    "left of an empty one": ((FOR, b"203.0.113.7, "),),
    "with zeros": ((FOR, b"203.000.113.007"),),
    "with a zone": ((FOR, b"2001:db8::7%eth0"),),
    "as a number": ((FOR, b"3405803783"),),
    "elsewhere": ((b"X-Real-IP", b"203.0.113.7"), (b"X-Client-IP", b"203.0.113.7")),
    "in forwarded too": ((FOR, b"1.1.1.1"), (b"Forwarded", b"for=203.0.113.7")),
    "in forwarded, further left": ((b"Forwarded", b"for=203.0.113.7, for=1.1.1.1"),),
    "in forwarded, in a text": ((b"Forwarded", b'host=";for=203.0.113.7;";for=1.1.1.1'),),
}


@pytest.mark.parametrize("case", BELIEVED)
async def test_a_trusted_peer_says_who_the_client_is(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, case: str
) -> None:
    assert (await ask(proxy, TRUSTED, *BELIEVED[case], OVERRIDE)).backend == b"v2"
    assert (await ask(proxy, STRANGER, *BELIEVED[case], OVERRIDE)).backend == b"v1"


@pytest.mark.parametrize("case", CLAIMED)
async def test_what_a_client_claims_behind_a_trusted_peer_is_not_believed(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, case: str
) -> None:
    assert (await ask(proxy, TRUSTED, *CLAIMED[case], OVERRIDE)).backend == b"v1"


async def test_nothing_of_a_strangers_forwarding_fields_reaches_a_backend(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    names = (
        *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"Forwarded"),
        *(b"X-Forwarded-Prefix", b"X-Forwarded-Server", b"X-Forwarded-Ssl", b"X-Forwarded-User"),
        *(b"X-Forwarded-Client-Cert", b"X-Real-IP", b"X-Dualpath-Path", b"X-Dualpath-Override"),
    )
    await ask(proxy, STRANGER, *((name, b"evil-%d" % number) for number, name in enumerate(names)))
    (got,) = v1.received
    assert not [value for _, value in got.head.fields if b"evil" in value]
    assert got.get(b"x-forwarded-for") == STRANGER.encode()
    assert got.get(b"forwarded") == b'for=127.0.0.9;proto=http;host="a.test"'


async def test_a_trusted_peers_lists_are_kept_and_a_quote_left_open_swallows_nothing(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await ask(proxy, TRUSTED, (FOR, b"203.0.113.7"), (b"Forwarded", b"for=203.0.113.7"))
    await ask(proxy, TRUSTED, (FOR, b"203.0.113.7"), (b"Forwarded", b'for="'))
    ours = b'for=127.0.0.1;proto=http;host="a.test"'
    assert [one.get(b"x-forwarded-for") for one in v1.received] == [b"203.0.113.7, 127.0.0.1"] * 2
    assert [one.get(b"forwarded") for one in v1.received] == [b"for=203.0.113.7, " + ours, ours]


@pytest.mark.parametrize(
    "name", [b"X_Forwarded_For", b"X-Forwarded_User", b"Content_Length", b"X_Dualpath_Override", b"X_Real_IP"]
)
async def test_a_twin_with_underscores_is_refused_even_from_a_trusted_peer(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, name: bytes
) -> None:
    assert (await ask(proxy, TRUSTED, (name, b"1"))).status == 400
    assert (v1.count(), v2.count()) == (0, 0)


async def test_a_signed_value_without_a_secret_is_nothing(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    assert (
        await ask(proxy, STRANGER, (b"X-Dualpath-Override", signed("default", "v2", 60)))
    ).backend == b"v1"


# ... what a client can leave behind


class Plain(asyncio.Protocol):
    """A backend that answers every head, and costs next to nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * data.count(b"\r\n\r\n"))


@asynccontextmanager
async def in_place_of(backend: RawBackend) -> AsyncIterator[None]:
    """A plain backend where that one was."""
    await backend.refuse()
    host, _, port = backend.url.removeprefix("http://").partition(":")
    server = await asyncio.get_running_loop().create_server(Plain, host, int(port), reuse_address=True)
    try:
        yield
    finally:
        server.close()
        await backend.listen()


def leaves(value: Any) -> int:
    """How many figures and words stand in a document."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


async def test_10000_paths_methods_hosts_and_users_add_no_series(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    rng = random.Random(7)
    methods = ["GET", "PUT", "DELETE", "PATCH", "QUERY", "M-SEARCH"]

    def one(number: int) -> bytes:
        method = rng.choice(methods) if number % 2 else f"M{rng.getrandbits(40):x}"
        fields = ((b"Host", b"h%x.test" % rng.getrandbits(64)), (b"X-User-Id", b"%x" % rng.getrandbits(64)))
        return request(method, f"/{rng.getrandbits(64):x}/{number}?{number}", fields)

    async def send(count: int) -> int:
        answered = 0
        async with connected(proxy.listen, limit=1 << 22) as client:
            while answered < count:
                batch = [one(number) for number in range(100)]
                await client.send(b"".join(batch))
                for _ in batch:
                    head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                    await client.reader.readexactly(length)
                    answered += head.startswith(b"HTTP/1.1 200")
        return answered

    async with in_place_of(v1):
        assert sum(await asyncio.gather(*(send(2500) for _ in range(4)))) == 10_000
    after = await proxy.settled()
    assert after["client"]["requests"] >= before["client"]["requests"] + 10_000
    assert leaves(after) <= leaves(before)


NASTY = {
    "crlf": b"a\r\n2026-01-01 00:00:00,000 CRITICAL dualpath forged",
    "lf": b"a\n2026-01-01 00:00:00,000 CRITICAL dualpath forged",
    "escape": b"\x1b[2J\x1b]0;owned\x07",
    "nul": b"a\x00b",
    "latin-1": b"\x9b31m\xff\xfe",
    "10 KiB": b"A" * 10_240,
    "format": b"%s%n%(levelname)s{0}",
}
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+ [^\x00-\x1f\x7f-\x9f]{1,4500}")


@pytest.mark.parametrize("case", NASTY)
async def test_nothing_that_is_sent_breaks_a_line_of_the_log(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, case: str
) -> None:
    nasty = NASTY[case]
    admin = b"Host: localhost\r\n"
    for address, raw in (
        (proxy.listen, b"GET /" + nasty + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (proxy.listen, nasty + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (proxy.listen, b"GET / HTTP/1.1\r\nHost: " + nasty + b"\r\n\r\n"),
        (proxy.listen, b"GET / HTTP/1.1\r\nHost: a\r\nX-User-Id: " + nasty + b"\r\n\r\n"),
        (proxy.admin, b"GET /" + nasty + b" HTTP/1.1\r\n" + admin + b"\r\n"),
        (proxy.admin, nasty + b" / HTTP/1.1\r\n" + admin + b"\r\n"),
        (proxy.admin, b"GET / HTTP/1.1\r\nHost: " + nasty + b"\r\n\r\n"),
        (proxy.admin, b"GET / HTTP/1.1\r\n" + admin + b"Authorization: Bearer " + nasty + b"\r\n\r\n"),
    ):
        async with connected(address) as client:
            await client.send(raw)
            client.half_close()
            await asyncio.wait_for(client.reader.read(1 << 16), 5)
    answer = await proxy.command("pause", reason=nasty.decode("latin-1"))
    assert answer.status == (409 if case == "format" else 422), answer.body
    lines = proxy.log.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert LINE.fullmatch(line), line[:300]
        assert "CRITICAL" not in line
    assert (await fetch(proxy.listen)).status == 200
