"""How far a rollout has come: what its phase asks for, as shares of what is needed, and how it has ended.

Pure: documents of the admin API in, values and lines of text out. The figures are those of `judgment.needs`.
Must never know where documents come from, nor how a bar is drawn.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from proxy.config.texts import parse_duration
from proxy.model import State
from proxy.printable import clean
from proxy.rendering import duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JsonDocument = dict[str, Any]

_APPROVAL = re.compile(r"approval \(promote\) is needed before phase (.+)")
_NAMES = {"min_duration": "time", "min_requests": "requests"}
_SIGNS = {"s": " s", "%": " %"}
_NO_BAR = "evidence:regression"


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
    if _is_judged(rollout):
        criteria = tuple(_criteria(judgment["needs"]))
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
    """Whether it runs, and the judgment is not still one of the state or the phase before."""
    judgment = rollout["judgment"]
    cause, reasons = judgment["cause"] or "", judgment["reasons"]
    if cause.startswith("phase:") and cause != f"phase:{rollout['phase']}":
        return False
    return rollout["state"] == State.RUNNING and bool(reasons) and reasons[0] not in set(State)


# ... what the phase asks for


def _criteria(needs: Sequence[JsonDocument]) -> Iterator[Criterion]:
    """Time first: it is what there is most to wait for."""
    for need in sorted(needs, key=lambda one: one["criterion"] != "min_duration"):
        is_trifle = need["criterion"] == "min_requests" and need["met"] and need["need"] <= 1
        if need["criterion"] != _NO_BAR and not is_trifle:
            yield Criterion(_name(need["criterion"]), _share(need), _text(need))


def _name(criterion: str) -> str:
    if criterion.startswith("evidence:"):
        return f"{criterion.removeprefix('evidence:').replace('latency_', '')} as v1"
    return _NAMES.get(criterion, criterion.replace("_", " "))


def _share(need: JsonDocument) -> float:
    """Only what grows towards its end has a part of it. Evidence multiplies, so that its logarithm grows
    evenly with the requests."""
    have, needed = need["have"], need["need"]
    if need["met"]:
        return 1.0
    if have is None or needed <= 0.0:
        return 0.0
    if need["unit"] == "evidence":
        return min(math.log(max(have, 1.0)) / math.log(needed), 1.0)
    return min(have / needed, 1.0) if need["criterion"] in _NAMES else 0.0


def _text(need: JsonDocument) -> str:
    have, needed = need["have"], need["need"]
    if need["criterion"] == "min_duration":
        return f"{duration(min(have, needed))} of {duration(needed)}"
    if need["criterion"] == "min_requests":
        return f"{min(int(have), int(needed)):,} of {int(needed):,}"
    if need["unit"] == "evidence":
        return f"evidence {max(have, 1.0):.3g} of {needed:.3g}"
    if need["unit"] == "alerts":
        return "none fires" if need["met"] else "one fires"
    sign = _SIGNS.get(need["unit"], "")
    unknown = "not reported" if need["met"] else "unknown"
    return f"{needed:.3g}{sign}, {unknown if have is None else f'is {have:.3g}{sign}'}"


# ... whom it waits for


def _waits(rollout: JsonDocument) -> Iterator[str]:
    name = rollout["name"]
    if rollout["state"] == State.PAUSED:
        yield f"paused ({rollout['reason']}): `dualpath rollout resume --name {name}` goes on"
    if not _is_judged(rollout):
        return
    shown = {one["text"] for one in rollout["judgment"]["needs"] if one["criterion"] != _NO_BAR}
    for text in rollout["judgment"]["missing"]:
        if approval := _APPROVAL.fullmatch(text):
            command = f"dualpath rollout promote --name {name}"
            yield f"waits for approval of phase {approval[1]}: `{command}` gives it"
        elif text not in shown:
            yield f"waits: {text}"
    if not rollout["judgment"]["missing"]:
        yield from (f"holds: {reason}" for reason in _holding(rollout["judgment"]))


def _holding(judgment: JsonDocument) -> Iterable[str]:
    return judgment["reasons"] if judgment["verdict"] == "hold" else ()
