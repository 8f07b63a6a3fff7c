"""Every metric that there is: its name, type, unit, labels and meaning, as one table.

Pure data. /metrics, what is pushed and docs/metrics.md all follow it. Units are Prometheus' base units, and
stand in the names. `otel` is the name towards OpenTelemetry where it is not the same one with points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. Names of counters end in `_total` as Prometheus shows them."""

    name: str
    type: str
    unit: str  # "" for a number, else as in the name
    labels: tuple[str, ...]
    meaning: str
    otel: str = ""

    @property
    def otel_name(self) -> str:
        """What OpenTelemetry calls it."""
        return self.otel or self.name.replace("dualpath_", "dualpath.", 1).removesuffix("_total")


_SERIES: Final = ("rollout", "path", "method", "status")

REQUESTS: Final = Family(
    "http_server_request_duration_seconds",
    HISTOGRAM,
    "seconds",
    _SERIES,
    "Requests as their clients saw them, from the head to the last byte, by the path that routing chose.",
    otel="http.server.request.duration",
)
ATTEMPTS: Final = Family(
    "http_client_request_duration_seconds",
    HISTOGRAM,
    "seconds",
    _SERIES,
    "Attempts on backends, fallbacks and retries included, without the time that a client kept one waiting.",
    otel="http.client.request.duration",
)


def _counter(name: str, labels: str, meaning: str, unit: str = "") -> Family:
    return Family(name, COUNTER, unit, tuple(labels.split()), meaning)


def _gauge(name: str, labels: str, meaning: str, unit: str = "") -> Family:
    return Family(name, GAUGE, unit, tuple(labels.split()), meaning)


ASSIGNED: Final = _counter(
    "dualpath_assigned_total",
    "rollout path",
    "Requests by the path that the split chose; overridden ones are not in it.",
)
OVERRIDDEN: Final = _counter(
    "dualpath_overridden_total", "rollout", "Requests whose path an override chose; they are not judged."
)
OUTCOMES: Final = _counter(
    "dualpath_attempts_total",
    "rollout path outcome",
    "First-choice attempts, the ones that are judged: `ok`, or what failed.",
)
FALLBACKS: Final = _counter(
    "dualpath_fallbacks_total", "rollout reason", "Requests of v2 that v1 answered, by why."
)
FALLBACK_ERRORS: Final = _counter(
    "dualpath_fallback_errors_total", "rollout", "Fallbacks that v1 failed too."
)
FALLBACKS_REFUSED: Final = _counter(
    "dualpath_fallbacks_refused_total", "rollout", "Fallbacks that the budget did not allow."
)
CLIENT_ANSWERS: Final = _counter(
    "dualpath_client_answers_total",
    "rollout outcome",
    "Requests as their clients saw them: `ok`, `error` (a 5xx or a broken answer), or `aborted` by leaving.",
)
WEIGHT: Final = _gauge(
    "dualpath_rollout_weight_ratio", "rollout", "Share of the keys that v2 is to have.", "ratio"
)
OBSERVED: Final = _gauge(
    "dualpath_rollout_observed_ratio",
    "rollout",
    "Share of the split requests that v2 had in the last 60 s.",
    "ratio",
)
STATE: Final = _gauge(
    "dualpath_rollout_state", "rollout state", "1 for the state that the rollout is in, 0 for others."
)
PHASE: Final = _gauge(
    "dualpath_rollout_phase", "rollout phase", "1 for the phase of the plan that it is in, 0 for others."
)
SINCE: Final = _gauge(
    "dualpath_rollout_since_timestamp_seconds",
    "rollout",
    "When it came into this state, in Unix time.",
    "seconds",
)
REVISION: Final = _gauge("dualpath_rollout_revision", "rollout", "How many transitions it has made.")
VERDICT: Final = _gauge(
    "dualpath_rollout_verdict", "rollout verdict", "1 for the judge's latest verdict, 0 for others."
)
ETA: Final = _gauge(
    "dualpath_rollout_eta_seconds",
    "rollout",
    "How long the next phase is off at the present rate, where it can be told.",
    "seconds",
)
USERS: Final = _gauge(
    "dualpath_rollout_users",
    "rollout path",
    "About how many users were split since the start: on v2, ever, and on v1 only.",
)
BREAKER: Final = _gauge(
    "dualpath_breaker_state",
    "rollout state",
    "1 for the state of v2's breaker, the worst of all workers; 0 for others.",
)
DETECTOR: Final = _gauge(
    "dualpath_detector_value",
    "rollout test side",
    "How far a test of the judge has come, against v2 or for it.",
)
DETECTOR_NEEDED: Final = _gauge(
    "dualpath_detector_needed", "rollout test side", "What that value has to reach for the test to decide."
)
GUARD: Final = _gauge(
    "dualpath_guard_value", "rollout guard", "What a guard reads; absent while its sample is too small."
)
GUARD_LIMIT: Final = _gauge("dualpath_guard_limit", "rollout guard", "The limit of that guard.")
GUARD_SAMPLE: Final = _gauge("dualpath_guard_sample", "rollout guard", "How many attempts it has read.")
GUARD_FIRING: Final = _gauge(
    "dualpath_guard_firing", "rollout guard", "1 while the limit is crossed for as long as the guard asks."
)
ENDPOINT_HEALTHY: Final = _gauge("dualpath_endpoint_healthy", "path endpoint", "1 unless its probes fail.")
ENDPOINT_EJECTED: Final = _gauge(
    "dualpath_endpoint_ejected", "path endpoint", "1 while it is left alone because requests failed."
)
ENDPOINT_ACTIVE: Final = _gauge(
    "dualpath_endpoint_active_requests", "path endpoint", "Requests that it has to answer now."
)
ENDPOINT_IDLE: Final = _gauge(
    "dualpath_endpoint_idle_connections", "path endpoint", "Connections to it that wait in the pools."
)
BACKEND: Final = _gauge(
    "dualpath_backend_available_ratio", "path", "Share of a path's endpoints that may take traffic.", "ratio"
)
CONNECTIONS: Final = _gauge("dualpath_connections", "process", "Client connections that are open.")
ACTIVE: Final = _gauge("dualpath_active_requests", "process", "Requests that are under way.")
LAG: Final = _gauge(
    "dualpath_event_loop_lag_seconds",
    "process",
    "How late the event loop came round, when last seen.",
    "seconds",
)
TUNNELS: Final = _gauge("dualpath_tunnels", "path", "Tunnels that are open.")
REFUSED: Final = _counter(
    "dualpath_refused_total", "reason", "What was turned away without asking a backend, by why."
)
WORKERS: Final = _gauge("dualpath_workers", "", "Processes that serve requests.")
CPU: Final = _counter(
    "dualpath_process_cpu_seconds_total", "process", "CPU time, user and system.", "seconds"
)
MEMORY: Final = _gauge("dualpath_process_resident_memory_bytes", "process", "Memory in use.", "bytes")
FILES: Final = _gauge("dualpath_process_open_files", "process", "Open file descriptors, sockets included.")
STARTED: Final = _gauge(
    "dualpath_process_start_timestamp_seconds", "process", "When it was started, in Unix time.", "seconds"
)
STORE_WAITING: Final = _gauge(
    "dualpath_store_waiting",
    "",
    "Changes and events that are in force and not stored: the store does not work.",
)
FLEET_MEMBERS: Final = _gauge("dualpath_fleet_members", "", "Instances that share the store, with this one.")
FLEET_JUDGE: Final = _gauge("dualpath_fleet_judge", "", "1 if this instance judges for all.")
FLEET_REACHED: Final = _gauge(
    "dualpath_fleet_store_reached", "", "0 while the shared store does not answer: nothing is raised here."
)
FLEET_LATENCY: Final = _gauge(
    "dualpath_fleet_store_latency_seconds", "", "How long the last exchange with the store took.", "seconds"
)
FLEET_BEHIND: Final = _gauge(
    "dualpath_fleet_behind_members", "", "Instances that do not serve the newest revision of every rollout."
)
FLEET_SKEW: Final = _gauge(
    "dualpath_fleet_clock_skew_seconds", "", "How far our clock is ahead of the store's.", "seconds"
)
FLEET_REPORTS: Final = _counter(
    "dualpath_fleet_reports_total",
    "outcome",
    "Reports of evidence: ours `sent`; of others `taken`, `repeated`, `missing`, `late`, `unread`.",
)
CONFIG_LOADED: Final = _gauge(
    "dualpath_config_loaded_timestamp_seconds",
    "",
    "When the configuration in force was read, in Unix time.",
    "seconds",
)
CONFIG_GOOD: Final = _gauge(
    "dualpath_config_last_reload_successful", "", "0 if a later configuration was refused."
)
BUILD: Final = _gauge("dualpath_build_info", "version python", "Always 1; what runs stands in the labels.")
TELEMETRY: Final = _counter(
    "dualpath_telemetry_items_total",
    "signal outcome",
    "Spans, log lines, notices and pushes: `exported`, `dropped` for want of room, or `failed` for good.",
)

FAMILIES: Final = tuple(value for value in globals().values() if isinstance(value, Family))
"""All of them, in this order."""
