"""A notice as it is sent: who sends it, in words for people, and as JSON for their tools.

Owns the words. They carry value, limit, sample, rollout, phase and what was done, each where there is one.
Must never know a sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, Final

from proxy.core.notice import NoticeKind
from proxy.judgment import Metric

if TYPE_CHECKING:
    from proxy.core.notice import Notice

_TITLES: Final = {
    NoticeKind.STARTED: "started at {percentage}",
    NoticeKind.PHASE: "entered phase {phase}, {moved}",
    NoticeKind.RAISED: "was raised {moved}",
    NoticeKind.RESUMED: "goes on at {percentage}",
    NoticeKind.COMPLETED: "is complete at {percentage}",
    NoticeKind.CHANGED: "was changed by the configuration",
    NoticeKind.LOWERED: "was lowered {moved}",
    NoticeKind.PAUSED: "was paused at {percentage}",
    NoticeKind.ROLLBACK: "was rolled back {moved}",
    NoticeKind.ABORT: "was aborted {moved}",
}
_SECONDS: Final = frozenset(
    {Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99, Metric.LATENCY_DELTA_MEAN}
)
_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Message:
    """One notice on its way out. `id` is the same for every attempt to send it; they all may take `within_s`
    at most, whatever time its sink has for others."""

    id: str
    instance: str
    notice: Notice
    repeated: bool = False
    within_s: float = inf

    @property
    def status(self) -> str:
        """`event`, or `firing` and later `resolved`."""
        if not self.notice.lasts:
            return "event"
        return "resolved" if self.notice.resolved else "firing"

    @property
    def title(self) -> str:
        """What has happened, in one line."""
        return one_line(_title(self.notice))

    @property
    def reason(self) -> str:
        """Why, in one line: a store's own words may be in it, and they may be anything."""
        return one_line(self.notice.reason)

    @property
    def text(self) -> str:
        """All that is known of it, a line for each fact."""
        facts = [f"{name}: {value}" for name, value in self.facts()]
        return "\n".join([self.title, self.reason, *facts])

    def facts(self) -> list[tuple[str, str]]:
        """Names and values for people, those that there are."""
        notice = self.notice
        known = {
            "rollout": notice.rollout,
            "phase": _change(notice.phase_before, notice.phase),
            "share of v2": _share(notice),
            "metric": notice.metric,
            "value": figure(notice.metric, notice.value),
            "limit": figure(notice.metric, notice.limit),
            "sample": "" if notice.sample is None else f"{notice.sample:,} requests",
            "done": f"{notice.action} by {notice.actor}" if notice.action else "",
            "traces": " ".join(notice.exemplars),
            "instance": self.instance,
        }
        return [(name, one_line(value)) for name, value in known.items() if value]

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        notice = self.notice
        return {
            "id": self.id,
            "key": notice.key,
            "kind": notice.kind,
            "status": self.status,
            "repeated": self.repeated,
            "severity": notice.severity,
            "title": self.title,
            "reason": self.reason,
            "at": instant(notice.at),
            "instance": self.instance,
            "rollout": notice.rollout or None,
            "subject": notice.subject or None,
            "state": notice.state,
            "phase": {"before": notice.phase_before, "after": notice.phase},
            "percentage": {"before": notice.percentage_before, "after": notice.percentage},
            "revision": notice.revision,
            "cause": notice.cause or None,
            "action": notice.action or None,
            "actor": notice.actor,
            "metric": notice.metric or None,
            "value": notice.value,
            "limit": notice.limit,
            "sample": notice.sample,
            "trace_ids": list(notice.exemplars),
        }


def figure(metric: str, value: float | None) -> str:
    """A value of a metric for people."""
    if value is None:
        return ""
    return f"{value:.3g} s" if metric in _SECONDS else f"{value:.3g}"


def instant(at: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_line(text: str) -> str:
    """Without what could end a line or steer a terminal, and not without end."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _title(notice: Notice) -> str:
    if notice.kind in _TITLES:
        percentage = "" if notice.percentage is None else f"{notice.percentage:g} %"
        words = _TITLES[notice.kind].format(percentage=percentage, phase=notice.phase, moved=_moved(notice))
        return f"{notice.rollout} {words}"
    if notice.kind is NoticeKind.TEST:
        return "test of dualpath's alerts"
    state = "is over" if notice.resolved else "fires"
    match notice.kind:
        case NoticeKind.STORE:
            return "the store works again" if notice.resolved else "the store is lost"
        case NoticeKind.WORKER:
            return f"{notice.subject} {'stays up again' if notice.resolved else 'does not stay up'}"
        case NoticeKind.CONFLICT:
            return f"{notice.rollout}: instances disagreed, the more careful state stays"
        case NoticeKind.GUARD:
            return f"{notice.rollout}: guard {notice.subject} {state}"
        case _:
            about = f"{notice.rollout}: " if notice.rollout else ""
            return f"{about}{notice.subject} {state}"


def _moved(notice: Notice) -> str:
    before, after = notice.percentage_before or 0.0, notice.percentage or 0.0
    return f"from {before:g} % to {after:g} %"


def _share(notice: Notice) -> str:
    if notice.percentage is None:
        return ""
    return _change(f"{notice.percentage_before or 0.0:g} %", f"{notice.percentage:g} %")


def _change(before: str | None, after: str | None) -> str:
    if before == after:
        return after or ""
    return f"{before or 'none'} → {after or 'none'}"
