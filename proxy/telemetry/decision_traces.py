"""Decisions as traces: each move of a rollout is a trace of its own, linked to requests that show why.

Owns how a notice reads as a span. Those links, and the event on the spans of requests that were under way,
lead from a rollback to what was seen of it and back. Must never know who decides, nor where spans are sent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.notice import MOVES, NoticeKind
from proxy.core.series import CLIENT
from proxy.model import BUCKETS
from proxy.telemetry.span_export import SpanExport
from proxy.telemetry.span_wire import ERROR, INTERNAL, Event, Span, encoded
from proxy.telemetry.tracing import ROLLBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.config.schema import Config
    from proxy.core.notice import Notice
    from proxy.core.series import SeriesTable
    from proxy.telemetry.span_export import Count
    from proxy.telemetry.span_wire import Attributes, Value

_RETREATS: Final = frozenset({NoticeKind.ROLLBACK, NoticeKind.ABORT})
_NO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class _Decision:
    notice: Notice
    links: tuple[tuple[str, str], ...]


def decision_traces(
    config: Config,
    count: Count,
    measured: Callable[[], SeriesTable],
    before: DecisionTraces | None = None,
) -> DecisionTraces | None:
    """What sends decisions under a configuration, if anything does: that from `before` where nothing has
    changed for it. `measured` has the exemplars. Raises `ConfigError` if a file of its TLS cannot be used."""
    telemetry = config.telemetry
    if telemetry.otlp_endpoint is None or not telemetry.traces.enabled:
        return None
    if before is not None and before.settings == telemetry:
        return before
    return DecisionTraces(SpanExport(telemetry, _encoded, count), measured, telemetry)


class DecisionTraces:
    """`ports.Announcer` that has the moves of rollouts sent. `settings` are those that it is good for."""

    def __init__(
        self,
        export: SpanExport[_Decision],
        measured: Callable[[], SeriesTable],
        settings: object = None,
    ) -> None:
        self.export = export
        self.settings = settings
        self._measured = measured

    def __repr__(self) -> str:
        return f"DecisionTraces({self.export!r})"

    def announce(self, notice: Notice) -> None:
        """Puts it into the queue, or drops and counts it if there is no room."""
        if notice.kind not in MOVES:
            return
        spans = self._spans_of(notice.rollout) if notice.exemplars else {}
        links = tuple((trace_id, spans.get(trace_id, _NO_SPAN)) for trace_id in notice.exemplars)
        self.export.put(_Decision(notice, links), 1)

    def _spans_of(self, rollout: str) -> Mapping[str, str]:
        """The spans of its exemplars, by their traces."""
        return {
            exemplar.trace_id: exemplar.span_id
            for labels, series in self._measured().family(CLIENT)
            if labels.rollout == rollout
            for exemplar in series.exemplars.values()
        }


def _encoded(decision: _Decision) -> list[bytes]:
    return [encoded(_span(decision))]


def _span(decision: _Decision) -> Span:
    notice = decision.notice
    retreats = notice.kind in _RETREATS
    rolled_back = Event(ROLLBACK, notice.at, [("dualpath.rollout", notice.rollout)])
    return Span(
        name=f"{notice.kind.value} {notice.rollout}",
        kind=INTERNAL,
        trace_id=secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        parent_id="",
        start_s=notice.at,
        end_s=notice.at,
        attributes=_attributes(notice),
        events=(rolled_back,) if retreats else (),
        links=decision.links,
        status=ERROR if retreats else 0,
        status_message=notice.reason if retreats else "",
    )


def _attributes(notice: Notice) -> Attributes:
    known: list[tuple[str, Value | None]] = [
        ("dualpath.rollout", notice.rollout),
        ("dualpath.decision", notice.kind.value),
        ("dualpath.severity", notice.severity.value),
        ("dualpath.reason", notice.reason),
        ("dualpath.cause", notice.cause),
        ("dualpath.action", notice.action),
        ("dualpath.actor", notice.actor),
        ("dualpath.state", None if notice.state is None else notice.state.value),
        ("dualpath.revision", notice.revision),
        ("dualpath.phase", notice.phase),
        ("dualpath.phase_before", notice.phase_before),
        ("dualpath.weight", _weight(notice.percentage)),
        ("dualpath.weight_before", _weight(notice.percentage_before)),
        ("dualpath.metric", notice.metric or None),
        ("dualpath.value", notice.value),
        ("dualpath.limit", notice.limit),
        ("dualpath.sample", notice.sample),
    ]
    return [(name, value) for name, value in known if value is not None]


def _weight(percentage: float | None) -> int | None:
    return None if percentage is None else round(percentage * BUCKETS / 100)
