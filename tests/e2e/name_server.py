"""A name server of a few names, on a UDP port of the loopback interface.

Owns the zone, which a test changes as it likes, and the record of what was asked (RFC 1035, no more of it
than a stub resolver sees).
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_A, _AAAA = 1, 28
_ANSWER, _REFUSED_TO_SAY, _NO_SUCH_NAME = 0x8180, 0x8182, 0x8183
_QUESTION_AT = 12


class NameServer(asyncio.DatagramProtocol):
    """Answers for the names of its zone; `silent` answers nothing, `failing` says SERVFAIL."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.failing = False
        self._zone: dict[str, tuple[int, Sequence[str]]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<NameServer {self._zone} asked={len(self.asked)}>"

    @property
    def address(self) -> str:
        """As the configuration takes it."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def has(self, name: str, *addresses: str, lives_s: int = 1) -> None:
        """From now on `name` has these addresses."""
        self._zone[name] = (lives_s, addresses)

    async def listen(self) -> None:
        """Starts to answer."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    async def close(self) -> None:
        """Answers no more."""
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _name_in(data)
        self.asked.append(name)
        if not self.silent and self._transport is not None:
            self._transport.sendto(self._answer(data, name, end), addr)

    def _answer(self, query: bytes, name: str, end: int) -> bytes:
        kind = struct.unpack_from("!H", query, end)[0]
        question = query[_QUESTION_AT : end + 4]
        lives_s, addresses = self._zone.get(name, (0, ()))
        code = _REFUSED_TO_SAY if self.failing else _ANSWER if addresses else _NO_SUCH_NAME
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, lives_s, len(packed)) + packed
            for packed in (ipaddress.ip_address(address).packed for address in addresses)
            if code == _ANSWER and kind == (_A if len(packed) == 4 else _AAAA)
        ]
        head = query[:2] + struct.pack("!HHHHH", code, 1, len(records), 0, 0)
        return head + question + b"".join(records)


def _name_in(query: bytes) -> tuple[str, int]:
    labels, at = [], _QUESTION_AT
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1
