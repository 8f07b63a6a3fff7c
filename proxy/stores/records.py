"""How states, transitions and overrides are written down, and read back with suspicion.

Owns the JSON form of a transition, which is the text that the audit's chain is made of, and the rule which
transitions may follow one another in a store. Must never know a database: memory and SQLite share it.

Writing is orjson over the frozen dataclasses of `model`. Reading checks every field against them (pydantic,
strict): what is not ours, or was edited into nonsense, is `StoreCorrupt` and never a half-read state.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, isnan
from sys import float_info
from typing import TYPE_CHECKING

import orjson
from pydantic import TypeAdapter, ValidationError

from proxy.errors import StoreCorrupt
from proxy.model import BUCKETS, KeyOverride, RolloutState, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.judgment import EvidenceReading

_TRANSITION = TypeAdapter(Transition)
_STATE = TypeAdapter(RolloutState)
_OVERRIDE = TypeAdapter(KeyOverride)


def require_successor(transition: Transition) -> None:
    """Raise ValueError unless `after` is `before` itself (an event) or the same rollout's next revision."""
    before, after = transition.before, transition.after
    if after.name != before.name:
        raise ValueError(f"a transition of {before.name!r} cannot end in {after.name!r}")
    if not transition.changes_state and after != before:
        raise ValueError(f"{before.name}: a change of state needs a new revision after {before.revision}")
    if transition.changes_state and after.revision != before.revision + 1:
        raise ValueError(f"{before.name}: revision {after.revision} does not follow {before.revision}")


def encode_transition(transition: Transition) -> str:
    """JSON of the whole transition. A guard's reading or a need's figure that is not finite becomes null, as
    one without a sample, and evidence beyond all numbers the largest number."""
    judgment = transition.judgment
    if judgment is not None and not all(_is_finite(reading) for reading in judgment.evidence):
        evidence = tuple(_finite(reading) for reading in judgment.evidence)
        transition = replace(transition, judgment=replace(judgment, evidence=evidence))
    return orjson.dumps(transition).decode()


def decode_transition(record: str | bytes) -> Transition:
    """The transition that `encode_transition` wrote. Raises `StoreCorrupt` with the first wrong field."""
    try:
        transition = _TRANSITION.validate_json(record, strict=True)
    except ValidationError as error:
        raise StoreCorrupt(_first_problem(error)) from None
    _require_range(transition.before)
    _require_range(transition.after)
    return transition


def decode_state(fields: Mapping[str, object]) -> RolloutState:
    """A state from its fields as plain values. Raises `StoreCorrupt` with the first wrong field."""
    try:
        state = _STATE.validate_json(orjson.dumps(fields), strict=True)
    except (ValidationError, orjson.JSONEncodeError) as error:
        raise StoreCorrupt(_first_problem(error)) from None
    _require_range(state)
    return state


def decode_override(fields: Mapping[str, object]) -> KeyOverride:
    """An override from its fields as plain values. Raises `StoreCorrupt` with the first wrong field."""
    try:
        return _OVERRIDE.validate_json(orjson.dumps(fields), strict=True)
    except (ValidationError, orjson.JSONEncodeError) as error:
        raise StoreCorrupt(_first_problem(error)) from None


def _is_finite(reading: EvidenceReading) -> bool:
    return isfinite(reading.value) and isfinite(reading.needed)


def _finite(reading: EvidenceReading) -> EvidenceReading:
    return replace(reading, value=_bounded(reading.value), needed=_bounded(reading.needed))


def _bounded(value: float) -> float:
    return 0.0 if isnan(value) else min(max(value, -float_info.max), float_info.max)


def _require_range(state: RolloutState) -> None:
    if not 0 <= state.weight <= BUCKETS:
        raise StoreCorrupt(f"rollout {state.name!r} has weight {state.weight}, outside 0..{BUCKETS}")
    if state.revision < 0:
        raise StoreCorrupt(f"rollout {state.name!r} has revision {state.revision}")


def _first_problem(error: ValidationError | orjson.JSONEncodeError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
