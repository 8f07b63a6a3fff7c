"""Where frames go: a live display on a terminal, plain lines anywhere else.

Owns the output. Must never know what a frame means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console
from rich.live import Live

from proxy.demo.figures import event_line
from proxy.demo.view import plain_line, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.demo.view import Frame


class Screen(Protocol):
    """Shows frames, and says lines that stay."""

    def show(self, frame: Frame) -> None: ...
    def say(self, lines: Iterable[str]) -> None: ...
    def close(self) -> None: ...


def screen_for(stream: TextIO) -> Screen:
    """A live screen if `stream` is a terminal that can move its cursor, else plain lines."""
    console = Console(file=stream, highlight=False)
    if stream.isatty() and not console.is_dumb_terminal:
        return LiveScreen(console)
    return PlainScreen(stream)


class LiveScreen:
    """One display that is drawn anew with each frame; what is said stays above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __repr__(self) -> str:
        return f"<LiveScreen live={self._live is not None}>"

    def show(self, frame: Frame) -> None:
        """Draw the frame in place of the one before."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(render(frame), refresh=True)

    def say(self, lines: Iterable[str]) -> None:
        """Leave the last frame where it is and print below it."""
        self.close()
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing and give the cursor back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class PlainScreen:
    """A line a second while the demo's time runs, and each event once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._second = -1
        self._event = 0

    def __repr__(self) -> str:
        return f"<PlainScreen second={self._second} event={self._event}>"

    def show(self, frame: Frame) -> None:
        """Print what is new since the last frame."""
        for event in frame.events:
            if event.seq > self._event:
                self._event = event.seq
                self.say([f"event {event_line(event.transition, frame.start_wall)}"])
        second = int(frame.elapsed_s)
        if self._second < second <= frame.seconds:
            self._second = second
            self.say([plain_line(frame)])

    def say(self, lines: Iterable[str]) -> None:
        """Print the lines at once, buffered or not."""
        for line in lines:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held."""
