"""What `dualpath why` prints: why a rollout stands where it stands, in words and with their numbers.

Pure: documents of the admin API in, rich renderables out. Must never know where they come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from proxy.rendering import clean, command_text, duration, moment, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from proxy.admin_client import JsonDocument

_WEIGHTY = 0.05
"""Evidence against v2 below this share of what is needed is told only if there is no other."""

_STYLES = {"fail": "bold red", "pass": "bold green", "hold": "yellow"}


def why_text(document: JsonDocument) -> RenderableType:
    """Each rollout: where it stands, what the judge says and waits for, and what was decided last."""
    lines: list[Text] = []
    for told in document["why"]:
        lines += [Text()] if lines else []
        lines.append(command_text(told["rollout"]))
        lines += _now(told["rollout"])
        lines += _decided(told["decisions"])
    return Group(*lines)


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
            yield (
                f"guard {clean(guard['name'])}: {guard['value']:.4g}, limit {guard['limit']:.4g}, "
                f"{guard['sample']:,} requests"
            )
    yield from (_evidence(reading) for reading in _weighty(judgment["evidence"]))


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
