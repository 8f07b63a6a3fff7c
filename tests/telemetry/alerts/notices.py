"""Notices and messages as tests want them, and stand-ins for those who take them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from proxy.config.schema import Config
from proxy.core.notice import Notice, NoticeKind, Severity
from proxy.model import State
from proxy.telemetry.alerts.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.errors import DualpathError

ROLLBACK = Notice(
    NoticeKind.ROLLBACK,
    Severity.CRITICAL,
    1_700_000_000.25,
    "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2), rollback",
    rollout="shop",
    state=State.ROLLED_BACK,
    phase_before="canary",
    percentage_before=25.0,
    percentage=0.0,
    revision=5,
    cause="guard:error_rate",
    action="rollback",
    metric="error_rate",
    value=0.315,
    limit=0.1,
    sample=200,
    exemplars=("4bf92f3577b34da6a3ce929d0e0e4736",),
)
PHASE = replace(
    ROLLBACK,
    kind=NoticeKind.PHASE,
    severity=Severity.INFO,
    reason="phase canary passed",
    phase="half",
    percentage=50.0,
    action="promote",
    metric="",
    value=None,
    limit=None,
    sample=None,
    exemplars=(),
)
FIRING = replace(ROLLBACK, kind=NoticeKind.RULE, severity=Severity.WARNING, subject="errors", action="alert")


def message(notice: Notice = ROLLBACK) -> Message:
    return Message("m1", "host-1", notice)


def config(**tables: Any) -> Config:
    backends = {path: {"endpoints": [f"http://127.0.0.1:900{path[1]}"]} for path in ("v1", "v2")}
    return Config.read({"backends": backends, **tables})


class Posted:
    """`ports.Post`: keeps what is POSTed; raises `failure` all the same."""

    def __init__(self, failure: DualpathError | None = None) -> None:
        self.urls: list[str] = []
        self.limits: list[float] = []
        self.bodies: list[bytes] = []
        self.fields: list[dict[str, str]] = []
        self.failure = failure

    async def __call__(
        self, url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self.urls.append(url)
        self.limits.append(timeout_s)
        self.bodies.append(body)
        self.fields.append(dict(headers or {}))
        if self.failure is not None:
            raise self.failure

    @property
    def documents(self) -> list[Any]:
        return [orjson.loads(body) for body in self.bodies]
