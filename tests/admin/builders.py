"""Reports, events and configurations that tests of the admin and of the command line start from."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from proxy.config.schema import Config
from proxy.judgment import Action, EvidenceReading, GuardReading, Judgment, Metric, Need, Unit, Verdict
from proxy.model import (
    EndpointStatus,
    ErrorClass,
    Event,
    FallbackReason,
    LatencySummary,
    Path,
    PathSummary,
    RolloutReport,
    RolloutState,
    Snapshot,
    State,
    Transition,
)

RUNNING = RolloutState(
    "default", State.RUNNING, 30_000, "half", revision=4, since=1_767_225_600.5, reason="why"
)
ROLLED_BACK = RolloutState(
    "default", State.ROLLED_BACK, 0, revision=5, since=1_767_225_661.0, reason="too many"
)
READING = GuardReading(
    guard="error_rate above 0.1",
    metric=Metric.ERROR_RATE,
    value=0.3,
    limit=0.1,
    sample=200,
    min_requests=20,
    crossed=True,
    firing=True,
    action=Action.ROLLBACK,
)
FAILED = Judgment(
    Verdict.FAIL,
    ("guard error_rate above 0.1: 0.3",),
    "guard:error_rate",
    Action.ROLLBACK,
    readings=(READING,),
    evidence=(EvidenceReading("errors", 4.7, 4.60517, against=True, text="60 of 200"),),
    missing=("errors below 0.02",),
    needs=(Need("error_rate_below", False, 0.3, 0.02, Unit.SHARE, text="errors below 0.02"),),
)
V1 = PathSummary(700, 7, ((ErrorClass.STATUS, 7),), LatencySummary(0.02, 0.01, 0.03, 0.04, 0.05, 0.5))
V2 = PathSummary(
    200,
    60,
    ((ErrorClass.STATUS, 40), (ErrorClass.RESET, 20)),
    LatencySummary(0.03, 0.02, 0.05, 0.08, 0.1, 1.5),
)
SEEN = Snapshot(
    window_s=60.0,
    v1=V1,
    v2=V2,
    assigned_v1=700,
    assigned_v2=300,
    overridden=3,
    fallbacks=75,
    fallbacks_by_reason=((FallbackReason.STATUS, 60), (FallbackReason.BREAKER, 15)),
    fallback_errors=1,
    fallbacks_over_budget=2,
    client_requests=1000,
    client_errors=8,
    client_aborts=4,
)
ENDPOINTS = (
    EndpointStatus(
        Path.V1, "http://127.0.0.1:9001", healthy=True, ejected=False, outstanding=2, idle_connections=5
    ),
    EndpointStatus(
        Path.V2, "http://127.0.0.1:9002", healthy=True, ejected=True, outstanding=0, idle_connections=0
    ),
)
REPORT = RolloutReport(RUNNING, FAILED, total=SEEN, recent=SEEN, breaker="half_open", endpoints=ENDPOINTS)
EMPTY_REPORT = RolloutReport(RUNNING, Judgment(), total=Snapshot(), recent=Snapshot(window_s=60.0))
EVENT = Event(
    9,
    Transition(
        RUNNING, ROLLED_BACK, "guard:error_rate", "too many", "controller", 1_767_225_661.0, FAILED, "c" * 64
    ),
    "a" * 64,
)

VIEWER, OPERATOR = "viewer-token", "operator-token"


def config(**admin: Any) -> Config:
    """A configuration with these values in its `[admin]` table."""
    backends = {
        path: {"endpoints": [f"http://127.0.0.1:{port}"]} for path, port in (("v1", 9001), ("v2", 9002))
    }
    return Config.read({"backends": backends, "admin": admin, "rollouts": [{"name": "default"}]})


def token(name: str, role: str, secret: str) -> dict[str, str]:
    """An entry of `admin.tokens`."""
    return {"name": name, "role": role, "sha256": sha256(secret.encode()).hexdigest()}


TOKENS = [token("eve", "viewer", VIEWER), token("bob", "operator", OPERATOR)]
