"""The sinks that speak HTTP, and the log: what each makes of a message.

Owns the formats: our own JSON, Slack's attachments, PagerDuty's Events API v2. Must never know a queue, nor
why a message is sent.
"""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from proxy import __version__
from proxy.core.notice import MOVES, RANK, NoticeKind, Severity
from proxy.core.signing import signed
from proxy.telemetry.alerts.message import instant

if TYPE_CHECKING:
    from proxy.config.alerts import Hook
    from proxy.config.alerts import Sink as SinkTable
    from proxy.core.notice import Notice
    from proxy.ports import Clock, Post
    from proxy.telemetry.alerts.message import Message

log = logging.getLogger("dualpath.alerts")

_LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}
_COLOURS: Final = {Severity.INFO: "#439fe0", Severity.WARNING: "#daa038", Severity.CRITICAL: "#d50200"}
_LONGEST_KEY: Final = 255
_WELL: Final = "#2eb886"
_ONWARD: Final = frozenset(
    {
        *(NoticeKind.STARTED, NoticeKind.PHASE, NoticeKind.RAISED),
        *(NoticeKind.RESUMED, NoticeKind.COMPLETED),
    }
)
_EVENTS: Final = {
    NoticeKind.STARTED: "after_promotion",
    NoticeKind.PHASE: "after_promotion",
    NoticeKind.RAISED: "after_promotion",
    NoticeKind.ROLLBACK: "rollback",
    NoticeKind.ABORT: "abort",
    NoticeKind.COMPLETED: "completion",
}


class Sink(Protocol):
    """Where messages go."""

    def wants(self, notice: Notice) -> bool:
        """Whether it gets this one."""

    def closes(self, notice: Notice) -> bool:
        """Whether this one does nothing there but to end what was sent before, which no silence may keep."""

    async def send(self, message: Message) -> None:
        """Send it, again while that may help. Raises `DualpathError` that says why it was not taken."""


class Chosen:
    """`wants` of a sink, as its table says."""

    def __init__(self, table: SinkTable) -> None:
        self._least = RANK[Severity(table.severity)]
        self._kinds = frozenset(table.on)
        self._rollouts = table.rollouts

    def wants(self, notice: Notice) -> bool:
        """By severity, kind and rollout."""
        return RANK[notice.severity] >= self._least and self._concerns(notice)

    def closes(self, notice: Notice) -> bool:
        """A move is a message of its own."""
        return False

    def _concerns(self, notice: Notice) -> bool:
        return not (self._kinds and notice.kind not in self._kinds) and self._is_of(notice)

    def _is_of(self, notice: Notice) -> bool:
        return not notice.rollout or any(fnmatchcase(notice.rollout, one) for one in self._rollouts)


class LogSink(Chosen):
    """A line in the log; `notice` of the record has it as JSON for those who write JSON."""

    async def send(self, message: Message) -> None:
        """As `Sink.send`; it is never refused."""
        notice = message.notice
        text = (
            f"alert {notice.severity} {message.status}: {message.title}: {' '.join(message.reason.split())}"
        )
        log.log(_LEVELS[notice.severity], "%s", text, extra={"notice": message.fields()})


class WebhookSink(Chosen):
    """Our own JSON, signed if there is a secret."""

    def __init__(self, table: SinkTable, secret: str | None, post: Post, clock: Clock) -> None:
        super().__init__(table)
        self._url = str(table.url)
        self._timeout_s = table.timeout_s
        self._secret = secret
        self._post = post
        self._clock = clock

    async def send(self, message: Message) -> None:
        """As `Sink.send`."""
        body = orjson.dumps(message.fields())
        fields = signed(self._secret, message.id, self._clock.wall(), body)
        await self._post(self._url, body, min(self._timeout_s, message.within_s), fields)


class SlackSink(Chosen):
    """An incoming webhook of Slack, or of what understands its attachments (Mattermost, Rocket.Chat)."""

    def __init__(self, table: SinkTable, post: Post) -> None:
        super().__init__(table)
        self._url = str(table.url)
        self._timeout_s = table.timeout_s
        self._post = post

    async def send(self, message: Message) -> None:
        """As `Sink.send`."""
        await self._post(self._url, orjson.dumps(slack(message)), min(self._timeout_s, message.within_s))


class PagerDutySink(Chosen):
    """Events API v2. What lasts is triggered and resolved; a retreat of the controller's is triggered, and
    resolved once the rollout goes up again."""

    def __init__(self, table: SinkTable, routing_key: str, url: str, post: Post) -> None:
        super().__init__(table)
        self._url = url
        self._routing_key = routing_key
        self._timeout_s = table.timeout_s
        self._post = post

    def wants(self, notice: Notice) -> bool:
        """As `Chosen.wants`; a move is an incident if it is a warning at least, and one upward ends it."""
        if notice.kind in MOVES:
            if notice.kind in _ONWARD:  # whatever `on` says: it ends what was triggered by those kinds
                return self._is_of(notice)
            return super().wants(notice) and RANK[notice.severity] >= RANK[Severity.WARNING]
        return super().wants(notice)

    def closes(self, notice: Notice) -> bool:
        """A move upward."""
        return notice.kind in _ONWARD

    async def send(self, message: Message) -> None:
        """As `Sink.send`."""
        body = orjson.dumps({"routing_key": self._routing_key, **pagerduty(message)})
        await self._post(self._url, body, min(self._timeout_s, message.within_s))


class HookSink:
    """A hook that tells what has happened; those that ask before are the control plane's."""

    def __init__(self, hook: Hook, secret: str | None, post: Post, clock: Clock) -> None:
        self._hook = hook
        self._secret = secret
        self._post = post
        self._clock = clock

    def wants(self, notice: Notice) -> bool:
        """What its `on` says."""
        event = _EVENTS.get(notice.kind)
        return event in self._hook.on and any(fnmatchcase(notice.rollout, one) for one in self._hook.rollouts)

    def closes(self, notice: Notice) -> bool:
        """A hook is never silenced."""
        return False

    async def send(self, message: Message) -> None:
        """As `Sink.send`."""
        event = _EVENTS.get(message.notice.kind, "test")
        body = orjson.dumps({"event": event, "hook": self._hook.name, **message.fields()})
        fields = signed(self._secret, message.id, self._clock.wall(), body)
        await self._post(self._hook.url, body, self._hook.timeout_s, fields)


# ... formats


def slack(message: Message) -> dict[str, Any]:
    """An attachment in the colour of its severity; what Slack would read as markup is escaped."""
    notice = message.notice
    colour = _WELL if notice.resolved or notice.kind in _ONWARD else _COLOURS[notice.severity]
    return {
        "text": _escaped(f"{notice.severity}: {message.title}"),
        "attachments": [
            {
                "color": colour,
                "fallback": _escaped(message.title),
                "text": _escaped(message.reason),
                "fields": [
                    {"title": _escaped(name), "value": _escaped(value), "short": len(value) <= 30}
                    for name, value in message.facts()
                ],
                "footer": "dualpath",
                "ts": int(notice.at),
            }
        ],
    }


def pagerduty(message: Message) -> dict[str, Any]:
    """An event; only a trigger has a payload."""
    notice = message.notice
    over = notice.resolved or notice.kind in _ONWARD
    key = f"{notice.rollout}:retreat" if notice.kind in MOVES else notice.key
    event: dict[str, Any] = {
        "event_action": "resolve" if over else "trigger",
        "dedup_key": _short(f"dualpath:{message.instance}:{key}"),
    }
    if over:
        return event
    return {
        **event,
        "payload": {
            "summary": f"{message.title}: {message.reason}"[:1_024],
            "source": message.instance,
            "severity": notice.severity,
            "timestamp": instant(notice.at),
            "component": notice.rollout or "dualpath",
            "group": notice.kind,
            "class": notice.metric or notice.kind,
            "custom_details": message.fields(),
        },
        "client": f"dualpath {__version__}",
    }


def _short(key: str) -> str:
    """At most the 255 characters that PagerDuty takes, and another one for another key all the same."""
    return key if len(key) <= _LONGEST_KEY else f"{key[:190]}:{sha256(key.encode()).hexdigest()}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
