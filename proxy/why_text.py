"""What `dualpath why` prints: why a rollout stands where it stands, in words and with their numbers.

Pure: documents of the admin API in, rich renderables out. Must never know where they come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from proxy.printable import clean
from proxy.rendering import command_text, duration, moment, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from proxy.admin_client import JsonDocument

_WEIGHTY = 0.05
"""Evidence against v2 below this share of what is needed is told only if there is no other."""

_MOST_MISSING = 3
_MOST_CHARACTERS = 160
"""How much is told of what is missing, and of a sentence, unless all is asked for."""

_STYLES = {"fail": "bold red", "pass": "bold green", "hold": "yellow"}


def why_text(document: JsonDocument, *, everything: bool = False) -> RenderableType:
    """Each rollout: where it stands, what it waits for, what decides, and what was decided last; all readings
    with `everything`."""
    lines: list[Text] = []
    for told in document["why"]:
        lines += [Text()] if lines else []
        lines.append(command_text(told["rollout"]))
        if everything:
            lines += _now(told["rollout"])
            lines += _decided(told["decisions"])
        else:
            lines += _now_in_short(told["rollout"])
            lines += _decided_in_short(told["decisions"])
        if trouble := told.get("trouble"):
            lines.append(_fact("decided", f"not to be had: {clean(trouble)}"))
    return Group(*lines)


# ... in short


def _now_in_short(rollout: JsonDocument) -> Iterator[Text]:
    judgment = rollout["judgment"]
    missing = judgment["missing"]
    yield _fact("since", _clipped(f"{moment(rollout['since'])}, because: {clean(rollout['reason']) or '-'}"))
    verdict = Text(judgment["verdict"], style=_STYLES.get(judgment["verdict"], ""))
    reasons = [reason for reason in judgment["reasons"] if not _is_missing(reason, missing)]
    yield _fact("now", verdict.append(f": {_clipped(clean(reasons[0]))}" if reasons else "", style=""))
    for place, one in enumerate(missing[:_MOST_MISSING]):
        yield _fact("" if place else "waits for", _clipped(clean(one)))
    if len(missing) > _MOST_MISSING:
        yield _fact("", f"and {len(missing) - _MOST_MISSING} more: dualpath why --all")
    if judgment["eta_s"] is not None:
        yield _fact("takes", f"about {duration(judgment['eta_s'])} more at the present rate")
    for place, line in enumerate(_figures(rollout)):
        yield _fact("" if place else "figures", line)


def _figures(rollout: JsonDocument) -> Iterator[str]:
    """Both versions side by side, and the readings that are nearest to a decision."""
    v1, v2 = (rollout["recent"]["paths"][path] for path in ("v1", "v2"))
    yield (
        f"errors {_errors(v2)} of v2, {_errors(v1)} of v1; p95 {_latency(v2)}, {_latency(v1)} "
        f"(last {rollout['recent']['window_s']:.0f} s)"
    )
    for guard in rollout["guards"]:
        if guard["crossed"]:
            firing = "fires" if guard["firing"] else "is crossed"
            yield f"guard {clean(guard['name'])} {firing}: {_reading(guard)}"
    against = [one for one in rollout["judgment"]["evidence"] if one["against"]]
    if against:
        yield f"against v2, nearest: {_evidence_in_short(max(against, key=_weight))} to act"
    good = [one for one in rollout["judgment"]["evidence"] if not one["against"]]
    if good:
        yield f"for v2, farthest: {_evidence_in_short(min(good, key=_weight))} to go on"


def _errors(side: JsonDocument) -> str:
    return f"{100 * side['error_rate']:.3g} % of {side['requests']:,}" if side["requests"] else "none seen"


def _latency(side: JsonDocument) -> str:
    return f"{side['latency_ms']['p95']:.4g} ms" if side["requests"] else "-"


def _evidence_in_short(reading: JsonDocument) -> str:
    return f"{clean(reading['name'])} {_amount(reading['value'])} of {_amount(reading['needed'])} needed"


def _decided_in_short(decisions: Iterable[JsonDocument]) -> Iterator[Text]:
    for place, event in enumerate(decisions):
        before, after = (_place(event[when]) for when in ("before", "after"))
        moved = f"{before} -> {after}" if event["changes_state"] else f"stayed {after}"
        said = clean(event["reason"]) or clean(event["cause"])
        line = f"#{event['seq']} {moment(event['at'])}  {moved}  by {clean(event['actor'])}: {said}"
        yield _fact("" if place else "decided", _clipped(line))


def _place(state: JsonDocument) -> str:
    at = clean(state["phase"]) if state["phase"] and state["state"] == "running" else state["state"]
    return f"{percent(state['percentage'])} {at}"


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1].rstrip()}…"


# ... in full


def _now(rollout: JsonDocument) -> Iterator[Text]:
    judgment = rollout["judgment"]
    since = f"{moment(rollout['since'])}, because: {clean(rollout['reason']) or '-'}"
    yield _fact("since", since)
    verdict = Text(judgment["verdict"], style=_STYLES.get(judgment["verdict"], ""))
    reasons = [reason for reason in judgment["reasons"] if not _is_missing(reason, judgment["missing"])]
    said = _listed(reasons) if reasons or not judgment["missing"] else "something is missing"
    yield _fact("now", verdict.append(f": {said}", style=""))
    for place, missing in enumerate(judgment["missing"]):
        yield _fact("" if place else "waits for", clean(missing))
    if judgment["eta_s"] is not None:
        yield _fact("takes", f"about {duration(judgment['eta_s'])} more at the present rate")
    for place, reading in enumerate(_weighty(judgment["evidence"])):
        yield _fact("" if place else "evidence", _evidence(reading))


def _decided(decisions: Iterable[JsonDocument]) -> Iterator[Text]:
    for place, event in enumerate(decisions):
        moved = f"#{event['seq']} {moment(event['at'])}: {_moved(event)}"
        yield _fact("" if place else "decided", moved)
        by, reason = f"{clean(event['cause'])} by {clean(event['actor'])}", clean(event["reason"])
        yield _fact("", f"{by}: {reason}" if reason else by)
        for line in _numbers(event["judgment"]):
            if line != reason:  # said already
                yield _fact("", f"- {line}")


def _numbers(judgment: JsonDocument | None) -> Iterator[str]:
    """What the judge had before it when it decided."""
    if judgment is None:
        return
    yield from (clean(reason) for reason in judgment["reasons"])
    for guard in judgment["guards"]:
        if guard["crossed"] and guard["value"] is not None:
            yield f"guard {clean(guard['name'])}: {_reading(guard)}"
    yield from (_evidence(reading) for reading in _weighty(judgment["evidence"]))


def _reading(guard: JsonDocument) -> str:
    value = "-" if guard["value"] is None else f"{guard['value']:.4g}"
    return f"{value}, limit {guard['limit']:.4g}, {guard['sample']:,} requests"


def _weighty(evidence: Iterable[JsonDocument]) -> list[JsonDocument]:
    """All that is for v2, and what is against it as far as it weighs anything; at least the heaviest."""
    readings = list(evidence)
    against = max((_weight(one) for one in readings if one["against"]), default=0.0)
    least = min(_WEIGHTY, against)
    return [one for one in readings if not one["against"] or _weight(one) >= least]


def _weight(reading: JsonDocument) -> float:
    """How far a test has come, 1 at its end."""
    value, needed = reading["value"], reading["needed"]
    return value / needed if value is not None and needed else 0.0


def _is_missing(reason: str, missing: Iterable[str]) -> bool:
    """Whether it is said again under what is missing; reasons put the phase before it."""
    return any(reason.endswith(one) for one in missing)


def _moved(event: JsonDocument) -> str:
    if not event["changes_state"]:
        return f"stayed {_stand(event['after'])}"
    return f"{_stand(event['before'])} -> {_stand(event['after'])}"


def _stand(state: JsonDocument) -> str:
    phase = f", phase {clean(state['phase'])}" if state["phase"] else ""
    return f"{state['state']} at {percent(state['percentage'])}{phase}"


def _evidence(reading: JsonDocument) -> str:
    claim = "v2 is worse" if reading["against"] else "v2 is as good"
    text = f": {clean(reading['text'])}" if reading["text"] else ""
    value, needed = _amount(reading["value"]), _amount(reading["needed"])
    return f"{clean(reading['name'])}, {claim}: {value} of {needed} needed{text}"


def _amount(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _listed(reasons: Iterable[str]) -> str:
    return "; ".join(clean(reason) for reason in reasons) or "-"


def _fact(name: str, value: str | Text) -> Text:
    return Text(f"  {name:<9} ").append(value)
