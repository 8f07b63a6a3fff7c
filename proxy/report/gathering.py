"""What a report is made from, asked of the admin API.

Owns the paging, and that a rollout without minutes still has a report. It must never know what is made of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from proxy.admin_client import AdminApiError

if TYPE_CHECKING:
    from proxy.admin_client import AdminApi

JsonDocument = dict[str, Any]

_AT_ONCE: Final = 1000
_MOST_EVENTS: Final = 20_000
_MINUTES_AT_ONCE: Final = 1440
_MOST_MINUTES: Final = 45 * 1440


@dataclass(frozen=True, slots=True)
class Material:
    """One rollout: as it stands, its table in the configuration, its audit and its minutes, oldest first. If
    it moved before `start`, or has not moved at all, `stood` is how it stood then. `local_only`: the shared
    store could not be reached, so that the audit is what one instance knows."""

    instance: str
    version: str
    at: float
    rollout: JsonDocument
    plan: JsonDocument
    events: list[JsonDocument] = field(default_factory=list)
    minutes: list[JsonDocument] = field(default_factory=list)
    start: float = 0.0
    stood: JsonDocument | None = None
    local_only: bool = False


async def gather(admin: AdminApi, name: str, since: float | None, at: float) -> Material:
    """All of it, from `since` on or from when the rollout was last started. Raises `AdminApiError`."""
    status = await admin.status()
    rollout = next((one for one in status["rollouts"] if one["name"] == name), None)
    if rollout is None:
        raise AdminApiError(f"there is no rollout {name!r}")
    tables = (await admin.config())["rollouts"]
    events, local_only = await _events(admin, name)
    known = epoch(events[0]["at"] if events else rollout["since"])  # of what was before, nothing is
    start = _started(events, known) if since is None else max(since, known)
    try:
        minutes = await _minutes(admin, name, max(start, at - _MOST_MINUTES * 60.0), at)
    except AdminApiError:
        if not local_only:
            raise
        minutes = []  # of these nobody has a copy
    return Material(
        instance=status["instance"],
        version=status["version"],
        at=at,
        rollout=rollout,
        plan=next((one for one in tables if one["name"] == name), {}),
        events=[one for one in events if epoch(one["at"]) >= start],
        minutes=minutes,
        start=start,
        stood=_stood(events, rollout, start),
        local_only=local_only,
    )


def epoch(instant: str) -> float:
    """ "2026-01-01T00:00:00.000Z" in seconds since 1970."""
    return datetime.fromisoformat(instant).astimezone(UTC).timestamp()


def _started(events: list[JsonDocument], known: float) -> float:
    """When v2 last began to get anything after it had nothing; else as far back as anything is known."""
    found = [
        epoch(one["at"])
        for one in events
        if one["changes_state"] and one["before"]["percentage"] == 0.0 and one["after"]["percentage"] > 0.0
    ]
    return found[-1] if found else known


def _stood(events: list[JsonDocument], rollout: JsonDocument, start: float) -> JsonDocument:
    """How it stood at `start`, by the moves before and after; without any, as it stands."""
    stood: JsonDocument | None = None
    for one in events:
        if one["changes_state"]:
            if epoch(one["at"]) >= start:
                stood = one["before"] if stood is None else stood
                break
            stood = one["after"]
    return rollout if stood is None else stood


async def _events(admin: AdminApi, name: str) -> tuple[list[JsonDocument], bool]:
    """And whether any of them come from an instance's own copy."""
    found: deque[JsonDocument] = deque(maxlen=_MOST_EVENTS)  # the newest
    after, local_only = 0, False
    while True:
        answer = await admin.events_after(after, limit=_AT_ONCE, rollout=name)
        local_only = local_only or answer.get("local_only", False)
        page = answer["events"]
        found += page
        if len(page) < _AT_ONCE:
            return list(found), local_only
        after = page[-1]["seq"]


async def _minutes(admin: AdminApi, name: str, start: float, end: float) -> list[JsonDocument]:
    found: list[JsonDocument] = []
    place: str | None = f"{start:.3f}"
    while place is not None and len(found) < _MOST_MINUTES:
        page = await admin.minutes(name, start=place, end=f"{end:.3f}", limit=_MINUTES_AT_ONCE)
        found += page["minutes"]
        place = page["next"]
    return found
