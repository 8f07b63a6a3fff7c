"""How states and transitions are written down, and read back with suspicion.

Owns the JSON form of a transition and the rule which transitions may follow one another in a store. Must
never know a database: memory and SQLite share it.

Writing is orjson over the frozen dataclasses of `model`. Reading checks every field against them (pydantic,
strict): what is not ours, or was edited into nonsense, is `StoreCorrupt` and never a half-read state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from pydantic import TypeAdapter, ValidationError

from proxy.errors import StoreCorrupt
from proxy.model import BUCKETS, RolloutState, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRANSITION = TypeAdapter(Transition)
_STATE = TypeAdapter(RolloutState)


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
    """JSON of the whole transition. A reading that is not finite becomes null, as one without a sample."""
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
