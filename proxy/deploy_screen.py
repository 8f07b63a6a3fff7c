"""Where the course of a rollout goes: bars on a terminal, plain lines elsewhere, or JSON, one value a line.

Owns the output and how often it is repeated. Must never know what a rollout waits for.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from proxy.deploy_progress import headline, line_of, remaining
from proxy.printable import clean
from proxy.session import escaped, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from proxy.deploy_progress import Progress

AGAIN_S: Final = 30.0
"""How long lines are silent while nothing happens: a log need not hold every second, and must show life."""
_BAR = 24


class Screen(Protocol):
    """Says what happens once, and shows how far it is again and again."""

    def say(self, event: str, text: str, **facts: object) -> None: ...
    def show(self, course: Sequence[Progress]) -> None: ...
    def close(self) -> None: ...


def screen_for(*, as_json: bool) -> Screen:
    """What fits standard output."""
    if as_json:
        return JsonScreen()
    console = Console(highlight=False, markup=False, emoji=False)
    # Not what rich takes for one: pipelines ask for colours, and their logs are no terminals.
    is_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
    return LiveScreen(console) if is_terminal else PlainScreen()


class _Pulse:
    """Whether something is worth a line: it has changed, or the last one is a while ago."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: object = None
        self._at = 0.0

    def beats(self, course: Sequence[Progress]) -> bool:
        now, key = self._clock(), [_key(one) for one in course]
        if key == self._last and now - self._at < AGAIN_S:
            return False
        self._last, self._at = key, now
        return True


def _key(progress: Progress) -> tuple[object, ...]:
    """What a change is: another phase, other criteria, somebody else who is waited for. Not a longer bar."""
    names = tuple(one.name for one in progress.criteria)
    return progress.rollout, progress.revision, names, progress.waits


class JsonScreen:
    """One JSON object a line; the last is `ended`, unless it fails."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pulse = _Pulse(clock)

    def say(self, event: str, text: str, **facts: object) -> None:
        """A line of its own."""
        self._write({"event": event, "text": text, **facts})

    def show(self, course: Sequence[Progress]) -> None:
        """A line for each rollout."""
        if self._pulse.beats(course):
            for one in course:
                self._write({"event": "progress", **one.document()})

    def close(self) -> None:
        """Nothing is held back."""

    def _write(self, document: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        sys.stdout.write(escaped(orjson.dumps({"at": at, **document}).decode()) + "\n")
        sys.stdout.flush()


class PlainScreen:
    """For the log of a pipeline."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pulse = _Pulse(clock)

    def say(self, event: str, text: str, **facts: object) -> None:
        """A line of its own."""
        show(Text(clean(text)))
        sys.stdout.flush()

    def show(self, course: Sequence[Progress]) -> None:
        """A line for each rollout."""
        if self._pulse.beats(course):
            for one in course:
                show(Text(line_of(one)))
            sys.stdout.flush()

    def close(self) -> None:
        """Nothing is held back."""


class LiveScreen:
    """Bars that are drawn anew each time; what is said stays above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, event: str, text: str, **facts: object) -> None:
        """A line of its own, above the bars."""
        self._console.print(Text(clean(text)), soft_wrap=True)

    def show(self, course: Sequence[Progress]) -> None:
        """Draw them in place of the ones before."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(bars(course), refresh=True)

    def close(self) -> None:
        """Take the bars away: what was said stays, and the end is among it."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def bars(course: Sequence[Progress]) -> RenderableType:
    """Each rollout with a bar for every criterion of its phase."""
    parts: list[RenderableType] = []
    for one in course:
        parts.append(Text(headline(one), style="bold"))
        if one.criteria:
            parts.append(criteria_table(one))
        parts += [Text(f"  {clean(text)}", style="yellow") for text in one.waits]
        if left := remaining(one):
            parts.append(Text(f"  {left}"))
    return Group(*parts)


def criteria_table(progress: Progress) -> Table:
    """A bar for every criterion."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for one in progress.criteria:
        bar = ProgressBar(total=1.0, completed=one.share, width=_BAR)
        table.add_row(Text(f"  {clean(one.name)}"), bar, Text(f"{one.share:>4.0%}"), Text(clean(one.text)))
    return table
