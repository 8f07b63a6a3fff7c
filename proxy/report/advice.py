"""What follows from the figures: go on, wait, or mend what.

Pure. Each sentence names the figure that it comes from, so that whoever disagrees knows with what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.printable import clean
from proxy.rendering import duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.report.course import Course, Stay
    from proxy.report.gathering import Material

_MANY_FALLBACKS = 0.05
_TELLING = 100
_SLOWER = 1.25


def outcome(material: Material) -> str:
    """One sentence on where it stands."""
    rollout = material.rollout
    share = percent(rollout["percentage"])
    return {
        "disabled": "It has not begun, or somebody has set it to nothing: v2 has no traffic.",
        "running": f"It is under way: v2 has {share}"
        + (f", in phase {clean(rollout['phase'])}." if rollout["phase"] else "."),
        "paused": f"It is paused with {share} on v2.",
        "rolled_back": f"v2 was taken back to {share}.",
        "completed": f"It is completed: v2 has {share}.",
        "aborted": "It was aborted: v2 has nothing.",
    }[rollout["state"]]


def advice(material: Material, course: Course) -> list[str]:
    """What to do next, the most urgent first."""
    found = [*_about_the_end(material, course), *_about_clients(course), *_about_v2(course)]
    if material.local_only:
        found.append(
            "Make this report again once the shared store can be reached: the newest events may be missing."
        )
    if not course.whole.client_requests:
        found.append("No minute was recorded in this time, so that there are no figures to go by.")
    return found or ["Nothing in the figures asks for anything."]


def _about_the_end(material: Material, course: Course) -> Iterator[str]:
    rollout, state = material.rollout, material.rollout["state"]
    unmet = [(stay, check) for stay in course.stays[-1:] for check in stay.checks if check.met is False]
    if state in {"rolled_back", "aborted"}:
        lost = _lost(course)
        yield f"Mend before the next start: {clean(rollout['reason']) or 'see the incidents'}."
        if lost is not None and lost.sums.v2.errors_by_class:
            worst, count = max(lost.sums.v2.errors_by_class.items(), key=lambda item: item[1])
            counts = f"{count:,} of {lost.sums.v2.errors:,}"
            yield f"Most of v2's failures before that were of class {worst} ({counts})."
    elif state == "running" and rollout["judgment"]["missing"]:
        yield f"Wait: {'; '.join(map(clean, rollout['judgment']['missing']))}."
        if rollout["judgment"]["eta_s"] is not None:
            yield f"At the present rate that takes about {duration(rollout['judgment']['eta_s'])} more."
    elif state == "paused":
        yield f"Decide: resume it, or take it back. It was paused because: {clean(rollout['reason']) or '-'}."
    elif state == "completed" and not unmet:
        yield "Go on: the plan has been walked through. v1 can be retired once nothing falls back to it."
    for _, check in unmet if state == "completed" else ():
        yield f"Look again at {check.name}: {check.measured}, asked was {check.asked}."


def _lost(course: Course) -> Stay | None:
    """The last stay in which v2 had anything."""
    return next((one for one in reversed(course.stays) if one.percentage > 0.0), None)


def _about_clients(course: Course) -> Iterator[str]:
    whole = course.whole
    if whole.excess_client_errors:
        yield (
            f"Clients saw about {whole.excess_client_errors:,} failures more than with v1 alone: look at "
            "what could not fall back (methods, bodies, answers that had begun)."
        )
    if whole.over_budget:
        yield f"The budget for fallbacks refused {whole.over_budget:,}: raise it, or give v2 less."


def _about_v2(course: Course) -> Iterator[str]:
    whole = course.whole
    v1, v2 = whole.v1, whole.v2
    if whole.fallback_rate is not None and whole.fallback_rate > _MANY_FALLBACKS:
        rate = f"{whole.fallback_rate:.1%}"
        yield f"v1 answered {rate} of what was v2's: it needs that capacity until v2 is better."
    if min(v1.requests, v2.requests) < _TELLING:
        return
    for name, first, second in (("mean", v1.mean_ms, v2.mean_ms), ("p95", v1.p95_ms, v2.p95_ms)):
        if first is not None and second is not None and second > first * _SLOWER:
            yield f"v2 is slower: {name} {second:.1f} ms against {first:.1f} ms of v1."
