"""What can be configured of alerts and hooks: rules, where alerts go, when they are silent, who is asked.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together. What contradicts
itself stands in `alert_checks.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, PlainSerializer, SerializerFunctionWrapHandler, field_serializer

from proxy.config.fields import HostPort, Limit, Secret, Token, format_limit, hidden
from proxy.config.table import Table
from proxy.config.times import Instant, WebAddress
from proxy.config.tls import File
from proxy.config.units import Count, Duration, Flag, PositiveDuration, shown
from proxy.judgment import Metric

Severity = Literal["info", "warning", "critical"]
SinkKind = Literal["log", "webhook", "slack", "pagerduty", "email", "callback"]
Kind = Literal[
    "started",
    "phase",
    "raised",
    "resumed",
    "completed",
    "changed",
    "lowered",
    "paused",
    "rollback",
    "abort",
    "guard",
    "rule",
    "store",
    "worker",
    "conflict",
]
HookEvent = Literal["before_start", "before_phase", "after_promotion", "rollback", "abort", "completion"]

PAGERDUTY: Final = "https://events.pagerduty.com/v2/enqueue"

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_ADDRESS = re.compile(r"[!#$%&'*+/=?^`{|}~.\w-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)


def parse_dotted_path(value: str) -> str:
    """ "package.module:function"."""
    if not _PATH.fullmatch(value):
        raise ValueError(f'must be "package.module:function", not {shown(value)}')
    return value


def parse_mail_address(value: str) -> str:
    """ "somebody@example.com", without a name or brackets around it."""
    if not _ADDRESS.fullmatch(value) or len(value) > 254:
        raise ValueError(f'must be an address such as "ops@example.com", not {shown(value)}')
    return value


Password = Annotated[str, Field(min_length=1), PlainSerializer(hidden, when_used="json")]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
DottedPath = Annotated[str, AfterValidator(parse_dotted_path)]
MailAddress = Annotated[str, AfterValidator(parse_mail_address)]


class AlertRule(Table):
    """One entry of `[[alerts.rules]]`: a limit that is watched and moves nothing."""

    name: Token
    """What the alert is called."""
    metric: Metric
    """What is read, as of a guard."""
    above: Limit | None = None
    """Fires over this value: a duration for latencies and their difference, else a number."""
    below: Limit | None = None
    """Fires under this value, in place of `above`."""
    clear: Limit | None = None
    """Once it fires, it ends only on the other side of this value; the limit itself unless given."""
    window_s: PositiveDuration = 60.0
    """What the value is read over, at most "1h"."""
    for_s: Duration = 0.0
    """How long the limit must be crossed without a break."""
    resolve_after_s: Duration = 0.0
    """How long it must be well again, without a break, before it is resolved."""
    min_requests: Count = 20
    """Requests in the window before the metric counts."""
    severity: Severity = "warning"
    """How much it matters."""
    rollouts: tuple[Pattern, ...] = ("*",)
    """Rollouts that it watches, each by itself, with * as in a shell."""

    @property
    def limit(self) -> float:
        """The one limit that is given."""
        limit = self.below if self.above is None else self.above
        return 0.0 if limit is None else limit

    @field_serializer("above", "below", "clear", mode="wrap", when_used="json-unless-none")
    def _limit_as_written(self, limit: float, _: SerializerFunctionWrapHandler) -> str | float:
        return format_limit(self.metric, limit)


class Sink(Table):
    """One entry of `[[alerts.sinks]]`: where alerts go. Each kind has keys of its own."""

    name: Token
    """What reports and silences call it."""
    kind: SinkKind
    """How they are sent."""
    severity: Severity = "info"
    """The least severe alerts that it gets."""
    on: tuple[Kind, ...] = ()
    """Only alerts of these kinds; all unless given."""
    rollouts: tuple[Pattern, ...] = ("*",)
    """Only of these rollouts, with * as in a shell. What concerns the whole process comes in any case."""
    timeout_s: PositiveDuration = 30.0
    """How long one alert may take, repeated attempts included."""
    url: WebAddress | None = None
    """webhook, slack: where they are POSTed; pagerduty: in place of PagerDuty's own."""
    secret: Secret | None = Field(default=None, repr=False)
    """webhook: signs them; pagerduty: the routing key of the integration, which it needs."""
    secret_file: File | None = None
    """File that holds `secret`."""
    server: HostPort | None = None
    """email: the mail server."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """email: STARTTLS, TLS from the first byte, or neither, which is for a server on this machine."""
    username: str | None = None
    """email: who we are, where the server asks."""
    password: Password | None = Field(default=None, repr=False)
    """email: the password."""
    password_file: File | None = None
    """File that holds `password`."""
    sender: Annotated[MailAddress | None, Field(alias="from")] = None
    """email: the sender's address."""
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)] | None = None
    """email: who gets them."""
    call: DottedPath | None = None
    """callback: a function of Python, "package.module:function", called with a dictionary."""


class Silence(Table):
    """One entry of `[[alerts.silences]]`: a time in which alerts are not sent."""

    begins_at: Annotated[Instant, Field(alias="from")]
    """When it begins, as RFC 3339 with an offset: "2026-12-24T00:00:00Z"."""
    ends_at: Annotated[Instant, Field(alias="until")]
    """When it ends; what still lasts then is sent."""
    alerts: tuple[Pattern, ...] = ("*",)
    """Which: kinds, names of rules and guards, "worker 0", with * as in a shell."""
    rollouts: tuple[Pattern, ...] = ("*",)
    """Of which rollouts, with * as in a shell; * alone is what concerns the whole process too."""
    reason: str = ""
    """Why, for those who ask."""


class Alerts(Table):
    """`[alerts]`: who is told what. Every move of a rollout, a store that is lost and a worker that does not
    stay up alert without a rule."""

    sinks: tuple[Sink, ...] = (Sink(name="log", kind="log"),)
    """Where alerts go; without any, into the log."""
    rules: tuple[AlertRule, ...] = ()
    """Limits that are watched."""
    silences: tuple[Silence, ...] = ()
    """Times in which alerts are not sent."""
    repeat_s: Duration = 14_400.0
    """An alert that lasts is sent again so often; "0s" sends it once."""


class Hook(Table):
    """One entry of `[[hooks]]`: a webhook that a rollout's life calls."""

    name: Token
    """What reports call it."""
    on: Annotated[tuple[HookEvent, ...], Field(min_length=1)]
    """When: what begins with before_ is asked before, and the move waits for the answer."""
    url: WebAddress
    """Where it is POSTed."""
    secret: Secret | None = Field(default=None, repr=False)
    """Signs it."""
    secret_file: File | None = None
    """File that holds `secret`."""
    rollouts: tuple[Pattern, ...] = ("*",)
    """Only of these rollouts, with * as in a shell."""
    timeout_s: PositiveDuration = 5.0
    """How long it may take, repeated attempts included."""
    required: Flag = False
    """before_: the move is only made once it is answered 2xx. A person's is made all the same."""
