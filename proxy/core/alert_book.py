"""The alerts that are active, and which of what is announced is worth a message.

Owns deduplication, repetition, resolving, and silences. Must never know where a message goes, nor what made
it. `now` is seconds since the Unix epoch.

A notice of something that is over (a rollback, a new phase) is one message. A notice of something that lasts
is one message when it begins, one each time `repeat_s` has passed, and one when it is resolved. What is
silenced is kept and not sent: if it still lasts when the silence ends, it is sent then. A resolve is sent if
its beginning was, silence or not, so that nobody is left with an incident that is over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from proxy.core.notice import Notice  # noqa: TC001 - `Handed` is read from JSON by its annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_ACTIVE: Final = 10_000
MOST_SILENCES: Final = 200

_UNSEEN: Final = "not seen again since another process decides"


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which alerts are not sent. `alerts` and `rollouts` are patterns, of which any may fit."""

    id: str
    begins_at: float
    ends_at: float
    alerts: tuple[str, ...] = ("*",)
    rollouts: tuple[str, ...] = ("*",)
    actor: str = "config"
    reason: str = ""
    # Compiled once: there are thousands of patterns at worst, and a notice is held against all of them.
    _alerts: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _rollouts: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_alerts", _any_of(self.alerts))
        object.__setattr__(self, "_rollouts", _any_of(self.rollouts))

    def covers(self, notice: Notice, now: float) -> bool:
        """Whether `notice` is not sent now for its sake."""
        if not self.begins_at <= now < self.ends_at:
            return False
        about = self._alerts.match(notice.kind) or self._alerts.match(notice.subject)
        return about is not None and self._rollouts.match(notice.rollout) is not None


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """What fits one of these, with * as in a shell."""
    return re.compile("|".join(map(translate, patterns)))


@dataclass(slots=True)
class ActiveAlert:
    """Something that lasts: its latest notice, since when, and when it was sent last, if it was."""

    notice: Notice
    since: float
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class SinkReport:
    """How a sink fares, since the process started or the sink was last configured otherwise."""

    name: str
    kind: str
    sent: int = 0
    failed: int = 0  # given up after every attempt
    dropped: int = 0  # for want of room
    waiting: int = 0
    trouble: str = ""  # of the last one, if it failed


@dataclass(frozen=True, slots=True)
class SinkTrial:
    """What became of a test notice at one sink: `trouble` is empty if it was taken."""

    name: str
    kind: str
    trouble: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AlertsReport:
    """What lasts, each with the silence that keeps it from being sent, what is silenced, and the sinks."""

    active: tuple[tuple[ActiveAlert, Silence | None], ...]
    silences: tuple[Silence, ...]
    sinks: tuple[SinkReport, ...]


@dataclass(frozen=True, slots=True)
class Handed:
    """What a process that lets go of deciding hands over: what lasts, and people's silences."""

    active: tuple[ActiveAlert, ...] = ()
    silences: tuple[Silence, ...] = ()


class AlertBook:
    """What lasts, by key, and the silences of `config`'s and of people."""

    def __init__(self, repeat_s: float = 0.0, configured: Sequence[Silence] = ()) -> None:
        self.repeat_s = repeat_s
        self._configured = tuple(configured)
        self._silences: dict[str, Silence] = {}
        self._active: dict[str, ActiveAlert] = {}
        self._inherited: dict[str, float] = {}  # keys of what another process has seen, until when it counts

    def follow(self, repeat_s: float, configured: Sequence[Silence]) -> None:
        """Another configuration; what lasts goes on lasting, and people's silences stay."""
        self.repeat_s = repeat_s
        self._configured = tuple(configured)

    # ... notices

    def take(self, notice: Notice, now: float) -> Notice | None:
        """What is to be sent of it: itself or nothing."""
        if not notice.lasts:
            return None if self.silenced(notice, now) else notice
        known = self._active.get(notice.key)
        self._inherited.pop(notice.key, None)
        if notice.resolved:
            self._active.pop(notice.key, None)
            return notice if known is not None and known.sent_at is not None else None
        if known is not None:
            known.notice = notice
            return None
        if len(self._active) >= MOST_ACTIVE:
            return None if self.silenced(notice, now) else notice
        alert = self._active[notice.key] = ActiveAlert(notice, now)
        return self._sent(alert, now)

    def due(self, now: float) -> list[tuple[Notice, bool]]:
        """What still lasts and is to be sent now, and whether that is again; else its silence is over."""
        found = self._outlived(now)
        for alert in self._active.values():
            before = alert.sent_at
            waits = before is not None and not 0 < self.repeat_s <= now - before
            if not waits and (notice := self._sent(alert, now)) is not None:
                found.append((notice, before is not None))
        return found

    def _sent(self, alert: ActiveAlert, now: float) -> Notice | None:
        if self.silenced(alert.notice, now):
            return None
        alert.sent_at = now
        return alert.notice

    def active(self) -> list[ActiveAlert]:
        """What lasts, the oldest first."""
        return list(self._active.values())

    # ... from another process, which decides no more

    def hand_over(self) -> Handed:
        """What lasts, and people's silences."""
        return Handed(tuple(self._active.values()), tuple(self._silences.values()))

    def adopt(self, handed: Handed, now: float, good_for_s: Callable[[Notice], float]) -> None:
        """Go on with it: what was sent there is not sent again. Nobody here has seen it begin, so that nobody
        would see its end: what is not announced here for `good_for_s` is taken to be over."""
        for alert in handed.active[:MOST_ACTIVE]:
            key = alert.notice.key
            self._active[key] = alert
            self._inherited[key] = now + good_for_s(alert.notice)
        for silence in handed.silences[:MOST_SILENCES]:
            self._silences[silence.id] = silence

    def _outlived(self, now: float) -> list[tuple[Notice, bool]]:
        over = [key for key, until in self._inherited.items() if until <= now]
        alerts = [alert for key in over if (alert := self._active.pop(key, None)) is not None]
        for key in over:
            del self._inherited[key]
        return [
            (replace(alert.notice, resolved=True, at=now, reason=_UNSEEN), False)
            for alert in alerts
            if alert.sent_at is not None
        ]

    # ... silences

    def silenced(self, notice: Notice, now: float) -> Silence | None:
        """The silence for whose sake `notice` is not sent now."""
        return next((one for one in self.silences(now) if one.covers(notice, now)), None)

    def silence(self, wanted: Silence, now: float) -> bool:
        """Keep it; False if there are too many already."""
        self._expire(now)
        if len(self._silences) >= MOST_SILENCES:
            return False
        self._silences[wanted.id] = wanted
        return True

    def unsilence(self, id: str, now: float) -> Silence | None:  # noqa: A002 - what a silence calls it
        """End that silence; None if no person has made one that lasts."""
        self._expire(now)
        return self._silences.pop(id, None)

    def silences(self, now: float) -> list[Silence]:
        """Those that have not ended, the configuration's first."""
        self._expire(now)
        return [*(one for one in self._configured if one.ends_at > now), *self._silences.values()]

    def _expire(self, now: float) -> None:
        for over in [one.id for one in self._silences.values() if one.ends_at <= now]:
            del self._silences[over]

    def __repr__(self) -> str:
        return f"AlertBook({len(self._active)} active, {len(self._silences)} silences)"
