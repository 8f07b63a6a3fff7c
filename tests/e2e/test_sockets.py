"""What a real socket says that its transport does not."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.dataplane.sockets import is_quiet, left_behind, reset, unsent_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
