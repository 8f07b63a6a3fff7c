"""Alerts for people: what is active, how the sinks fare, silences, and a test that tells whether it arrives.

Owns the way from a request to `ports.Alerting` and back, and what both look like. It decides nothing about an
alert.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from proxy.admin import inputs, views
from proxy.admin.command_inputs import Pattern
from proxy.admin.inputs import Reason
from proxy.admin.problems import RefusedError
from proxy.admin.wire import IDENTITY, body_of, content_type_of, json_answer
from proxy.config.units import parse_duration
from proxy.core.alert_book import Silence
from proxy.core.notice import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from proxy.controlplane.controller import Controller
    from proxy.core.alert_book import ActiveAlert, AlertsReport, SinkReport, SinkTrial
    from proxy.ports import Alerting, Clock

_LONGEST_SILENCE_S: Final = 30 * 86_400.0
_MOST_PATTERNS: Final = 50
_MOST_SHOWN: Final = 50
_BY_WEIGHT: Final = tuple(Severity)
_MOST_TOLD: Final = 150  # characters of patterns, in the audit


def _lasting(value: str) -> str:
    if not 0 < parse_duration(value) <= _LONGEST_SILENCE_S:
        raise ValueError("must be above 0 and at most 30d")
    return value


_Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=_MOST_PATTERNS, strict=False)]


class _Silence(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    expires_in: Annotated[str, AfterValidator(_lasting)]
    alerts: _Patterns = ("*",)
    rollouts: _Patterns = ("*",)
    reason: Reason = ""


class _Test(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    sink: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    severity: Literal["info", "warning", "critical"] = "info"
    reason: Reason = ""


SILENCE_SCHEMA: dict[str, Any] = _Silence.model_json_schema()
TEST_SCHEMA: dict[str, Any] = _Test.model_json_schema()


class AlertHandlers:
    """One method each, by the name that its operation has."""

    def __init__(self, alerting: Alerting | None, controller: Controller, clock: Clock) -> None:
        self._given = alerting
        self._controller = controller
        self._clock = clock

    @property
    def _alerting(self) -> Alerting:
        if self._given is None:
            raise RefusedError(503, "nothing is alerted here")
        return self._given

    async def alerts(self, request: web.Request) -> web.Response:
        """What lasts, the silences, the sinks."""
        inputs.refuse_query(request.query.items())
        return json_answer(_report_view(self._alerting.report()))

    def document(self) -> views.JsonObject | None:
        """What the board shows of it: the newest that are active, the newest first, how many there are in
        all, how many of them nobody has silenced, and how bad the worst of those is; None where nothing is
        alerted."""
        if self._given is None:
            return None
        report = self._given.report()
        newest = replace(report, active=report.active[: -_MOST_SHOWN - 1 : -1])
        loud = [alert.notice.severity for alert, silence in report.active if silence is None]
        worst = max(loud, key=_BY_WEIGHT.index, default=None)
        return {**_report_view(newest), "count": len(report.active), "loud": len(loud), "worst": worst}

    async def test_alerts(self, request: web.Request) -> web.Response:
        """Send a test now, and say what became of it at each sink."""
        inputs.refuse_query(request.query.items())
        body = await self._read(request, _Test)
        trials = await self._alerting.test(request[IDENTITY].name, body.severity, body.reason, body.sink)
        return json_answer({"sinks": [_trial_view(one) for one in trials]})

    async def silence(self, request: web.Request) -> web.Response:
        """Keep alerts from being sent for a while."""
        inputs.refuse_query(request.query.items())
        body = await self._read(request, _Silence)
        now = self._clock.wall()
        wanted = Silence(
            id=secrets.token_hex(4),
            begins_at=now,
            ends_at=now + parse_duration(body.expires_in),
            alerts=body.alerts,
            rollouts=body.rollouts,
            actor=request[IDENTITY].name,
            reason=body.reason,
        )
        self._alerting.silence(wanted)
        until = f"until {views.instant(wanted.ends_at)}"
        await self._note("silence:set", wanted, until, wanted.actor, wanted.reason)
        return json_answer(silence_view(wanted))

    async def unsilence(self, request: web.Request) -> web.Response:
        """End a silence; answers with what it was."""
        reason = inputs.read_reason_query(request.query.items())
        actor = request[IDENTITY].name
        was = self._alerting.unsilence(request.match_info["id"], actor)
        await self._note("silence:ended", was, f"of {was.actor}", actor, reason)
        return json_answer(silence_view(was))

    async def _note(self, cause: str, silence: Silence, which: str, actor: str, reason: str) -> None:
        """Into the audit of the rollouts that it covers; of all, if it covers none."""
        states = self._controller.states()
        covered = [
            state.name for state in states if any(fnmatchcase(state.name, one) for one in silence.rollouts)
        ]
        alerts, rollouts = (_listed(patterns) for patterns in (silence.alerts, silence.rollouts))
        what = f"silence {silence.id} {which}: {alerts} on {rollouts}"
        await self._controller.note(cause, f"{reason}: {what}" if reason else what, actor, covered or None)

    @staticmethod
    async def _read(request: web.Request, shape: type[inputs.Shape]) -> inputs.Shape:
        raw, content_type = await body_of(request), content_type_of(request)
        fields = inputs.fields_of(raw, content_type)
        body = inputs.validated(shape, fields)
        inputs.refuse_twice(raw, fields)
        return body


def _listed(patterns: Sequence[str]) -> str:
    found = ", ".join(patterns)
    return found if len(found) <= _MOST_TOLD else f"{found[: _MOST_TOLD - 1]}…"


def _report_view(report: AlertsReport) -> views.JsonObject:
    return {
        "active": [_active_view(alert, silence) for alert, silence in report.active],
        "silences": [silence_view(one) for one in report.silences],
        "sinks": [_sink_view(one) for one in report.sinks],
    }


def silence_view(silence: Silence) -> views.JsonObject:
    """A silence as JSON."""
    return {
        "id": silence.id,
        "from": views.instant(silence.begins_at),
        "until": views.instant(silence.ends_at),
        "alerts": list(silence.alerts),
        "rollouts": list(silence.rollouts),
        "actor": silence.actor,
        "reason": silence.reason,
    }


def _active_view(alert: ActiveAlert, silence: Silence | None) -> views.JsonObject:
    notice = alert.notice
    return {
        "key": notice.key,
        "kind": notice.kind,
        "severity": notice.severity,
        "rollout": notice.rollout or None,
        "subject": notice.subject,
        "reason": notice.reason,
        "since": views.instant(alert.since),
        "sent_at": None if alert.sent_at is None else views.instant(alert.sent_at),
        "silence": None if silence is None else silence.id,
        "metric": notice.metric or None,
        "value": notice.value,
        "limit": notice.limit,
        "sample": notice.sample,
    }


def _sink_view(sink: SinkReport) -> views.JsonObject:
    return {
        "name": sink.name,
        "kind": sink.kind,
        "sent": sink.sent,
        "failed": sink.failed,
        "dropped": sink.dropped,
        "waiting": sink.waiting,
        "trouble": sink.trouble or None,
    }


def _trial_view(trial: SinkTrial) -> views.JsonObject:
    return {
        "name": trial.name,
        "kind": trial.kind,
        "taken": not trial.trouble,
        "trouble": trial.trouble or None,
        "seconds": round(trial.seconds, 3),
    }
