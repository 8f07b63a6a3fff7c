"""What pydantic found wrong with a document, in one plain line each, and the document without it.

Owns the wording of field errors and their places. It must not know where a document came from, nor any rule
that takes more than one value.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.config.table import FAULTY, Table
from proxy.config.units import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
Problem = tuple[str, str]

UNKNOWN_KEY = "extra_forbidden"
NOT_TEXT = "string_type"
NOT_A_CHOICE = "literal_error"

_MESSAGES = {
    "missing": "is required",
    UNKNOWN_KEY: "unknown key",
    NOT_TEXT: "must be text",  # the value is not quoted: it may be a secret without its quotes
    "value_error": "{error}",
    "bool_type": "must be true or false, not {value}",
    "int_type": "must be a whole number, not {value}",
    "float_type": "must be a number, not {value}",
    "finite_number": "must be a finite number, not {value}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}, not {value}",
    "less_than": "must be below {lt:g}, not {value}",
    "less_than_equal": "must be at most {le:g}, not {value}",
    "too_short": "needs at least one entry",
    "string_too_short": "must have at least {min_length} characters",
    NOT_A_CHOICE: "must be one of {expected}, not {value}",
    "enum": "must be one of {expected}, not {value}",
    "model_type": "must be a table, not {value}",
    "tuple_type": "must be a list, not {value}",
    "frozen_set_type": "must be a list, not {value}",
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_\-]{1,64}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place; `kind` is pydantic's name for it."""

    at: Location
    kind: str
    message: str


def faults_of(error: ValidationError, root: type[Table]) -> list[Fault]:
    """The faults behind an error of `root`, without those that merely follow from one further down."""
    details = error.errors(include_url=False)
    above = {detail["loc"][:length] for detail in details for length in range(len(detail["loc"]))}
    return [
        Fault(detail["loc"], detail["type"], _message(detail, root))
        for detail in details
        if detail["loc"] not in above
    ]


def without(document: dict[str, Any], faults: Sequence[Fault]) -> dict[str, Any]:
    """A copy of the document that validates: unknown keys left out, faulty values replaced by `FAULTY`."""
    for fault in faults:
        at = fault.at
        while isinstance(at[-1], int):  # a list is one value: without an entry it would be another one
            at = at[:-1]
        document = _replaced(document, at, leave_out=fault.kind == UNKNOWN_KEY)
    return document


def dotted(at: Location) -> str:
    """A place as messages name it: `rollouts.0.guards.1.metric`."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else shown(part) for part in map(str, at))


def _message(detail: ErrorDetails, root: type[Table]) -> str:
    message = _MESSAGES.get(detail["type"], "is not valid").format(
        value=shown(detail["input"]), **detail.get("ctx", {})
    )
    if detail["type"] == UNKNOWN_KEY:
        return message + _suggestion(detail["loc"], root)
    return message


def _suggestion(at: Location, root: type[Table]) -> str:
    table: type[Table] | None = root
    for part in at[:-1]:
        table = table.file_keys()[part] if table and isinstance(part, str) else table
    close = difflib.get_close_matches(str(at[-1]), table.file_keys() if table else (), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _replaced(node: Any, at: Location, *, leave_out: bool) -> Any:
    if node is FAULTY:
        return node
    key, below = at[0], at[1:]
    copy = node.copy()
    if below:
        copy[key] = _replaced(copy[key], below, leave_out=leave_out)
    elif leave_out:
        del copy[key]
    else:
        copy[key] = FAULTY
    return copy
