"""The tables of one rollout: whom it covers, how it splits, and what covers for v2.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together. What moves the weight
stands in `plan.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_serializer, model_validator

from proxy.config.fields import (
    Headers,
    HostPattern,
    KeySource,
    Method,
    Network,
    PlanName,
    RequestTarget,
    RoutePrefix,
    Secret,
    Token,
    UpgradeProtocol,
)
from proxy.config.plan import Baseline, Freeze, Guard, JudgeTable, Phase, Steps
from proxy.config.table import Table
from proxy.config.times import Hours, TimeZone
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

_Floor = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
_Status = Annotated[int, Field(strict=True, ge=100, le=599)]


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
    open_for_s: PositiveDuration = 1.0
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


class Smoke(Table):
    """One entry of `[[rollouts.smoke]]`: a request that both versions must answer equally for `deploy`."""

    method: Method = "GET"
    """Its method."""
    path: RequestTarget
    """Its path, with the query: "/menu?city=1"."""
    headers: Headers = Field(default_factory=dict)
    """Fields that it carries, such as Host or Authorization."""
    body: str = ""
    """Its body; none if empty."""
    expect_status: _Status | None = None
    """What both must answer; only that they agree unless given."""
    compare: Literal["status", "body"] = "status"
    """What must be equal: the status, or the body too."""


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
    plan: PlanName | None = None
    """A preset (gradual, api-migration, staged) or a TOML file with keys from here on; those given win."""
    judge: JudgeTable = JudgeTable()
    """How v2 is compared with v1, and promotion through the phases."""
    phases: tuple[Phase, ...] = ()
    """The plan; without it only people raise the weight."""
    steps: Steps | None = None
    """Equal steps, in place of `phases`."""
    guards: tuple[Guard, ...] = ()
    """Limits that act by themselves."""
    baseline: Baseline = Baseline()
    """What v1 was once measured at."""
    hours: tuple[Hours, ...] = ()
    """Only at these hours a phase is entered, such as "Mon-Fri 09:00-17:00"; at any unless given."""
    timezone: TimeZone = "UTC"
    """Time zone of all `hours`."""
    freeze: tuple[Freeze, ...] = ()
    """Times in which no phase is entered."""
    cooldown_s: Duration = 600.0
    """How long it stays down after a rollback by the judge, before `auto_retry` starts it again."""
    auto_retry: Count = 0
    """How often it may be started again so, until a person starts it; 0 leaves that to people."""
    smoke: tuple[Smoke, ...] = ()
    """Requests that `deploy` sends to both versions before it starts."""

    @model_validator(mode="after")
    def _phases_of_steps(self) -> Self:
        known = self.__dict__
        if known.get("steps") is not None and known.get("phases") == () and self.steps_are_sound:
            known["phases"] = self.steps.phases() if self.steps else ()
        return self

    @property
    def steps_are_sound(self) -> bool:
        """Whether `steps` say enough to be phases."""
        steps = self.steps
        return steps is not None and type(steps).model_fields.keys() <= steps.__dict__.keys()

    @property
    def weight(self) -> int:
        """The starting weight in buckets."""
        return weight_of(self.percentage)

    @property
    def judges_latency(self) -> bool:
        """Whether requests that are slow are to be told before they end, at every tick."""
        guards = (*self.guards, *(guard for phase in self.phases for guard in phase.abort_if))
        sequential = any(guard.is_sequential and guard.metric.startswith("latency_") for guard in guards)
        return sequential or bool(self.phases and self.judge.enabled)

    @property
    def held_back(self) -> int:
        """How many buckets stay on v1 while the rollout runs at 100 %."""
        return weight_of(self.judge.holdback)
