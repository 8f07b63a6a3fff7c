"""The tables of one rollout: whom it covers, how it splits, what covers for v2, and what moves the weight.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer

from proxy.config.fields import (
    HostPattern,
    KeySource,
    Limit,
    Method,
    Network,
    RoutePrefix,
    Secret,
    Token,
    UpgradeProtocol,
    format_limit,
)
from proxy.config.table import Table
from proxy.config.units import (
    Count,
    Duration,
    Flag,
    Percentage,
    PositiveCount,
    PositiveDuration,
    Ratio,
    Size,
    weight_of,
)
from proxy.model import Action, Metric

_Floor = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
_Below = Annotated[float, Field(strict=True, gt=0, le=1)]
_Above = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Route(Table):
    """One entry of `rollouts.routes`: requests that it covers. The most specific host and prefix wins."""

    prefix: RoutePrefix = "/"
    """Path prefix on segment boundaries: "/api" covers "/api" and "/api/x", not "/apix"."""
    host: HostPattern | None = None
    """Host without port, or "*.example.com" for all below it; every host if absent."""
    methods: tuple[Method, ...] = ()
    """Methods that are covered; empty for all."""


class Fallback(Table):
    """`[rollouts.fallback]`: when v1 answers in place of v2."""

    enabled: Flag = True
    """Whether v1 stands in at all."""
    on: tuple[Literal["connect", "timeout", "reset", "5xx", "500", "502", "503", "504"], ...] = (
        "connect",
        "timeout",
        "reset",
        "5xx",
    )
    """What counts as v2's failure; "reset" includes garbage, "5xx" is 500, 502, 503 and 504."""
    methods: Literal["idempotent", "all"] = "idempotent"
    """What may be repeated once v2 may have seen it; "all" repeats POST and PATCH too."""
    max_body_bytes: Size = 64 << 10
    """Largest request body that is kept for v1; a larger one is streamed and has no fallback."""
    budget: Ratio = 1.0
    """Share of recent requests that may fall back; 1.0 is no limit."""
    budget_floor: _Floor = 3.0
    """Fallbacks a second that are allowed whatever the share."""
    reserve: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.5
    """Share of the rollout's `timeout` that v2's attempt leaves for v1."""


class BreakerTable(Table):
    """`[rollouts.breaker]`: when v2 keeps failing, v1 is asked at once."""

    enabled: Flag = True
    """Whether there is a breaker."""
    consecutive_failures: PositiveCount = 5
    """Failures in a row that open it."""
    failure_rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.5
    """Share of failures over `window` that opens it."""
    window_s: PositiveDuration = 10.0
    """What the share is taken over."""
    min_requests: PositiveCount = 20
    """Attempts in the window before the share counts."""
    open_for_s: PositiveDuration = 5.0
    """How long v2 is left alone before it is tried again."""
    probes: PositiveCount = 3
    """Attempts at once while trying, and successes that close it."""


class Tunnels(Table):
    """`[rollouts.tunnels]`: connections that go on in another protocol, such as WebSocket."""

    protocols: tuple[UpgradeProtocol, ...] = ("websocket",)
    """Protocols that clients may switch to by Upgrade; "*" is any but HTTP and TLS, an empty list none."""
    idle_timeout_s: PositiveDuration = 600.0
    """How long a tunnel may stand still in both directions."""
    on_rollback: Literal["keep", "cut"] = "keep"
    """What becomes of v2's tunnels whose key goes to v1 again; they are cut after `drain_timeout`."""
    drain_timeout_s: Duration = 30.0
    """How long such a tunnel may go on before it is cut."""


class JudgeTable(Table):
    """`[rollouts.judge]`: promotion through the phases."""

    enabled: Flag = True
    """Whether phases advance by themselves. Guards act in any case."""
    tick_s: PositiveDuration = 1.0
    """Time between two judgments."""


class Criteria(Table):
    """`require` of a phase: all that are given must hold before the next phase."""

    error_rate_below: _Below | None = None
    """Share of v2's attempts that failed, before any fallback hid it."""
    success_rate_above: _Above | None = None
    """Share of v2's attempts that did not fail."""
    client_error_rate_below: _Below | None = None
    """Share of all requests whose client saw a failure."""
    fallback_rate_below: _Below | None = None
    """Share of v2's requests that v1 answered."""
    latency_p50_below_s: PositiveDuration | None = None
    """v2's median latency."""
    latency_p95_below_s: PositiveDuration | None = None
    """v2's 95th percentile."""
    latency_p99_below_s: PositiveDuration | None = None
    """v2's 99th percentile."""


class Phase(Table):
    """One entry of `[[rollouts.phases]]`: a step of the plan. Percentages rise from phase to phase."""

    name: Token
    """What the phase is called, once in a rollout."""
    percentage: Percentage
    """Share of keys sent to v2, above 0 up to 100, in steps of 0.001."""
    min_duration_s: Duration = 0.0
    """How long the phase lasts at least."""
    min_requests: Count = 0
    """Requests to v2 that the phase needs at least."""
    require: Criteria = Criteria()
    """Criteria that must hold before the next phase."""

    @property
    def weight(self) -> int:
        """The phase's weight in buckets."""
        return weight_of(self.percentage)


class Guard(Table):
    """One entry of `[[rollouts.guards]]`: a limit with a window, a minimum sample and an action.

    Limits of latency metrics are durations, the others numbers; `limit` is in seconds or as a plain number.
    """

    metric: Metric
    """What is read."""
    above: Limit | None = None
    """Fires over this value: a duration for latencies and their difference, else a number."""
    below: Limit | None = None
    """Fires under this value, in place of `above`; `health` takes only this."""
    window_s: PositiveDuration = 10.0
    """What the metric is read over, at most "1h"."""
    for_s: Duration = 0.0
    """How long the limit must be crossed without a break."""
    min_requests: Count = 20
    """Requests in the window before the metric counts."""
    action: Action = Action.ROLLBACK
    """rollback: to 0; previous: one phase back; step_down: `step` points less; pause; alert: only say so."""
    step: Percentage = 10.0
    """Percentage points that `step_down` takes off."""

    @property
    def limit(self) -> float:
        """The one limit that is given."""
        limit = self.below if self.above is None else self.above
        return 0.0 if limit is None else limit

    @property
    def name(self) -> str:
        """How reasons and events call this guard: its metric, direction and limit."""
        return f"{self.metric} {'above' if self.above is not None else 'below'} {self.limit:g}"

    @field_serializer("above", "below", mode="wrap", when_used="json-unless-none")
    def _limit_as_written(self, limit: float, _: SerializerFunctionWrapHandler) -> str | float:
        return format_limit(self.metric, limit)


class Pins(Table):
    """`allow` and `deny` of a rollout: keys per path."""

    v1: frozenset[str] = frozenset()
    """Keys that are always (`allow`) or never (`deny`) sent to v1."""
    v2: frozenset[str] = frozenset()
    """Keys that are always (`allow`) or never (`deny`) sent to v2."""

    @field_serializer("v1", "v2", when_used="json")
    def _in_order(self, keys: frozenset[str]) -> list[str]:
        return sorted(keys)


class Override(Table):
    """`[rollouts.override]`: a request header that names the path, if signed or from listed networks."""

    header: Token = "X-Dualpath-Override"
    """The request header; removed from every request before it goes upstream."""
    networks: tuple[Network, ...] = ()
    """Clients that may name the path as plain "v1" or "v2"."""
    secret: Secret | None = Field(default=None, repr=False)
    """Key of the signature that anybody else needs; 16 characters at least."""


class Rollout(Table):
    """One entry of `[[rollouts]]`: a named split with its own key, weight, phases and guards."""

    name: Token
    """What commands and reports call it."""
    routes: Annotated[tuple[Route, ...], Field(min_length=1)] = (Route(),)
    """Requests that it covers; all by default."""
    key: Annotated[tuple[KeySource, ...], Field(min_length=1)] = ("client_ip",)
    """What identifies a user: "header:NAME", "cookie:NAME", "client_ip"; the first with a value counts."""
    salt: str | None = None
    """Text that is hashed with the key; the rollout's name if absent. Another salt draws other users."""
    percentage: Percentage = 0.0
    """Where it starts the first time; afterwards what the store holds wins. With phases: 0 or a phase's."""
    autostart: Flag = False
    """Enter the first phase without `rollout start`."""
    issue_cookie: Token | None = None
    """Cookie given to clients without a key; one of `key`'s cookies."""
    timeout_s: PositiveDuration = 30.0
    """How long a whole request may take, fallback included."""
    allow: Pins = Pins()
    """Keys that always go to one path."""
    deny: Pins = Pins()
    """Keys that never go to one path; stronger than `allow`."""
    override: Override | None = None
    """A request header that names the path; off if absent."""
    fallback: Fallback = Fallback()
    """When v1 answers in place of v2."""
    breaker: BreakerTable = BreakerTable()
    """When v2 is not even asked."""
    tunnels: Tunnels = Tunnels()
    """Connections that go on in another protocol."""
    judge: JudgeTable = JudgeTable()
    """Promotion through the phases."""
    phases: tuple[Phase, ...] = ()
    """The plan; without it only people raise the weight."""
    guards: tuple[Guard, ...] = ()
    """Limits that act by themselves."""

    @property
    def weight(self) -> int:
        """The starting weight in buckets."""
        return weight_of(self.percentage)
