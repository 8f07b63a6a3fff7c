"""What an instance tells the others of itself once a second, and a fleet as people see it.

Owns the record's form, its version and its limits: a record that cannot be read is no member that one can
reckon with, and never an error. Versions change one at a time: `READS` names those that are understood, so
that instances of two neighbouring versions run side by side. Must never know how records travel.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxy.core.delta import VERSION as REPORTS
from proxy.core.fleet import Role
from proxy.core.merging import Received
from proxy.core.wire_values import count_of, list_of, row_of, seconds_of, table_of, text_of, version_of
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION: Final = 1
READS: Final = (VERSION,)
"""Versions of the record that this one understands: its own and the one before, once there is one."""

_MOST_ROLLOUTS: Final = 1_000
_PACE_S: Final = 30.0
_LEAST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What an instance has in force of one rollout."""

    revision: int
    weight: int


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """An instance as it tells of itself. `wall` is its own clock, `copied` the last event of its copy;
    `per_minute` are the requests that it splits, None where that is not known (yet)."""

    version: str  # of dualpath
    role: Role
    wall: float
    admin: str = ""
    workers: int = 1
    config: str = ""  # hash of its configuration
    copied: int = 0
    reports: int = REPORTS  # version of its reports
    rollouts: Mapping[str, Serving] = field(default_factory=dict)
    per_minute: int | None = None


class Pace:
    """How many requests a minute there are, by what has been counted of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def take(self, now: float, counted: int) -> int | None:
        """So many have been counted by `now`, in seconds of any clock that goes on; None as long as that is
        too little to tell."""
        seen = self._seen
        seen.append((now, counted))
        while seen[0][0] < now - _PACE_S:
            seen.popleft()
        began, before = seen[0]
        return round(60.0 * (counted - before) / (now - began)) if now - began >= _LEAST_S else None

    def __repr__(self) -> str:
        return f"Pace({len(self._seen)} seen)"


def written(record: MemberRecord) -> dict[str, Any]:
    """As plain JSON values."""
    return {
        "v": VERSION,
        "version": record.version,
        "role": str(record.role),
        "wall": round(record.wall, 3),
        "admin": record.admin,
        "workers": record.workers,
        "config": record.config,
        "copied": record.copied,
        "reports": record.reports,
        "rollouts": [[name, one.revision, one.weight] for name, one in record.rollouts.items()],
        "per_minute": record.per_minute,
    }


def read(document: object) -> MemberRecord:
    """The record of a JSON document. Raises `WireError` with the place and what was expected there."""
    table = table_of(document, "member")
    version_of(table.get("v"), READS, "member")
    role = table.get("role")
    if role not in tuple(Role):
        raise WireError("member.role: no such role")
    per_minute = table.get("per_minute")
    return MemberRecord(
        version=text_of(table.get("version"), "member.version"),
        role=Role(str(role)),
        wall=seconds_of(table.get("wall"), "member.wall"),
        admin=_text(table.get("admin"), "member.admin"),
        workers=count_of(table.get("workers"), "member.workers"),
        config=_text(table.get("config"), "member.config"),
        copied=count_of(table.get("copied"), "member.copied"),
        reports=count_of(table.get("reports"), "member.reports"),
        rollouts=dict(_read_rollouts(table.get("rollouts"))),
        per_minute=None if per_minute is None else count_of(per_minute, "member.per_minute"),
    )


def _read_rollouts(value: object) -> Iterable[tuple[str, Serving]]:
    rows = list_of(value, "member.rollouts")
    if len(rows) > _MOST_ROLLOUTS:
        raise WireError(f"member.rollouts: must be at most {_MOST_ROLLOUTS}")
    for row in rows:
        name, revision, weight = row_of(row, 3, "member.rollouts")
        at = "member.rollouts"
        yield text_of(name, at), Serving(count_of(revision, at), count_of(weight, at))


def _text(value: object, at: str) -> str:
    return "" if value == "" else text_of(value, at)


# ... for people


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member as another one sees it; `record` is None if it cannot be read, and `unread` says why.
    `skew_s` is how far its clock is ahead of the store's; `behind` names the rollouts of which it does not
    serve the newest revision."""

    instance: str
    seen_s_ago: float
    record: MemberRecord | None
    skew_s: float = 0.0
    behind: tuple[str, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """A fleet as one of its instances sees it, as of the last exchange."""

    instance: str
    role: Role
    judge: str | None = None
    lease_s: float = 0.0  # how long the judge's lease still lasted then
    reached: bool = False
    reached_s_ago: float = 0.0
    store_s: float = 0.0  # how long the last exchange took
    skew_s: float = 0.0
    head: int = 0  # the last event that is stored
    copied: int = 0
    members: tuple[MemberView, ...] = ()
    received: Received = field(default_factory=Received)
    sent: int = 0  # reports
    trouble: str = ""


def behind(record: MemberRecord, revisions: Mapping[str, int]) -> tuple[str, ...]:
    """The rollouts of which the member serves an earlier revision than the stored one."""
    return tuple(
        name for name, one in record.rollouts.items() if one.revision < revisions.get(name, one.revision)
    )
