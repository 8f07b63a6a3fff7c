"""One worker process as its supervisor holds it: the process, the channel to it, and what waits to be sent.

Owns starting and ending one process. It must never know what the frames mean, nor who its siblings are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.channel import Channel, Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from proxy.channel import Frame

_IMPORTED_FROM = str(Path(__file__).resolve().parents[1])


class Hand:
    """A worker, from the outside. `source` is its name in reports once it has sent one."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.outbox = Outbox()
        self.is_ready = False
        self.is_silent = False
        self.heard_at = 0.0  # last, or when it was started; by whose clock, its holder knows
        self.ready_at = 0.0  # by the same clock
        self.source = ""
        self.farewell: asyncio.Task[None] | None = None
        self._process = process
        self._channel = channel
        self._sending = asyncio.create_task(self.outbox.empty_into(channel))
        self._questions: list[asyncio.Future[Frame | None]] = []
        self._asked = 0

    def __repr__(self) -> str:
        return f"<worker process {self._process.pid}>"

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def accepts(self) -> bool:
        """Whether clients that come to it are served, as far as we know."""
        return self.is_ready and not self.is_silent

    async def frames(self) -> AsyncGenerator[Frame]:
        """What it says, until it is gone. Raises `WireError`."""
        try:
            while (frame := await self._channel.receive()) is not None:
                yield frame
        finally:
            for question in self._questions:
                if not question.done():
                    question.set_result(None)

    async def ask(self, frame: Frame, within_s: float) -> Frame | None:
        """Tell it something that it answers. None if it does not, within so many seconds."""
        question = asyncio.get_running_loop().create_future()
        self._questions.append(question)
        self._asked += 1
        self.outbox.put(frame, f"question {self._asked}")  # each has an answer, so none is left out
        try:
            async with asyncio.timeout(within_s):
                answer: Frame | None = await question
                return answer
        except TimeoutError:
            return None
        finally:
            self._questions.remove(question)

    def answered(self, frame: Frame) -> None:
        """`frame` answers the question that has waited longest."""
        for question in self._questions:
            if not question.done():
                question.set_result(frame)
                return

    def kill(self) -> None:
        """End it at once, even if it is stopped."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def gone(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()

    async def ended_within(self, grace_s: float) -> str:
        """Wait for its end, and make one after `grace_s`: how it ended, in words."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        self.kill()
        return _in_words(await self._process.wait())

    async def dismissed(self) -> None:
        """End it and everything that we have for it."""
        self.kill()
        await self._process.wait()
        await self._let_go()

    async def _let_go(self) -> None:
        ours = asyncio.current_task()
        tasks = [task for task in (self._sending, self.farewell) if task not in {None, ours}]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()


async def hired(sockets: Sequence[socket.socket], address: Any, speaks: bool = False) -> Hand:
    """Start a worker that inherits the listening sockets; one that `speaks` has our standard output, too.
    Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as undone:
        undone.callback(ours.close)
        # Its own session: Ctrl-C in a terminal is for the supervisor, which then has the workers drain.
        # -P: a directory named like our package, where dualpath is started, is none of ours.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "proxy.worker"),
            *(str(theirs.fileno()), "serves {}:{}".format(*address[:2])),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None if speaks else asyncio.subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *(sock.fileno() for sock in sockets)],
            env=_environment(),
            start_new_session=True,
        )
        undone.pop_all()
    ours.setblocking(False)
    return Hand(process, await Channel.over(ours))


def _environment() -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{_IMPORTED_FROM}{os.pathsep}{path}" if path else _IMPORTED_FROM}


def _in_words(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"ended with {signal.Signals(-code).name}"
    except ValueError:
        return f"ended with signal {-code}"
