"""The tables of a rollout's plan: its phases, what each needs, the limits, and how v2 is judged.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together. `PLAN_KEYS` are the
keys of a rollout that a plan's file may hold; `plans.py` reads such files.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer

from proxy.config.fields import Limit, Token, format_limit
from proxy.config.table import Table
from proxy.config.times import Hours, Instant, TimeZone, WebAddress
from proxy.config.units import Count, Duration, Flag, Percentage, PositiveDuration, Ratio, weight_of
from proxy.judgment import Action, Metric, Mode

PLAN_KEYS: Final = frozenset(
    {
        *("judge", "phases", "steps", "guards", "baseline"),
        *("freeze", "hours", "timezone", "cooldown", "auto_retry"),
    }
)
"""The keys of a rollout that say how it moves, and not whom it covers."""

SEQUENTIAL: Final = frozenset(
    {
        *(Metric.ERROR_RATE, Metric.FALLBACK_RATE, Metric.CLIENT_ERROR_RATE),
        *(Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99),
    }
)
"""The metrics that a sequential test can read, with `above`: each request by itself was good or bad."""

_WINDOW_SAMPLE: Final = 20

_Below = Annotated[float, Field(strict=True, gt=0, le=1)]
_Above = Annotated[float, Field(strict=True, ge=0, lt=1)]
_Factor = Annotated[float, Field(strict=True, ge=1, le=100)]
_Points = Annotated[float, Field(strict=True, ge=0, le=100)]
_Improvement = Annotated[float, Field(strict=True, gt=-100, lt=100)]
_Alpha = Annotated[float, Field(strict=True, ge=0.0001, le=0.5)]
_Margin = Annotated[float, Field(strict=True, ge=0, le=100)]


class Tolerable(Table):
    """`judge.tolerable`: by how much v2 may be worse than v1 without being rolled back."""

    ratio: _Factor = 1.1
    """v2's error rate may be this many times v1's …"""
    points: _Points = 0.1
    """… and so many percentage points more."""
    latency_ratio: _Factor = 1.25
    """v2's latencies may be this many times v1's …"""
    latency_plus_s: Duration = 0.01
    """… and so much more."""


class Unacceptable(Table):
    """`judge.unacceptable`: what must be ruled out before the next phase. Between both limits lies doubt."""

    ratio: _Factor = 1.0
    """v2's error rate must be shown to be below this many times v1's …"""
    points: _Points = 1.0
    """… and so many percentage points more. Half of it takes twice the requests."""
    latency_ratio: _Factor = 1.5
    """v2's latencies must be shown to be below this many times v1's …"""
    latency_plus_s: Duration = 0.01
    """… and so much more."""


class JudgeTable(Table):
    """`[rollouts.judge]`: how v2 is compared with v1, and promotion through the phases."""

    enabled: Flag = True
    """Whether phases advance by themselves. Guards act in any case, as does `regression`."""
    tick_s: PositiveDuration = 1.0
    """Time between two judgments."""
    regression: Flag = True
    """Whether a v2 that is worse than v1 fails, where there are phases."""
    action: Action = Action.ROLLBACK
    """What follows then, as for a guard."""
    step: Percentage = 10.0
    """Percentage points that `step_down` takes off."""
    tolerable: Tolerable = Tolerable()
    """By how much v2 may be worse than v1."""
    unacceptable: Unacceptable = Unacceptable()
    """What must be ruled out before the next phase."""
    false_alarms: _Alpha = 0.01
    """Chance that a v2 which is as good as v1 is ever found to be worse."""
    promotion: Literal["evidence", "criteria"] = "evidence"
    """What the next phase takes: evidence that v2 is no worse, or only what the phase itself asks for."""
    noise_margin: _Margin = 4.0
    """How many times the swing of v1's own error rate from minute to minute is tolerated besides."""
    holdback: Annotated[Percentage, Field(le=50)] = 0.0
    """Share of keys that stay on v1 while a rollout runs at 100 %, so that there is something to compare."""


class Baseline(Table):
    """`[rollouts.baseline]`: what v1 was once measured at, for criteria that name it."""

    error_rate: Ratio | None = None
    """Share of attempts that failed."""
    latency_mean_s: PositiveDuration | None = None
    """Mean latency."""


class Criteria(Table):
    """`require` of a phase: all that are given must hold before the next phase."""

    error_rate_below: _Below | None = None
    """Share of v2's attempts that failed, before any fallback hid it."""
    or_baseline: Flag = False
    """`error_rate_below` holds too while v2 fails as seldom as the baseline, else v1, within `tolerable`."""
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
    improvement_above: _Improvement | None = None
    """By how many percent v2's mean latency is below the other's; negative allows it to be longer."""
    improvement_against: Literal["v1", "baseline"] = "v1"
    """Whose mean that is: v1's in the same phase, or `baseline.latency_mean`."""
    no_alerts: Flag = False
    """No guard with `action = "alert"` fires."""
    health: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    """Share of v2's endpoints that may take traffic, at least."""
    cache_hit_rate_above: _Above | None = None
    """v2's cache hit rate, where its backend reports one."""


class Guard(Table):
    """One entry of `[[rollouts.guards]]` or of a phase's `abort_if`: a limit and what crossing it leads to.

    Limits of latency metrics are durations, the others numbers; `limit` is in seconds or as a plain number.
    """

    metric: Metric
    """What is read."""
    above: Limit | None = None
    """Fires over this value: a duration for latencies and their difference, else a number."""
    below: Limit | None = None
    """Fires under this value, in place of `above`; `health` takes only this."""
    mode: Mode | None = None
    """sequential: fires on evidence; window: on the value over `window`. By metric unless given."""
    window_s: PositiveDuration = 10.0
    """What the value is read over, at most "1h"."""
    for_s: Duration = 0.0
    """How long the limit must be crossed without a break; above "0s" it makes it a guard over a window."""
    min_requests: Count | None = None
    """Requests before the metric counts: in the window, 20 unless given; none in sequential mode."""
    action: Action = Action.ROLLBACK
    """abort or rollback: to 0; previous: one phase back; step_down: `step` points less; pause; alert."""
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

    @property
    def is_sequential(self) -> bool:
        """Whether evidence decides, and not the value over a window."""
        if self.mode is not None:
            return self.mode is Mode.SEQUENTIAL
        if self.action is Action.ALERT:  # which people expect at the limit, and which costs nothing
            return False
        return self.metric in SEQUENTIAL and bool(self.above) and self.for_s == 0.0

    @property
    def needed(self) -> int:
        """`min_requests`, or what stands for it where it is not given."""
        if self.min_requests is None:
            return 0 if self.is_sequential else _WINDOW_SAMPLE
        return self.min_requests

    @field_serializer("above", "below", mode="wrap", when_used="json-unless-none")
    def _limit_as_written(self, limit: float, _: SerializerFunctionWrapHandler) -> str | float:
        return format_limit(self.metric, limit)


class Phase(Table):
    """One entry of `[[rollouts.phases]]`: a step of the plan. Percentages rise from phase to phase.

    The gates (`approval`, `hours`, `webhook`) stand before the phase: they stop what would enter it by
    itself, a promotion or a retry, and neither a person nor a rollback.
    """

    name: Token
    """What the phase is called, once in a rollout."""
    percentage: Percentage
    """Share of keys sent to v2, above 0 up to 100, in steps of 0.001."""
    min_duration_s: Duration = 0.0
    """How long the phase lasts at least."""
    max_duration_s: PositiveDuration | None = None
    """How long it may last; without end unless given."""
    on_max_duration: Literal["hold", "pause", "rollback"] = "hold"
    """What happens then: hold says so and goes on waiting."""
    min_requests: Count = 0
    """Requests to v2 that the phase needs at least."""
    require: Criteria = Criteria()
    """Criteria that must hold before the next phase."""
    abort_if: tuple[Guard, ...] = ()
    """Guards that hold in this phase only, beside the rollout's own."""
    approval: Flag = False
    """Enter it only by a person's `promote`, which is the approval."""
    hours: tuple[Hours, ...] = ()
    """Enter it only at these hours, such as "Mon-Fri 09:00-17:00"; at any unless given."""
    timezone: TimeZone | None = None
    """Time zone of these hours; the rollout's unless given."""
    webhook: WebAddress | None = None
    """Enter it only if a POST to this address is answered 2xx."""
    webhook_timeout_s: PositiveDuration = 10.0
    """How long that may take, repeated attempts included."""

    @property
    def weight(self) -> int:
        """The phase's weight in buckets."""
        return weight_of(self.percentage)


class Steps(Table):
    """`steps` of a rollout: phases of equal size, "10%", "20%" and so on, in place of named ones."""

    by: Annotated[Percentage, Field(ge=0.1)]
    """Percentage points from step to step."""
    every_s: Duration
    """How long each lasts at least."""
    until: Percentage = 100.0
    """Where they end."""
    min_requests: Count = 0
    """Requests to v2 that each needs at least."""
    require: Criteria = Criteria()
    """Criteria that must hold before each next step."""
    abort_if: tuple[Guard, ...] = ()
    """Guards that hold while there are steps."""

    def phases(self) -> tuple[Phase, ...]:
        """The phases that they stand for."""
        count = -(-weight_of(self.until) // max(weight_of(self.by), 1))
        return tuple(self._phase(min(self.until, round(self.by * n, 3))) for n in range(1, count + 1))

    def _phase(self, percentage: float) -> Phase:
        return Phase.model_construct(
            name=f"{percentage:g}%",
            percentage=percentage,
            min_duration_s=self.every_s,
            min_requests=self.min_requests,
            require=self.require,
            abort_if=self.abort_if,
        )


class Freeze(Table):
    """One entry of `freeze`: a time in which nothing goes up by itself."""

    begins_at: Annotated[Instant, Field(alias="from")]
    """When it begins, as RFC 3339 with an offset: "2026-12-24T00:00:00Z"."""
    ends_at: Annotated[Instant, Field(alias="until")]
    """When it ends."""
