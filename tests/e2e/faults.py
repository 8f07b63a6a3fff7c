"""What can be wrong with a backend, and what is to come of it: for the client, and in the books.

Each fault is a target ("/reset") that a backend of these tests misbehaves at. Owns the table alone; whoever
plays it through looks at what has come of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e import answers
from tests.e2e.raw_backend import normal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.raw_backend import Answer, Exchange, RawBackend


@dataclass(frozen=True, slots=True)
class Fault:
    """`error` is the class that is counted against the version that was asked, "" where it is no fault of
    its; `status` and `whole` are what a client gets if nobody stands in."""

    script: Answer
    error: str = ""
    status: int = 502
    whole: bool = True
    unfinished: bool = False  # the client holds back half of its request's body

    @property
    def hides(self) -> bool:
        """Whether another version can stand in: nothing of the answer has gone to the client."""
        return bool(self.error) and self.status != 200


async def at_target(exchange: Exchange) -> None:
    """Misbehaves as the request's target says; other targets are answered well."""
    fault = FAULTS.get(exchange.request.target[1:])
    await (normal if fault is None else fault.script)(exchange)


def _endlessly(head: bytes, piece: bytes) -> Answer:
    """A head, and then the same piece again and again as fast as it is taken, until the peer leaves."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(head)
        while not exchange.writer.is_closing():
            await exchange.send(piece)
            await asyncio.sleep(0)  # sending alone lets nobody else have a turn until the kernel is full

    return answer


def _dripping(data: bytes, every_s: float) -> Answer:
    """These bytes, one at a time."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        for byte in data:
            await exchange.send(bytes((byte,)))
            await asyncio.sleep(every_s)

    return answer


_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_EARLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"
_HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Le"
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"

_INVALID = {
    "garbage": answers.GARBAGE,
    "another-protocol": answers.NOT_HTTP,
    "endless-head": _endlessly(b"HTTP/1.1 200 OK\r\n", b"X-More: of the same\r\n" * 100),
    "endless-line": _endlessly(b"HTTP/1.1 200 OK\r\nX-More: ", b"of the same " * 100),
    "endless-nothing": _endlessly(b"", b"\r\n" * 100),
    "length-of-no-digits": answers.BAD_LENGTH,
    "length-below-zero": answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "length-beyond-belief": answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    "lengths-that-differ": answers.UNEQUAL_LENGTHS,
    "length-and-chunks": answers.BOTH_FRAMINGS,
    "storm-of-interim-answers": answers.storm(2000),
    "switch-unasked": answers.raw(_SWITCH + b"now what?", end="keep"),
}
_RESET = {
    "reset": answers.RESET,
    "reset-before-the-body-is-read": answers.unread(b"", end="reset"),
    "reset-in-the-head": answers.MID_HEAD_RESET,
    "end": answers.CLOSE,
    "end-in-the-head": answers.MID_HEAD,
}
_TIMEOUT = {
    "silence": answers.HANG,
    "silence-in-the-head": answers.MID_HEAD_HANG,
    "one-byte-at-a-time-in-the-head": _dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0.1),
}
_TRUNCATED = {
    "length-too-long": answers.BODY_SHORT,
    "reset-in-the-body": answers.BODY_RESET,
    "end-in-a-chunk": answers.CHUNKS_SHORT,
    "end-before-the-last-chunk": answers.CHUNKS_WITHOUT_LAST,
    "reset-between-chunks": answers.CHUNKS_RESET,
    "reset-of-a-body-without-length": answers.UNTIL_RESET,
    "chunk-size-of-no-digits": answers.CHUNK_SIZE_BAD,
    "chunk-longer-than-its-size": answers.CHUNK_OVERRUN,
}

FAULTS: dict[str, Fault] = {
    **{name: Fault(script, "invalid") for name, script in _INVALID.items()},
    **{name: Fault(script, "reset") for name, script in _RESET.items()},
    **{name: Fault(script, "timeout", 504) for name, script in _TIMEOUT.items()},
    **{name: Fault(script, "truncated", 200, whole=False) for name, script in _TRUNCATED.items()},
    "silence-in-the-body": Fault(answers.raw(answers.SIZED, b"x", end="hang"), "timeout", 200, whole=False),
    "5xx": Fault(answers.status("503 Service Unavailable", b"no"), "status", 503),
    # ... what is odd, and no fault
    "length-too-short": Fault(answers.EXTRA_BYTES, status=200),
    "second-answer": Fault(answers.raw(_OK, _OK, end="keep"), status=200),
    "end-without-a-word": Fault(answers.last_words(), status=200),
    "one-byte-at-a-time": Fault(_dripping(_OK, 0.005), status=200),
    "answer-before-the-request-ends": Fault(answers.unread(_EARLY), status=200, unfinished=True),
}


# ... backends as a whole


CONNECTING: dict[str, Fault] = {
    "refused": Fault(at_target, "connect"),
    "unreachable": Fault(at_target, "connect", 504),
}
"""Faults of the whole backend, before it has a target to look at; `STATES` brings them about."""


@contextlib.asynccontextmanager
async def refusing(backend: RawBackend) -> AsyncIterator[None]:
    """Nobody listens there."""
    await backend.refuse()
    yield
    await backend.listen()


@contextlib.asynccontextmanager
async def unreachable(backend: RawBackend) -> AsyncIterator[None]:
    """Somebody listens, and the kernel drops every SYN, because the queue is full."""
    await backend.refuse()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(backend.address)
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(backend.address)
        yield
    await backend.listen()


STATES: dict[str, Callable[[RawBackend], contextlib.AbstractAsyncContextManager[None]]] = {
    "refused": refusing,
    "unreachable": unreachable,
}
