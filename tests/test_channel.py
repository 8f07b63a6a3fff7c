"""Frames read back as they were sent; a peer that does not read costs neither time nor memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from proxy.channel import Channel, Outbox, size_of
from proxy.errors import WireError
from tests.e2e.waiting import HANG_S

if TYPE_CHECKING:
    from proxy.channel import Frame


class FakeWriter:
    """A writer whose peer takes what it gets while `open_gate` is set."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = False
        self.closed = False
        self.transport = self

    def write(self, content: bytes) -> None:
        self.written += content

    async def drain(self) -> None:
        await self.gate.wait()
        if self.gone:
            raise ConnectionResetError

    def get_write_buffer_size(self) -> int:
        return 0 if self.gate.is_set() else len(self.written)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    async def wait_closed(self) -> None:
        if self.gone:
            raise ConnectionResetError


def channel(*parts: bytes, most_bytes: int = 1000) -> tuple[Channel, FakeWriter]:
    """A channel that reads these bytes and then the end."""
    reader = asyncio.StreamReader()
    for part in parts:
        reader.feed_data(part)
    reader.feed_eof()
    writer = FakeWriter()
    return Channel(reader, cast("asyncio.StreamWriter", writer), most_bytes), writer


def framed(content: bytes) -> bytes:
    """The bytes on the wire."""
    return len(content).to_bytes(4, "big") + content


def sent(writer: FakeWriter) -> list[Frame]:
    """The frames that have been written."""
    content, frames = bytes(writer.written), []
    while content:
        length = int.from_bytes(content[:4], "big")
        frames.append(orjson.loads(content[4 : 4 + length]))
        content = content[4 + length :]
    return frames


async def test_what_is_sent_is_received() -> None:
    frames: list[Frame] = [{"kind": "a", "text": "ü", "n": [1, 2.5, None]}, {"kind": "b"}]
    sender, writer = channel()
    for frame in frames:
        sender.send(frame)
    content = bytes(writer.written)
    receiver, _ = channel(*(content[at : at + 3] for at in range(0, len(content), 3)))
    assert [await receiver.receive(), await receiver.receive()] == frames
    assert await receiver.receive() is None


@pytest.mark.parametrize("rest", [b"", b"\0\0", framed(b"{}")[:5]])
async def test_a_peer_that_is_gone_says_nothing_more(rest: bytes) -> None:
    receiver, _ = channel(rest)
    assert await receiver.receive() is None


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"{", b"\xff", b'{"a": NaN}'])
async def test_what_is_no_object_is_refused(content: bytes) -> None:
    receiver, _ = channel(framed(content))
    with pytest.raises(WireError, match="no JSON object"):
        await receiver.receive()


async def test_a_frame_that_is_too_large_is_refused_before_it_is_read() -> None:
    receiver, _ = channel((1001).to_bytes(4, "big"))
    with pytest.raises(WireError, match="a frame of 1001 bytes, of which 1000 are allowed"):
        await receiver.receive()


def test_what_no_peer_takes_is_noticed_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = {"kind": "x" * 100}
    assert size_of(frame) == len(orjson.dumps(frame)) + 4
    monkeypatch.setattr("proxy.channel.MOST_BYTES", 100)
    with pytest.raises(WireError, match="115 bytes, of which 100 are allowed"):
        size_of(frame)


async def test_to_nobody_nothing_is_sent() -> None:
    sender, writer = channel()
    writer.gone = True
    await sender.close()
    sender.send({"kind": "a"})
    assert not writer.written
    assert not sender.is_writable
    assert repr(sender) == "<Channel closing>"


async def test_it_says_whether_the_peer_reads() -> None:
    sender, writer = channel()
    sender.send({"kind": "a"})
    assert sender.is_writable
    writer.gate.clear()
    assert not sender.is_writable


# ... the outbox


async def emptied(outbox: Outbox, into: Channel, until: Any) -> None:
    """Let the outbox send until `until()`, which must come within some turns of the loop."""
    task = asyncio.create_task(outbox.empty_into(into))
    for _ in range(50):
        if until():
            break
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert until()


async def test_frames_leave_in_order() -> None:
    outbox = Outbox()
    sender, writer = channel()
    for kind in "abc":
        outbox.put({"kind": kind})
    await emptied(outbox, sender, lambda: len(sent(writer)) == 3)
    assert [frame["kind"] for frame in sent(writer)] == ["a", "b", "c"]


async def test_only_the_newest_of_a_topic_waits_for_a_peer_that_does_not_read() -> None:
    outbox = Outbox()
    sender, writer = channel()
    writer.gate.clear()
    task = asyncio.create_task(outbox.empty_into(sender))
    for number in range(1000):
        outbox.put({"kind": "state", "n": number}, "state default")
        outbox.put({"kind": "state", "n": -number}, "state other")
        await asyncio.sleep(0)
    assert repr(outbox) == "Outbox(state default, state other)"
    assert not writer.written
    writer.gate.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [frame["n"] for frame in sent(writer)] == [999, -999]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_states_that_follow_one_another_are_one_frame() -> None:
    """Each costs a worker a report of all rollouts: an emergency stop of many must not."""
    outbox = Outbox()
    sender, writer = channel()
    for number in range(3):
        outbox.put({"kind": "state", "state": {"n": number}}, f"state {number}")
    outbox.put({"kind": "replace"})
    outbox.put({"kind": "state", "state": {"n": 3}}, "state 3")
    await emptied(outbox, sender, lambda: len(sent(writer)) == 3)
    assert sent(writer) == [
        {"kind": "states", "states": [{"n": 0}, {"n": 1}, {"n": 2}]},
        {"kind": "replace"},
        {"kind": "states", "states": [{"n": 3}]},
    ]


async def test_what_replaces_an_older_frame_comes_after_all_that_was_said_since() -> None:
    outbox = Outbox()
    sender, writer = channel()
    outbox.put({"kind": "state", "n": 1})
    outbox.put({"kind": "replace", "n": 1})
    outbox.put({"kind": "state", "n": 2})
    await emptied(outbox, sender, lambda: len(sent(writer)) == 2)
    assert [(frame["kind"], frame["n"]) for frame in sent(writer)] == [("replace", 1), ("state", 2)]


async def test_it_ends_with_its_peer() -> None:
    outbox = Outbox()
    sender, writer = channel()
    writer.gone = True
    outbox.put({"kind": "a"})
    await asyncio.wait_for(outbox.empty_into(sender), HANG_S)
    assert not writer.written
