"""A fleet as `/api/v1/status` and the dashboard show it, seen from the instance that was asked.

Pure: no request, no clock, no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.fleet import Role

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
        "figures": "fleet" if report.role is Role.JUDGE else "instance",
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


def board_view(report: FleetReport) -> JsonObject:
    """The same for the dashboard: without what each instance serves, and rounded, so that it hardly changes
    while nothing does."""
    view = fleet_view(report)
    members = [_member(one) for one in report.members]
    return {
        **{name: view[name] for name in ("instance", "role", "judge", "events", "skewed")},
        "store": {
            "reached": report.reached,
            "last_s": 0 if report.reached else round(report.reached_s_ago),
            "detail": report.trouble or None,
        },
        "clock_skew_s": round(report.skew_s),
        "members": [
            {
                **{name: value for name, value in one.items() if name not in {"rollouts", "admin"}},
                "seen_s": round(seen.seen_s_ago),
                "clock_skew_s": round(seen.skew_s),
                "per_minute": None if seen.record is None else _two_digits(seen.record.per_minute),
            }
            for seen, one in zip(report.members, members, strict=True)
        ],
    }


def serving_view(report: FleetReport, rollout: str) -> list[JsonObject | None]:
    """What each member serves of one rollout, in the members' order; None where it does not say."""
    return [
        None if serving is None else {"revision": serving.revision, "weight": serving.weight}
        for serving in (
            None if one.record is None else one.record.rollouts.get(rollout) for one in report.members
        )
    ]


def _two_digits(number: int | None) -> int | None:
    return None if number is None else int(float(f"{number:.2g}"))


def _member(one: MemberView) -> JsonObject:
    """Of a record that cannot be read, nothing but that it is there."""
    record = one.record
    rollouts = {} if record is None else record.rollouts
    return {
        "instance": one.instance,
        "seen_s": round(one.seen_s_ago, 3),
        "readable": record is not None,
        "unread": one.unread or None,
        "version": None if record is None else record.version,
        "role": None if record is None else record.role,
        "admin": "" if record is None else record.admin,
        "workers": 0 if record is None else record.workers,
        "config": "" if record is None else record.config,
        "clock_skew_s": round(one.skew_s, 3),
        "behind": list(one.behind),
        "per_minute": None if record is None else record.per_minute,
        "rollouts": {
            name: {"revision": serving.revision, "weight": serving.weight}
            for name, serving in rollouts.items()
        },
    }
