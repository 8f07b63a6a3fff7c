"""How far a rollout has come: what its phase asks for, as shares of what is needed, and how it has ended.

Pure: documents of the admin API in, values and lines of text out. A criterion that `judgment.missing` does
not name is met. Must never know where documents come from, nor how a bar is drawn.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from proxy.config.texts import parse_duration
from proxy.model import State
from proxy.rendering import clean, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

JsonDocument = dict[str, Any]

_TIME = re.compile(r"([0-9]+) s of [0-9.e+]+ s")
_REQUESTS = re.compile(r"([0-9,]+) of [0-9,]+ requests")
_APPROVAL = re.compile(r"approval \(promote\) is needed before phase (.+)")
_REQUIRED = {
    "error_rate_below": "error_rate",
    "success_rate_above": "success_rate",
    "client_error_rate_below": "client_error_rate",
    "fallback_rate_below": "fallback_rate",
    "latency_p50_below": "latency_p50",
    "latency_p95_below": "latency_p95",
    "latency_p99_below": "latency_p99",
    "improvement_above": "improvement",
    "no_alerts": "an alert fires",
    "health": "health",
    "cache_hit_rate_above": "cache_hit_rate",
}
"""The keys of a phase's `require`, and how the judge begins to say that one is not met."""


class Ending(StrEnum):
    """How it went for one rollout."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    DISABLED = "disabled"  # somebody has set it to nothing
    TIMED_OUT = "timed_out"


_ENDINGS = {
    State.COMPLETED: Ending.COMPLETED,
    State.ROLLED_BACK: Ending.ROLLED_BACK,
    State.ABORTED: Ending.ABORTED,
    State.DISABLED: Ending.DISABLED,
}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that the phase asks for, and the share of it that is there, 0..1."""

    name: str
    share: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """One rollout on its way. `waits` is for whom or what it waits beyond its criteria."""

    rollout: str
    state: str
    phase: str | None
    percentage: float
    revision: int
    place: int = 0  # of the phase in the plan, from 1; 0 without one
    phases: int = 0
    criteria: tuple[Criterion, ...] = ()
    waits: tuple[str, ...] = ()
    eta_s: float | None = None  # of this phase
    end_s: float | None = None  # of the plan, at least

    def document(self) -> JsonDocument:
        """For scripts."""
        return {
            "rollout": self.rollout,
            "state": self.state,
            "phase": self.phase,
            "percentage": self.percentage,
            "revision": self.revision,
            "criteria": [
                {"name": one.name, "share": round(one.share, 4), "text": one.text} for one in self.criteria
            ],
            "waits": list(self.waits),
            "eta_s": self.eta_s,
            "end_s": self.end_s,
        }


def ending(rollout: JsonDocument) -> Ending | None:
    """How the rollout has ended; None while it is under way."""
    return _ENDINGS.get(rollout["state"])


def progress_of(rollout: JsonDocument, plan: JsonDocument | None) -> Progress:
    """Where `rollout` stands in `plan`, its table in the configuration in force, if that is known."""
    phases = list((plan or {}).get("phases", ()))
    index = next((at for at, phase in enumerate(phases) if phase["name"] == rollout["phase"]), None)
    judgment = rollout["judgment"]
    criteria: tuple[Criterion, ...] = ()
    if plan is not None and index is not None and _is_judged(rollout):
        criteria = tuple(_criteria(rollout, phases[index], plan.get("judge", {})))
    eta_s = judgment["eta_s"]
    return Progress(
        rollout=rollout["name"],
        state=rollout["state"],
        phase=rollout["phase"],
        percentage=rollout["percentage"],
        revision=rollout["revision"],
        place=0 if index is None else index + 1,
        phases=len(phases),
        criteria=criteria,
        waits=tuple(_waits(rollout)),
        eta_s=eta_s,
        end_s=None if eta_s is None or index is None else eta_s + _least_s(phases[index + 1 :]),
    )


def headline(progress: Progress) -> str:
    """Where it stands, such as "default: running at 10%, phase half (2 of 3)"."""
    line = f"{clean(progress.rollout)}: {progress.state} at {percent(progress.percentage)}"
    if progress.phase is None:
        return line
    place = f" ({progress.place} of {progress.phases})" if progress.place else ""
    return f"{line}, phase {clean(progress.phase)}{place}"


def remaining(progress: Progress) -> str:
    """How long it takes, as far as that can be told; empty where it cannot."""
    if progress.eta_s is None:
        return ""
    text = f"about {duration(math.ceil(progress.eta_s))} more in this phase"
    if progress.end_s is None or progress.end_s <= progress.eta_s:
        return text
    return f"{text}, at least {duration(math.ceil(progress.end_s))} to the end"


def line_of(progress: Progress) -> str:
    """All of it in one line."""
    unmet = [f"{one.name} {one.text or f'{one.share:.0%}'}" for one in progress.criteria if one.share < 1.0]
    parts = [headline(progress)]
    parts += [f"waits for {', '.join(clean(one) for one in unmet)}"] if unmet else []
    parts += [clean(one) for one in progress.waits]
    parts += [remaining(progress)] if progress.eta_s is not None else []
    return "; ".join(parts)


def _least_s(phases: Iterable[JsonDocument]) -> float:
    return sum(parse_duration(phase.get("min_duration", "0s")) for phase in phases)


def _is_judged(rollout: JsonDocument) -> bool:
    """Whether it runs, and the judgment is not still one of the state before: then it names that alone."""
    reasons = rollout["judgment"]["reasons"]
    return rollout["state"] == State.RUNNING and bool(reasons) and reasons[0] not in set(State)


# ... what the phase asks for


def _criteria(rollout: JsonDocument, phase: JsonDocument, judge: JsonDocument) -> Iterator[Criterion]:
    missing: Sequence[str] = rollout["judgment"]["missing"]
    least_s = parse_duration(phase.get("min_duration", "0s"))
    if least_s > 0.0:
        done = _counted(_TIME, missing)
        text = f"{duration(least_s if done is None else done)} of {duration(least_s)}"
        yield Criterion("time", 1.0 if done is None else min(done / least_s, 1.0), text)
    least = max(phase.get("min_requests", 0), 1)
    done = _counted(_REQUESTS, missing)
    if least > 1 or done is not None:
        text = f"{least if done is None else int(done):,} of {least:,}"
        yield Criterion("requests", 1.0 if done is None else min(done / least, 1.0), text)
    for key, limit in phase.get("require", {}).items():
        if key in _REQUIRED and limit is not False:
            unmet = next((text for text in missing if text.startswith(_REQUIRED[key])), None)
            name = key.replace("_", " ")
            yield Criterion(name, 1.0 if unmet is None else 0.0, unmet or f"{limit}".lower())
    if judge.get("promotion") == "evidence" and _is_compared(rollout, judge):
        yield from map(_shown, _for_v2(rollout["judgment"]["evidence"]))


def _counted(pattern: re.Pattern[str], missing: Iterable[str]) -> float | None:
    """How much of it is there; None if it does not miss."""
    found = next((match for text in missing if (match := pattern.fullmatch(text))), None)
    return None if found is None else float(found[1].replace(",", ""))


def _is_compared(rollout: JsonDocument, judge: JsonDocument) -> bool:
    return bool(rollout["percentage"] < 100.0 or judge.get("holdback", 0))


def _for_v2(evidence: Iterable[JsonDocument]) -> Iterator[JsonDocument]:
    return (reading for reading in evidence if not reading["against"])


def _shown(reading: Mapping[str, Any]) -> Criterion:
    """Evidence multiplies, so that its logarithm grows evenly with the requests."""
    value, needed = max(float(reading["value"]), 1.0), float(reading["needed"])
    share = 1.0 if value >= needed else math.log(value) / math.log(needed)
    what = str(reading["name"]).replace("latency_", "")
    return Criterion(f"{what} as v1", share, f"evidence {value:.3g} of {needed:.3g}")


# ... whom it waits for


def _waits(rollout: JsonDocument) -> Iterator[str]:
    name = rollout["name"]
    if rollout["state"] == State.PAUSED:
        yield f"paused ({rollout['reason']}): `dualpath rollout resume --name {name}` goes on"
    if not _is_judged(rollout):
        return
    for text in rollout["judgment"]["missing"]:
        if approval := _APPROVAL.fullmatch(text):
            command = f"dualpath rollout promote --name {name}"
            yield f"waits for approval of phase {approval[1]}: `{command}` gives it"
        elif not _is_criterion(text):
            yield f"waits: {text}"
    if not rollout["judgment"]["missing"]:
        yield from (f"holds: {reason}" for reason in _holding(rollout["judgment"]))


def _holding(judgment: JsonDocument) -> Iterable[str]:
    return judgment["reasons"] if judgment["verdict"] == "hold" else ()


def _is_criterion(text: str) -> bool:
    """Whether one of the bars shows it."""
    shown = (*_REQUIRED.values(), "v2 not yet shown")
    return bool(_TIME.fullmatch(text) or _REQUESTS.fullmatch(text)) or text.startswith(shown)
