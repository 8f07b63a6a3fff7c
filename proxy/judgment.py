"""What is said of v2 as values: what guards and criteria read, what a phase still needs, and the verdict.

Everything here is frozen or an enumeration. It must never know how a verdict is come to (`core.judge`) or
carried out (`core.rollout`). Units: shares are 0..1, latencies seconds, steps buckets as in `model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Outcome of a judgment, in order of precedence: fail, hold, pass."""

    FAIL = "fail"
    HOLD = "hold"
    PASS = "pass"


class Action(StrEnum):
    """What a guard does when its limit is crossed."""

    ABORT = "abort"
    ROLLBACK = "rollback"
    PREVIOUS = "previous"
    STEP_DOWN = "step_down"
    PAUSE = "pause"
    ALERT = "alert"


class Mode(StrEnum):
    """How a guard reads its metric."""

    SEQUENTIAL = "sequential"  # a test that may be read at every tick: fires on evidence
    WINDOW = "window"  # the plain value over a window


class Metric(StrEnum):
    """What a guard or a phase criterion reads from a snapshot."""

    ERROR_RATE = "error_rate"
    FALLBACK_RATE = "fallback_rate"
    CLIENT_ERROR_RATE = "client_error_rate"
    LATENCY_P50 = "latency_p50"
    LATENCY_P95 = "latency_p95"
    LATENCY_P99 = "latency_p99"
    LATENCY_DELTA_MEAN = "latency_delta_mean"
    LATENCY_RATIO_P95 = "latency_ratio_p95"
    HEALTH = "health"
    CPU = "cpu"
    MEMORY = "memory"
    CACHE_HIT_RATE = "cache_hit_rate"
    HOST_CPU = "host_cpu"
    HOST_MEMORY = "host_memory"
    PROCESS_CPU = "process_cpu"
    PROCESS_MEMORY = "process_memory"


class Unit(StrEnum):
    """What the figures of a `Need` are counted in."""

    SECONDS = "s"
    REQUESTS = "requests"
    SHARE = "share"  # 0..1
    PERCENT = "%"
    EVIDENCE = "evidence"  # it multiplies: its logarithm grows evenly with the requests
    ALERTS = "alerts"


@dataclass(frozen=True, slots=True)
class GuardReading:
    """What one guard reads at one tick. `value` is None while the sample is smaller than its minimum."""

    guard: str
    metric: Metric
    value: float | None
    limit: float
    sample: int
    min_requests: int
    crossed: bool
    firing: bool  # crossed for at least the guard's `for`
    action: Action


@dataclass(frozen=True, slots=True)
class EvidenceReading:
    """How far one test has come: `value` has to reach `needed`. `text` says it in words."""

    name: str  # "errors", "latency_p99", "limit:error_rate"
    value: float
    needed: float
    against: bool  # evidence that v2 is worse, else that it is good
    text: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that the present phase asks for before the next, and how much of it is there.

    `criterion` is the key of the plan that asks for it (`min_requests`, `error_rate_below`), or the test that
    has to speak for v2 (`evidence:errors`) or not against it (`evidence:regression`). `have` is None while
    nothing is known. What is not `met` also stands in `Judgment.missing`, as `text`.
    """

    criterion: str
    met: bool
    have: float | None
    need: float
    unit: Unit
    seconds: float | None = None  # that it still takes at the present rate; None where that cannot be told
    requests: float | None = None  # to v2 that it still takes; None where it is no matter of requests
    text: str = ""


@dataclass(frozen=True, slots=True)
class Judgment:
    """The verdict on a snapshot, with its reasons in words and the readings behind them.

    `action` and `step` (buckets) say what to do on `fail`; `cause` names the guard or criterion
    (``guard:error_rate``, ``phase:canary``). `alerts` are firing guards whose action is `alert`.
    """

    verdict: Verdict = Verdict.HOLD
    reasons: tuple[str, ...] = ()
    cause: str = ""
    action: Action | None = None
    step: int = 0
    readings: tuple[GuardReading, ...] = ()
    alerts: tuple[GuardReading, ...] = ()
    evidence: tuple[EvidenceReading, ...] = ()
    missing: tuple[str, ...] = ()  # what the next phase waits for, in words
    needs: tuple[Need, ...] = ()  # all that the present phase asks for, met or not, while it is judged
    eta_s: float | None = None  # how long that takes at the present rate, where it can be told
