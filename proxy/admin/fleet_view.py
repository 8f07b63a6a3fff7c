"""A fleet as `/api/v1/status` shows it, seen from the instance that was asked.

Pure: no request, no clock, no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.admin.views import JsonObject
    from proxy.core.members import FleetReport, MemberView


def fleet_view(report: FleetReport) -> JsonObject:
    """Who judges, who is there, and how far each is from what is stored."""
    received = report.received
    return {
        "instance": report.instance,
        "role": report.role,
        "judge": report.judge,
        "lease_s": round(report.lease_s, 3),
        "store": {
            "reached": report.reached,
            "last_s": round(report.reached_s_ago, 3),
            "latency_ms": round(report.store_s * 1000, 3),
            "detail": report.trouble or None,
        },
        "clock_skew_s": round(report.skew_s, 3),
        "events": {"stored": report.head, "copied": report.copied},
        "reports": {
            "sent": report.sent,
            "taken": received.taken,
            "repeated": received.repeated,
            "missing": received.missing,
            "late": received.late,
            "unread": received.unread,
        },
        "skewed": sum(bool(one.behind) for one in report.members),
        "members": [_member(one) for one in report.members],
    }


def _member(one: MemberView) -> JsonObject:
    """Of a record that cannot be read, nothing but that it is there."""
    record = one.record
    rollouts = {} if record is None else record.rollouts
    return {
        "instance": one.instance,
        "seen_s": round(one.seen_s_ago, 3),
        "readable": record is not None,
        "version": None if record is None else record.version,
        "role": None if record is None else record.role,
        "admin": "" if record is None else record.admin,
        "workers": 0 if record is None else record.workers,
        "config": "" if record is None else record.config,
        "clock_skew_s": round(one.skew_s, 3),
        "behind": list(one.behind),
        "rollouts": {
            name: {"revision": serving.revision, "weight": serving.weight}
            for name, serving in rollouts.items()
        },
    }
