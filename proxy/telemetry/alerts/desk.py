"""The desk: takes in what is announced, and gives each sink what it wants of it.

Owns the alert book and the outboxes, over every configuration. What it is told is put into queues, and nobody
waits for a sink. Must never know who decides, nor how a message is sent.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.core.alert_book import AlertBook, AlertsReport
from proxy.core.notice import NoticeKind, Severity, of_test
from proxy.errors import InvalidCommand, UnknownSilence, UnknownSink
from proxy.telemetry.alerts.callback import CallbackSink
from proxy.telemetry.alerts.message import Message
from proxy.telemetry.alerts.opening import hooks_of, silences_of, sinks_of
from proxy.telemetry.alerts.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.config.schema import Config
    from proxy.core.alert_book import Handed, Silence, SinkTrial
    from proxy.core.notice import Notice
    from proxy.ports import Clock, Post

log = logging.getLogger("dualpath.alerts")

FAREWELL_S: Final = 2.0
"""How long the end of the process waits for messages that are under way."""

_LOOK_S: Final = 1.0
_LAST_WORDS_S: Final = 30.0
_TRIAL_S: Final = 8.0
_SHOWS_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The outboxes of a configuration, before it is in force."""

    config: Config
    sinks: tuple[Outbox, ...]
    hooks: tuple[Outbox, ...]


class AlertDesk:
    """`ports.Announcer` and `ports.Alerting`. `follow` puts in force what `prepare` has made.

    `count` is told "alerts.sent", "hooks.failed" and the like.
    """

    def __init__(self, instance: str, clock: Clock, count: Callable[[str], None] = lambda name: None) -> None:
        self._instance = instance
        self._clock = clock
        self._count = count
        self._book = AlertBook()
        self._sinks: tuple[Outbox, ...] = ()
        self._hooks: tuple[Outbox, ...] = ()
        self._leaving: dict[asyncio.Task[None], Outbox] = {}
        self._next_look: asyncio.TimerHandle | None = None
        self._config: Config | None = None
        self._rests = False  # another process repeats what lasts, and ends it

    # ... the configuration

    def prepare(self, config: Config, post: Post) -> Prepared:
        """The sinks and hooks of `config`, which POST by `post`. Raises `ConfigError`: a secret's file that
        cannot be read, a function that cannot be imported."""
        of_alerts, of_hooks = partial(self._counted, "alerts"), partial(self._counted, "hooks")
        sinks = sinks_of(config, post, self._clock)
        hooks = hooks_of(config, post, self._clock)
        return Prepared(
            config,
            tuple(Outbox(name, kind, sink, of_alerts) for name, (kind, sink) in sinks.items()),
            tuple(Outbox(name, "hook", sink, of_hooks) for name, sink in hooks.items()),
        )

    def follow(self, prepared: Prepared) -> None:
        """Send by this from now on. A sink of the same name and kind goes on with what waits and what was
        counted; what waits for one that is gone has a moment to be sent as it would have been."""
        before = {(outbox.name, outbox.kind): outbox for outbox in (*self._sinks, *self._hooks)}
        self._config = prepared.config
        self._sinks = tuple(_succeeding(before, outbox) for outbox in prepared.sinks)
        self._hooks = tuple(_succeeding(before, outbox) for outbox in prepared.hooks)
        self._book.follow(prepared.config.alerts.repeat_s, silences_of(prepared.config))
        for outbox in before.values():
            if outbox.is_busy:
                leaving = asyncio.create_task(outbox.close(_LAST_WORDS_S))
                self._leaving[leaving] = outbox
                leaving.add_done_callback(self._left)

    def _left(self, leaving: asyncio.Task[None]) -> None:
        self._leaving.pop(leaving, None)

    def _counted(self, signal: str, outcome: str) -> None:
        self._count(f"{signal}.{outcome}")

    # ... ports.Announcer

    def announce(self, notice: Notice) -> None:
        """Put it into the queues of all that want it."""
        message = self._message(notice)
        for hook in self._hooks:
            if hook.sink.wants(notice):
                hook.put(message)
        if self._book.take(notice, self._clock.wall()) is not None:
            self._send(message)
        elif not notice.lasts:  # silenced: what was sent is not left open for that
            self._send(message, closing=True)
        self._look_later()

    def look(self) -> None:
        """Send again what lasts, and what was silenced and lasts."""
        self._next_look = None
        for notice, repeated in self._book.due(self._clock.wall()):
            self._send(self._message(notice, repeated=repeated))
        self._look_later()

    def _look_later(self) -> None:
        if self._next_look is None and not self._rests and self._book.active():
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_S, self.look)

    def _send(self, message: Message, *, closing: bool = False) -> None:
        for outbox in self._sinks:
            if outbox.sink.wants(message.notice) and (not closing or outbox.sink.closes(message.notice)):
                outbox.put(message)

    def _message(self, notice: Notice, *, repeated: bool = False) -> Message:
        return Message(uuid.uuid4().hex, self._instance, notice, repeated)

    # ... ports.Alerting

    def report(self) -> AlertsReport:
        """As `ports.Alerting.report`."""
        now = self._clock.wall()
        active = [(alert, self._book.silenced(alert.notice, now)) for alert in self._book.active()]
        outboxes = [outbox.report() for outbox in (*self._sinks, *self._hooks)]
        return AlertsReport(tuple(active), tuple(self._book.silences(now)), tuple(outboxes))

    def silence(self, wanted: Silence) -> None:
        """As `ports.Alerting.silence`."""
        if not self._book.silence(wanted, self._clock.wall()):
            raise InvalidCommand("there are too many silences already: let some of them end")
        log.warning("alerts are silenced until %.0f by %s: %r", wanted.ends_at, wanted.actor, wanted)

    def unsilence(self, id: str, actor: str) -> Silence:  # noqa: A002 - what a silence calls it
        """As `ports.Alerting.unsilence`."""
        ended = self._book.unsilence(id, self._clock.wall())
        if ended is None:
            raise UnknownSilence(f"no silence {id!r} is in force that a person has made")
        log.warning("silence %s was ended by %s", id, actor)
        return ended

    async def test(
        self, actor: str, severity: str, reason: str, sink: str | None = None
    ) -> Sequence[SinkTrial]:
        """As `ports.Alerting.test`."""
        chosen = [outbox for outbox in self._sinks if sink is None or outbox.name == sink]
        if sink is not None and not chosen:
            raise UnknownSink(f"alerts go to no sink {sink!r}")
        message = self._message(of_test(Severity(severity), actor, reason, self._clock.wall()))
        return await asyncio.gather(*(outbox.trial(message, _TRIAL_S) for outbox in chosen))

    # ... to another process, and back

    def hand_over(self) -> Handed:
        """What lasts, and people's silences: repeated and ended by a process that takes over. What waits here
        is sent from here."""
        self._rests = True
        self._look_no_more()
        return self._book.hand_over()

    def take_back(self) -> None:
        """There is no such process after all."""
        self._rests = False
        self._look_later()

    def adopt(self, handed: Handed) -> None:
        """Go on with what another process has handed over."""
        self._book.adopt(handed, self._clock.wall(), self._good_for_s)
        self._look_later()

    def _good_for_s(self, notice: Notice) -> float:
        """Within what time it shows here too, if it lasts."""
        config, found = self._config, [0.0]
        if config is not None and notice.kind is NoticeKind.RULE:
            rules = config.alerts.rules
            found += [rule.window_s + rule.for_s for rule in rules if rule.name == notice.subject]
        elif config is not None and notice.kind is NoticeKind.GUARD:
            plans = [plan for plan in config.rollouts if plan.name == notice.rollout]
            found += [guard.window_s for plan in plans for guard in plan.guards]
        return max(found) + _SHOWS_WITHIN_S

    # ... the end

    def _look_no_more(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    async def close(self, within_s: float = FAREWELL_S) -> None:
        """Send what waits, for so long at most."""
        self._look_no_more()
        leaving = dict(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        outboxes = (*self._sinks, *self._hooks, *leaving.values())
        await asyncio.gather(*(outbox.close(within_s) for outbox in outboxes))

    def __repr__(self) -> str:
        return f"AlertDesk({self._book!r}, {self._sinks}, {self._hooks})"


def _succeeding(before: dict[tuple[str, str], Outbox], outbox: Outbox) -> Outbox:
    """The outbox that does what `outbox` is to do: taken out of `before` if it is there."""
    known = before.pop((outbox.name, outbox.kind), None)
    if known is None:
        return outbox
    if isinstance(outbox.sink, CallbackSink) and isinstance(known.sink, CallbackSink):
        outbox.sink.continue_after(known.sink)
    known.follow(outbox.sink)
    return known
