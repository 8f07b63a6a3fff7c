"""Gates: what has to be open before a rollout may go into a phase by itself.

Owns approval, allowed hours and freeze windows. Pure: the time of day comes as a value, already in the plan's
time zone. Must never know how a webhook is asked, and nothing here is ever read on the way down: a gate can
stop an advance, never a rollback.

A gate guards the way into the phase that it stands in; hours and freezes of the rollout guard the way into
every phase. A person who starts, sets or promotes goes past all of them: that is the approval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.config.times import format_hours, format_instant
from proxy.core.rollout import phase_index
from proxy.model import State, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.plan import Phase
    from proxy.config.rollout import Rollout
    from proxy.config.times import OpenHours
    from proxy.model import Transition


class LocalTime(NamedTuple):
    """Where in the week an instant lies, in some time zone."""

    weekday: int  # 0 is Monday
    minute: int  # since midnight


def entered(transition: Transition, plan: Rollout) -> Phase | None:
    """The phase that a transition goes into, whose gates therefore count; None if it stays where it is, or
    goes down."""
    before, after = transition.before, transition.after
    index = phase_index(plan, after.phase)
    if index is None or after.state is not State.RUNNING or after.weight < before.weight:
        return None
    return None if before.phase == after.phase else plan.phases[index]


def closed(phase: Phase, plan: Rollout, at: float, local: LocalTime) -> list[str]:
    """What keeps a rollout out of `phase` at wall time `at`, which is `local` where `plan.timezone` holds, in
    words; empty when every gate but the webhook is open."""
    return [f"{what} before phase {phase.name}" for what in _closed(phase, plan, at, local)]


def frozen(plan: Rollout, at: float, local: LocalTime) -> list[str]:
    """What of the whole rollout's gates is closed: said in the audit where a person goes past it."""
    return list(_freezes(plan, at, local))


def is_open(hours: Sequence[OpenHours], local: LocalTime) -> bool:
    """Whether any of `hours` is on; none at all means always."""
    return not hours or any(_covers(one, local) for one in hours)


def _closed(phase: Phase, plan: Rollout, at: float, local: LocalTime) -> Iterator[str]:
    if phase.approval:
        yield f"approval ({Verb.PROMOTE}) is needed"
    yield from _freezes(plan, at, local)
    if not is_open(phase.hours, local):
        yield _outside(phase.hours, plan)


def _freezes(plan: Rollout, at: float, local: LocalTime) -> Iterator[str]:
    ends = [freeze.ends_at for freeze in plan.freeze if freeze.begins_at <= at < freeze.ends_at]
    if ends:
        yield f"frozen until {format_instant(max(ends))}"
    if not is_open(plan.hours, local):
        yield _outside(plan.hours, plan)


def _outside(hours: Sequence[OpenHours], plan: Rollout) -> str:
    return f"outside of {' and '.join(map(format_hours, hours))} ({plan.timezone})"


def _covers(hours: OpenHours, local: LocalTime) -> bool:
    if hours.opens_min < hours.closes_min:
        return local.weekday in hours.days and hours.opens_min <= local.minute < hours.closes_min
    # Past midnight: the evening belongs to today, the rest of the night to the day before.
    evening = local.weekday in hours.days and local.minute >= hours.opens_min
    return evening or ((local.weekday - 1) % 7 in hours.days and local.minute < hours.closes_min)
