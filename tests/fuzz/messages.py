"""Targets: what clients and backends send, in every split, and what goes on of it in the eyes of `strict` and
`llhttp`.

Each takes one input and raises if a rule is broken. Owns the rules; how bytes get in and out is `plane`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.core.chunked import ChunkDecoder, ChunkError
from proxy.core.framing import CONTRADICTORY
from proxy.core.request_head import RequestLines
from proxy.core.response_head import read_head
from proxy.errors import BadRequest
from tests.fuzz import llhttp, strict
from tests.fuzz.plane import LATE_S, Stage, closed, opened, play, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.dataplane.wire import World

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_AUTHORITY = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*")
_OURS = frozenset(
    b"host content-length transfer-encoding expect traceparent tracestate x-request-id via forwarded "
    b"max-forwards x-forwarded-for x-forwarded-proto x-forwarded-host x-dualpath-path connection upgrade "
    b"te".split()
)
"""What we may write or rewrite on the way up; every other field comes from the client as it was."""
_OF_A_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length date "
    b"x-dualpath-path".split()
)
"""Fields of an answer that do not go on as they are."""
_METHODS = (b"GET", b"HEAD", b"POST")
_OUR_MARK = b"v1, which stands in"
_BY_V1 = b"HTTP/1.1 200 OK\r\nX-By: %b\r\nContent-Length: 2\r\n\r\n" % _OUR_MARK


# ... requests


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of a client's bytes: whole requests upstream, answers in order, whether we have closed."""

    seen: list[strict.Message]
    answers: list[bool]  # whether each was the backend's
    ended: bool


def client_bytes(data: bytes) -> None:
    """No split makes a difference, and nothing goes up that the client has not framed."""
    reads, payload = split(data)
    whole = play(_asked([payload] if payload else []))
    _only_what_was_sent(whole.seen, strict.requests(payload))
    assert play(_asked(reads)) == whole, "cut into reads it is something else"


async def _asked(reads: list[bytes]) -> Passed:
    world = await opened()
    stage, client = Stage(world), world.client()
    for read in reads:
        await client.sends(read)
        await stage.answer()
    answers = [status == b"200" for status in _STATUS.findall(client.got())]
    passed = Passed([*stage.seen], answers, client.end != "")
    await client.leaves()
    await stage.answer()
    assert stage.seen == passed.seen, "a request was made whole by the end of its client"
    await closed(world)
    return passed


def _only_what_was_sent(seen: list[strict.Message], expected: strict.Reading) -> None:
    left = iter(expected.complete)
    last = False
    for ours in seen:
        for theirs in left:
            assert not last, f"read on after a request that closes: {ours}"
            last = _closes(theirs)
            if _same(ours, theirs):
                break
        else:
            raise AssertionError(f"went upstream, but was never sent: {ours}, by {expected}")


def _same(ours: strict.Message, theirs: strict.Message) -> bool:
    method, target = theirs.start
    if not target.startswith((b"/", b"*")):
        target = _AUTHORITY.sub(b"", target)
        target = (
            target
            if target.startswith(b"/")
            else b"*"
            if method == b"OPTIONS" and not target
            else b"/" + target
        )
    if ours.start != (method, target) or ours.body != theirs.body:
        return False
    assert len(ours.values(b"host")) <= 1
    passed = [field for field in ours.fields if field[0] not in _OURS]
    assert _is_part(passed, theirs.fields), f"fields of our own invention: {passed} of {theirs.fields}"
    kept = [field for field in theirs.fields if field[0] not in _OURS | _OF_A_CONNECTION | _options(theirs)]
    assert _is_part(kept, ours.fields), f"fields are lost: {kept} became {ours.fields}"
    return True


def _closes(message: strict.Message) -> bool:
    options = _options(message)
    return b"close" in options or (message.minor == 0 and b"keep-alive" not in options)


def _options(message: strict.Message) -> set[bytes]:
    """What its Connection fields name."""
    named = [option for value in message.values(b"connection") for option in value.split(b",")]
    return {option.strip(b" \t").lower() for option in named}


def _is_part(some: Sequence[object], whole: Sequence[object]) -> bool:
    left = iter(whole)
    return all(one in left for one in some)


# ... answers


@dataclass(frozen=True, slots=True)
class Got:
    """What a client has read: the answer as far as it came, and whether it looks whole to the client."""

    answer: strict.Message | None
    whole: bool
    ours: bool  # a problem document, or v1's answer in place of v2's
    kept: bool = False  # whether the backend's connection is to be used again


def backend_bytes(data: bytes) -> None:
    """Whatever a backend sends: the client gets exactly that if it is one answer, else nothing that looks
    whole."""
    mode, rest = (data[0], data[1:]) if data else (0, b"")
    method = _METHODS[mode % 3]
    minor, end, user = mode >> 2 & 1, mode >> 3 & 3, mode >> 5 & 1
    reads, payload = split(rest)
    expected = strict.responses(payload, [method], ended=end == 1)
    request = b"%b / HTTP/1.%d\r\nHost: a\r\n" % (method, 1 - minor)
    request += b"X-User: u\r\n" * user + b"Content-Length: 0\r\n" * (method == b"POST") + b"\r\n"
    found = [play(_answered(method, request, one, end)) for one in ([payload] if payload else [], reads)]
    sound = not expected.fault and len(expected.complete) == 1
    for got in found:
        _is_honest(got, expected.complete[0] if sound else None)
        assert sound or not got.kept, f"the connection is kept after {expected}"
        assert not got.kept or not expected.rest, f"the connection is kept with more on it: {expected}"
    if sound and not found[0].ours:
        assert found[0] == found[1], f"an answer that depends on its reads: {found}"


async def _answered(method: bytes, request: bytes, reads: list[bytes], end: int) -> Got:
    world = await opened(everybody_to=2 if b"X-User" in request else 1)
    client = world.client()
    await client.sends(request)
    backend = world.connections[-1]
    asked = len(world.connections)
    for read in reads:
        if backend.end or backend.transport.lost:
            break
        await backend.sends(read)
    if end == 1:
        await backend.leaves()
    elif end == 2:
        await backend.leaves(ConnectionResetError(104, "Connection reset by peer"))
    if len(world.connections) == asked:
        await world.passes(LATE_S)
    await _v1_stands_in(world, asked, method)
    read, how, kept = client.got(), client.end, not backend.end and not backend.transport.lost
    await closed(world)
    return replace(_read(read, how, method), kept=kept)


async def _v1_stands_in(world: World, asked: int, method: bytes) -> None:
    for peer in world.connections[asked:]:
        assert strict.requests(peer.got()).complete, "a second attempt that is no request"
        await peer.sends(_BY_V1 + (b"" if method == b"HEAD" else b"v1"))


def _read(read: bytes, how: str, method: bytes) -> Got:
    reading = strict.responses(read, [method], ended=how in {"closed", "half-closed"})
    assert not reading.fault, f"a client was sent {reading.fault}: {read!r}"
    assert not reading.rest or not reading.messages, f"something follows the answer: {read!r}"
    if not reading.messages:
        return Got(None, whole=False, ours=False)
    answer = reading.messages[0]
    theirs = llhttp.response_bodies(read)
    sized = answer.values(b"content-length") or answer.values(b"transfer-encoding")
    assert not sized or method == b"HEAD" or (answer.body in theirs) is answer.complete, f"llhttp: {theirs}"
    ours = answer.values(b"x-by") == [_OUR_MARK] or answer.values(b"content-type") == [
        b"application/problem+json"
    ]
    fields = [field for field in answer.fields if field[0] not in {b"date", b"connection"}]
    answer = strict.Message(answer.start, answer.minor, fields, answer.body, answer.complete)
    return Got(answer, reading.messages[0].complete, ours)


def _is_honest(got: Got, expected: strict.Message | None) -> None:
    if not got.whole or got.ours or got.answer is None:
        return
    # An answer to HEAD is whole once its head is: what follows is the backend's own trouble.
    assert expected is not None, f"looks whole and is not: {got}"
    assert (got.answer.start, got.answer.body) == (expected.start, expected.body)
    named = _options(expected)
    passed = [field for field in expected.fields if field[0] not in _OF_A_CONNECTION | named]
    assert _is_part(passed, got.answer.fields), f"fields are lost: {passed} became {got.answer.fields}"


# ... heads alone


def request_heads(data: bytes) -> None:
    """A head that is taken is one to the letter, and goes on as one: to rewrite it once more
    changes nothing that is end-to-end."""
    block, _, _ = data.partition(b"\r\n\r\n")
    lines = RequestLines([b"x-private"])
    once = _rewritten(lines, block)
    if once is None:
        return
    [sent] = strict.requests(block + b"\r\n\r\n").messages
    [first] = strict.requests(once).messages
    assert _same(strict.Message(first.start, 1, first.fields, sent.body, True), sent), (first, sent)
    again = _rewritten(lines, once.partition(b"\r\n\r\n")[0])
    if again is not None:
        [second] = strict.requests(again).messages
        assert [f for f in second.fields if f[0] != b"via"] == [f for f in first.fields if f[0] != b"via"]


def _rewritten(lines: RequestLines, block: bytes) -> bytes | None:
    try:
        head, fields = lines.head(block)
        head.check(fields, b"")
    except BadRequest:
        return None
    lines.head(block)  # what was read once is read again
    return b"".join(head.upstream_parts(b"", b"0" * 32, b"1.1 dualpath"))


def response_heads(data: bytes) -> None:
    """A head that is taken is one to the letter, and frames its body as that says."""
    method = b"HEAD" if data[:1] == b"\x01" else b"GET"
    block, _, _ = data[1:].partition(b"\r\n\r\n")
    head = read_head(block, bodiless=method == b"HEAD")
    if head is None or head.status < 200 or head.length == CONTRADICTORY:
        return
    sent = block + b"\r\n\r\n"
    reading = strict.responses(sent, [method], ended=True)
    assert not reading.fault, f"{reading.fault} was believed"
    [message] = reading.messages
    assert message.start == (b"%d" % head.status,)
    without_body = method == b"HEAD" or head.status in {204, 304}
    lengths, chunked = message.values(b"content-length"), message.values(b"transfer-encoding")
    framed = 0 if without_body else -1 if chunked else int(lengths[0]) if lengths else strict.UNTIL_CLOSE
    assert head.length == framed, (head, message)
    names = {line.partition(b":")[0].lower() for line in head.lines}
    assert not names & {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"}
    assert not re.search(rb"[\r\n\x00](?!\n)|(?<!\r)\n", head.text.replace(b"\r\n", b""))


# ... chunked bodies alone


def chunks(data: bytes) -> None:
    """A body that is decoded is one to the letter, and the same one wherever a read ends."""
    reads, payload = split(data)
    whole = _decoded([payload] if payload else [])
    assert _decoded(reads) == whole, "where a read ends makes a difference"
    if whole is None:
        return
    content, ended, at = whole
    body, rest, complete, fault = strict.chunked(payload)
    assert (content, ended) == (body, complete), f"{fault or 'something else'} was taken"
    assert not ended or payload[at:] == rest, "what follows the body is not where it is"


def _decoded(reads: list[bytes]) -> tuple[bytes, bool, int] | None:
    decoder = ChunkDecoder()
    pieces: list[bytes] = []
    at = 0
    try:
        for read in reads:
            taken = decoder.feed(read, 0, pieces)
            at += taken
            assert decoder.ended or taken == len(read)
            if decoder.ended:
                break
    except ChunkError:
        return None
    return b"".join(pieces), decoder.ended, at
