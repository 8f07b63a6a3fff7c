"""What a real socket says that its transport does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from proxy.dataplane.sockets import is_quiet, left_behind, reset, unsent_bytes
from tests.certificates import Authority
from tests.e2e.tls_client import trusting
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Ends = tuple[asyncio.Transport, socket.socket]


@asynccontextmanager
async def connection() -> AsyncIterator[Ends]:
    """A transport that does not read, and its peer."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    peer.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
    transport.pause_reading()
    yield transport, peer
    transport.abort()
    peer.close()
    await asyncio.sleep(0)


async def test_unsent_bytes_shrink_as_the_peer_reads() -> None:
    async with connection() as (transport, peer):
        assert unsent_bytes(transport) == 0
        transport.write(b"x" * (16 << 20))
        before = unsent_bytes(transport)
        assert 0 < before <= 16 << 20
        received = 0
        while received < 12 << 20:
            piece = await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
            assert piece
            received += len(piece)
        assert unsent_bytes(transport) < before


def test_unsent_bytes_shrink_over_the_loops_own_tls_too(tmp_path: Path) -> None:
    """It has a buffer that no transport tells of: what leaves it makes the kernel's as full as before."""
    authority = Authority(tmp_path)
    pair = authority.signs(["localhost"])
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.load_cert_chain(pair.certificate, pair.key)
    takes = threading.Event()

    def read_when_told(server: socket.socket) -> None:
        plain, _ = server.accept()
        with side.wrap_socket(plain, server_side=True) as peer:
            takes.wait(5)
            left = 64 << 10
            while left > 0:
                left -= len(peer.recv(left))
            takes.clear()
            takes.wait(5)

    async def look(server: socket.socket) -> None:
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        near.connect(server.getsockname())
        near.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=near, ssl=trusting(authority.file), server_hostname="localhost"
        )
        await eventually(lambda: unsent_bytes(transport) == 0)
        transport.write(b"x" * (1 << 20))
        before = unsent_bytes(transport)
        takes.set()
        await eventually(lambda: not takes.is_set())
        assert unsent_bytes(transport) < before - (32 << 10)
        takes.set()
        transport.abort()

    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        reading = threading.Thread(target=read_when_told, args=(server,), daemon=True)
        reading.start()
        uvloop.run(look(server))
        reading.join(5)


async def test_a_connection_is_quiet_until_its_peer_speaks_or_leaves() -> None:
    async with connection() as (transport, peer):
        assert is_quiet(transport)
        peer.shutdown(socket.SHUT_WR)
        assert not is_quiet(transport)


async def test_what_a_peer_left_behind_can_still_be_read() -> None:
    async with connection() as (transport, peer):
        assert left_behind(transport) == b""
        peer.sendall(b"HTTP/1.1 413 Too Large\r\n")
        assert left_behind(transport) == b"HTTP/1.1 413 Too Large\r\n"


async def test_a_reset_is_no_orderly_end() -> None:
    async with connection() as (transport, peer):
        reset(transport)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 1), 5)
