"""The words of dualpath as values: what layers hand to one another.

Everything here is frozen or an enumeration; nothing here knows a socket, a clock, a file or a library.

Units: weights are buckets out of `BUCKETS` (0.001 % each), latencies are seconds unless the name ends in
`_ms`, instants named `at` or `since` are seconds since the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from proxy.judgment import Judgment  # noqa: TC001 - a transition is read from JSON by its annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKETS = 100_000
"""Number of buckets that keys hash into; a weight of `BUCKETS` is 100 %."""


class Path(StrEnum):
    """One of the two versions of the service."""

    V1 = "v1"
    V2 = "v2"


class State(StrEnum):
    """Where a rollout stands. The legal moves are the table in `core.rollout`."""

    DISABLED = "disabled"
    RUNNING = "running"
    PAUSED = "paused"
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"
    ABORTED = "aborted"


class Verb(StrEnum):
    """What a person or a guard can ask of a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    SET = "set"
    ABORT = "abort"
    STEP_DOWN = "step_down"


class Stage(StrEnum):
    """How far a rollout has come, in the words of a summary; `core.rollout.stage` derives it."""

    DISABLED = "disabled"  # v2 gets nothing
    TESTING = "testing"  # the first phase, or up to 10 % without a plan
    PARTIAL = "partial"
    FULL = "full"  # 100 %, and still watched by the plan
    COMPLETE = "complete"


class ErrorClass(StrEnum):
    """Why an attempt failed, as far as the upstream is to blame."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RESET = "reset"
    INVALID = "invalid"  # garbage, a head over the limit, contradictory framing
    TRUNCATED = "truncated"  # the body broke after the head had been accepted
    STATUS = "status"  # a complete answer with a 5xx status other than 501 and 505


class FallbackReason(StrEnum):
    """Why v1 answered a request that belonged to v2."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RESET = "reset"
    INVALID = "invalid"
    STATUS = "status"
    BREAKER = "breaker"  # v2 was not asked: the breaker is open
    UNAVAILABLE = "unavailable"  # v2 was not asked: no healthy endpoint


class Latencies(Protocol):
    """Latency of one path over one window, in seconds; all zero when there was no sample."""

    @property
    def mean(self) -> float: ...
    @property
    def p50(self) -> float: ...
    @property
    def p90(self) -> float: ...
    @property
    def p95(self) -> float: ...
    @property
    def p99(self) -> float: ...
    @property
    def max(self) -> float: ...

    def buckets(self) -> Sequence[tuple[int, int]]:
        """How many latencies are in each bucket of `core.histogram` that is not empty, ascending."""


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """`Latencies` as plain values."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0

    def buckets(self) -> Sequence[tuple[int, int]]:
        """Not known."""
        return ()


@dataclass(frozen=True, slots=True)
class PathSummary:
    """One path's raw attempts over one window, before any fallback hid them.

    `requests` counts attempts that were first choices: fallback attempts on v1, overridden users, probes and
    attempts that the client cut short are not in it.
    """

    requests: int = 0
    errors: int = 0
    errors_by_class: tuple[tuple[ErrorClass, int], ...] = ()
    latency: Latencies = LatencySummary()

    @property
    def error_rate(self) -> float:
        """Errors per attempt, 0..1; 0 when there was none."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen reading of one rollout's window.

    `assigned_v1` and `assigned_v2` count requests by the path that routing chose, whether or not that path
    was then asked (an open breaker diverts without an attempt); overridden requests are in neither, only in
    `overridden`. `not_asked` counts assigned v2 requests that v2 was never sent (breaker open, no endpoint).
    `fallbacks` counts assigned v2 requests that v1 answered, `fallback_errors` those of them that v1 failed
    too. `client_*` is what clients saw over all requests but `client_aborts`, who left before their answer.
    """

    window_s: float = 0.0
    v1: PathSummary = PathSummary()
    v2: PathSummary = PathSummary()
    assigned_v1: int = 0
    assigned_v2: int = 0
    overridden: int = 0
    not_asked: int = 0
    fallbacks: int = 0
    fallbacks_by_reason: tuple[tuple[FallbackReason, int], ...] = ()
    fallback_errors: int = 0
    fallbacks_over_budget: int = 0
    client_requests: int = 0
    client_errors: int = 0
    client_aborts: int = 0
    health_v1: float = 1.0
    health_v2: float = 1.0

    @property
    def fallback_rate(self) -> float:
        """Fallbacks per request assigned to v2, 0..1; 0 when there was none."""
        return self.fallbacks / self.assigned_v2 if self.assigned_v2 else 0.0

    @property
    def client_error_rate(self) -> float:
        """Failed answers per request as clients saw them, 0..1."""
        return self.client_errors / self.client_requests if self.client_requests else 0.0

    @property
    def observed_percentage(self) -> float:
        """Share of the split traffic that routing gave to v2, in percent 0..100."""
        total = self.assigned_v1 + self.assigned_v2
        return 100.0 * self.assigned_v2 / total if total else 0.0


@dataclass(frozen=True, slots=True)
class RolloutState:
    """All that is stored of a rollout. `revision` grows by one with every transition."""

    name: str
    state: State
    weight: int
    phase: str | None = None
    revision: int = 0
    since: float = 0.0
    reason: str = ""
    retries: int = 0  # starts by `auto_retry` since the last start by a person
    rolled_back_from: str | None = None  # the phase that a rollback by the judge ended

    @property
    def percentage(self) -> float:
        """The weight in percent, 0..100."""
        return self.weight * 100.0 / BUCKETS


@dataclass(frozen=True, slots=True)
class Transition:
    """A move from `before` to `after`: both the state change and its audit record.

    A firing alert is a transition whose `after` is `before`: an event without a change of state or revision.
    """

    before: RolloutState
    after: RolloutState
    cause: str  # "command:set", "guard:error_rate", "phase:canary", "config", "alert:latency_p95"
    reason: str
    actor: str  # "config", "controller", or the name of the person's token
    at: float
    judgment: Judgment | None = None
    config: str = ""  # hash of the configuration by which it was decided, as `config.export.digest` has it

    @property
    def changes_state(self) -> bool:
        """Whether this is a change of state, not only an event."""
        return self.after.revision != self.before.revision


@dataclass(frozen=True, slots=True)
class Event:
    """A committed transition as the audit shows it; `seq` grows by one and has no gaps, and `hash` chains it
    to all events before it, as `core.audit` has it."""

    seq: int
    transition: Transition
    hash: str = ""


@dataclass(frozen=True, slots=True)
class KeyOverride:
    """A key that a person has sent to one path of a rollout, whatever its bucket says, until `expires_at`."""

    rollout: str
    key: str
    path: Path
    actor: str
    at: float
    expires_at: float | None = None  # None: until it is removed
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks of one rollout. `weight` (buckets) goes with `set` and `rollback`."""

    rollout: str
    verb: Verb
    actor: str
    reason: str = ""
    weight: int | None = None
    full: bool = False
    revision: int | None = None  # refuse with a conflict unless this is the present revision


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint as the data plane sees it."""

    path: Path
    url: str
    healthy: bool
    ejected: bool
    outstanding: int
    idle_connections: int


@dataclass(frozen=True, slots=True)
class BackendReport:
    """What v2's endpoints say of themselves, shares 0..1; None where none says it, or none of late."""

    cpu: float | None = None
    memory: float | None = None
    cache_hit_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Users:
    """About how many keys a rollout has split since the process started, and how many of them v2 ever had."""

    seen: int = 0
    v2: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a key goes where it goes."""

    rollout: str | None
    path: Path
    rule: str  # "deny v2", "allow v2", "bucket < weight", "bucket >= weight", "no key", "no route"
    key: str | None = None
    bucket: int | None = None
    weight: int = 0
    override: KeyOverride | None = None  # the one that won, if one did: who set it, and until when


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """One rollout as the admin shows it: its state, the latest judgment, and two readings."""

    state: RolloutState
    judgment: Judgment
    total: Snapshot  # since this process started
    recent: Snapshot  # the last 60 s
    stage: Stage = Stage.DISABLED
    breaker: str = "closed"
    endpoints: tuple[EndpointStatus, ...] = field(default=())
    users: Users = Users()


@dataclass(frozen=True, slots=True)
class Pulse:
    """One rollout at one moment, as cheaply as it can be had: no judgment, and `total` without its
    latencies."""

    state: RolloutState
    total: Snapshot  # since this process started
    recent: Snapshot  # the last 60 s
