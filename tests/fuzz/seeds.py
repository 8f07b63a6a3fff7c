"""Where the fuzzer begins: a few inputs of every target, and words that it may put together.

`grammar` has the vocabulary; what a target has once failed on stands in `FOUND` and stays there.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from proxy.channel import framed
from proxy.core.delta import Delta, RolloutDelta, written
from proxy.core.tally import Tally
from proxy.model import Path as Version
from proxy.orders import health_frame, state_fields, state_frame
from tests.fuzz import inputs
from tests.fuzz.grammar import BODIES, FRAMINGS, LINES, SPOILERS, STARTS, STATUS_LINES
from tests.fuzz.plane import bytewise, cut
from tests.stores.states import NEW

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFERENCE = Path(__file__).parents[2] / "proxy.toml"
_CHANCE = random.Random(4)
_CONTENTS = (
    *(b"abc", b"abcX", b"ab"),
    *(b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\nX", b"3\r\nabc\r\n"),
)
"""Bodies as either framing would have them, with something behind, and cut short."""


def seeds(target: str) -> list[bytes]:
    """The inputs that a target begins with."""
    return [*_SEEDS[target](), *FOUND.get(target, ())]


def words() -> list[bytes]:
    """What a mutation may put in, for every target."""
    found = {*SPOILERS, *STARTS, *LINES, *BODIES, *STATUS_LINES, b"[[rollouts]]", b"[backends.v1]"}
    return sorted(word for word in found if 1 < len(word) <= 64)


def _messages(starts: list[bytes], *always: bytes) -> Iterator[bytes]:
    for start in starts:
        lines = [*always, *_CHANCE.sample(LINES, 2)]
        yield b"\r\n".join([start, *always, b"", b""])
        yield b"\r\n".join([start, *lines, b"", b""]) + _CHANCE.choice(BODIES)
    for body in BODIES:
        yield b"\r\n".join([starts[1], *always, b"Transfer-Encoding: chunked", b"", b""]) + body
        yield b"\r\n".join([starts[1], *always, b"Content-Length: 3", b"", b""]) + body


def _framed(starts: list[bytes], *always: bytes) -> Iterator[bytes]:
    for start in starts:
        for framing in FRAMINGS:
            for content in _CONTENTS:
                yield b"\r\n".join([start, *always, *framing, b"", b""]) + content


def _within_body(message: bytes) -> bytes:
    """The input that comes in two reads, the first of which ends one byte after the head."""
    end = message.index(b"\r\n\r\n") + 5
    return cut(message, -(-end * 256 // (len(message) + 1)))


_MANY_FIELDS = b"\r\n".join(
    [
        *(b"GET / HTTP/1.1", b"Host: a", b"X-User: u", b"Cookie: a", b"X-A: 1", b"x-a: 2"),
        *(b"Connection: x-b", b"X-B: 1", b"", b""),
    ]
)


def _client_bytes() -> Iterator[bytes]:
    yield cut(_MANY_FIELDS)
    sound = list(_messages(STARTS, b"Host: a"))
    for message in sound:
        yield cut(message + _CHANCE.choice(sound), _CHANCE.randrange(256), _CHANCE.randrange(256))
    yield bytewise(sound[0] + sound[2])
    for message in _framed([b"POST / HTTP/1.1", b"POST / HTTP/1.0"], b"Host: a"):
        yield _within_body(message)
        yield cut(message + sound[0])
    for line in (b"Connection: close", b"Upgrade: h2c", b"Expect: 100-continue"):
        yield cut(b"GET /1 HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line + sound[0])


def _backend_bytes() -> Iterator[bytes]:
    for message in _messages(STATUS_LINES):
        yield bytes([_CHANCE.randrange(64)]) + cut(message, _CHANCE.randrange(256))
    for message in _framed([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"]):
        yield b"\0" + _within_body(message)
        yield b"\x08" + cut(message)  # and the backend ends the connection
    lines = (
        b"X-A: 1",
        b"Set-Cookie: a",
        b"set-cookie: b",
        b"Connection: x-b",
        b"X-B: 1",
        b"Content-Length: 3",
    )
    yield b"\0" + cut(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b"abc"]))


def _report() -> Iterator[bytes]:
    tally = Tally()
    tally.client_requests = 3
    yield orjson.dumps(written(Delta("w", 1)))
    yield orjson.dumps(written(Delta("w", 2, (RolloutDelta("default", 3, "closed", tally),))))
    tally.v1.requests = 1  # and no latency
    yield orjson.dumps(written(Delta("w", 3, (RolloutDelta("default", 3, "closed", tally),))))
    sound = written(Delta("w", 4))
    yield from (
        orjson.dumps(sound | {key: value}) for key in sound for value in (None, -1, "x" * 999, [1], {"": 1})
    )
    yield b"[]"


def _frames() -> Iterator[bytes]:
    order = framed(state_frame(NEW))
    yield cut(order + framed(health_frame([(Version.V1, "http://a:1")])), 3, 100, 200)
    yield bytewise(order)
    for content in (b"[]", b"{", b"", b'{"state":{}}', b'{"unhealthy":[["v3",""]]}'):
        yield cut(len(content).to_bytes(4, "big") + content + order)
    yield cut(b"\xff\xff\xff\xff" + order)
    for weight in (-1, 100_001, "x", None):
        yield cut(framed({"kind": "state", "state": state_fields(NEW) | {"weight": weight}}))


def _store_content() -> Iterator[bytes]:
    """Each column of each table in turn, with every other sort of content."""
    yield from (bytes([at, 1, at % 8, 3, 255, 128, at]) * 6 for at in range(12))
    before = 0
    for columns in inputs.COLUMNS:
        for column, kind in itertools.product(range(columns), range(9)):
            if (column + kind) % 2:
                continue
            yield b"\1" * (before + column) + bytes([0, kind, 240]) + b"\1" * 60
        before += 2 * columns  # a table's values are put in before the next one's are chosen


def _override_values() -> Iterator[bytes]:
    signed = inputs.SIGNED
    yield signed
    yield signed[:-1] + (b"1" if signed.endswith(b"0") else b"0")
    yield signed.replace(b"v2", b"v1")
    yield signed.replace(b".17", b".27")
    yield signed + b" "
    yield b"v2"


def _configuration() -> Iterator[bytes]:
    yield b""
    for size in (8, 24, 60, 120):
        yield bytes(_CHANCE.choice((0, 0, 0, 3, 7, 1, _CHANCE.randrange(256))) for _ in range(size))


def _admin_inputs() -> Iterator[bytes]:
    for at, fields in enumerate(
        ({"percentage": 5, "reason": "x"}, {"full": True}, {"revision": 3}, {"percentage": -1})
    ):
        yield bytes([at]) + json.dumps(fields).encode()
    yield b"\0after=3&limit=5&rollout=a"
    yield b"\0key=u&path=/x&method=GET&host=a"
    yield from (b"\0" + query for query in (b"limit=0", b"limit=1001", b"after=-2", b"path=x", b"path="))


_PROXY_LINES = (
    *(b"TCP4 192.0.2.1 10.0.0.1 5 80\r\nGET", b"TCP6 ::1 2001:db8::1 65535 1\r\n", b"UNKNOWN ::1 x\r\n"),
    *(
        b"TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"TCP4 ::1 ::1 1 1\r\n",
        b"TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
        b"x" * 120,
    ),
)


def _proxy_headers() -> Iterator[bytes]:
    yield from (b"PROXY " + text for text in _PROXY_LINES)
    yield b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
    for kind in (b"\x21\x11\0\x0c", b"\x21\x21\0\x28", b"\x20\0\0\0", b"\x31\x11\0\x0c", b"\x21\x11\0\3"):
        yield b"\r\n\r\n\x00\r\nQUIT\n" + kind + bytes(range(1, kind[3] + 1)) + b"GET"


_SEEDS = {
    "client_bytes": _client_bytes,
    "backend_bytes": _backend_bytes,
    "request_heads": lambda: (
        _MANY_FIELDS,
        *_messages(STARTS, b"Host: a"),
        *_framed([b"POST / HTTP/1.1", b"POST / HTTP/1.0"], b"Host: a"),
    ),
    "response_heads": lambda: (
        b"\0" + message
        for message in (*_messages(STATUS_LINES), *_framed([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"]))
    ),
    "chunks": lambda: (cut(body, 100) for body in BODIES),
    "configuration_text": lambda: (_REFERENCE.read_bytes()[at : at + 3000] for at in range(0, 12_000, 1500)),
    "configuration": _configuration,
    "store_content": _store_content,
    "report": _report,
    "frames": _frames,
    "proxy_header": _proxy_headers,
    "override_value": _override_values,
    "keys_and_addresses": lambda: (
        b"cookie\0uid=a; b=c",
        b"x-user\0u",
        b"1.2.3.4, 10.0.0.2\n[::1]:8, 10.0.0.3:1",
        b"fe80::1%eth0, 10.0.0.2",
        b"::ffff:192.0.2.1",
    ),
    "admin_inputs": _admin_inputs,
}

FOUND: dict[str, tuple[bytes, ...]] = {
    "store_content": (b"\1\1\1\1\1\1\0\5\2\xff\x80\0\0\0\0\0\0\7\1\1\1\0\0\0",),
    "client_bytes": (
        cut(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        cut(b"GET / HTTP/1.0\r\nHost: a\r\n\r\nGET / RTSP/1.0\r\nHost: a\r\n\r\n", 75),
    ),
    "backend_bytes": (
        b"\0" + cut(b"\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        b"\1" + bytewise(b"\rHTTP/1.1 200 OK\r\n\r\n"),
        b"\1" + cut(b"HTTP/1.1 200 \x00OK\r\n\r\n\r\n"),
    ),
}
"""What was wrong once: text in the store that is not UTF-8, a bare CR before a message, a NUL in a reason, a
protocol in the next request."""
