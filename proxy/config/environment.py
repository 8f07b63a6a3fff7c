"""Overrides from the environment: `DUALPATH__LISTEN__ADDRESS=…` sets `listen.address`.

Owns the names of the variables and how their text becomes a value. Names are read without regard to case.
List entries are chosen by number, or by their `name` where that is unambiguous; the number after the last one
adds an entry. A value is read as TOML where it is TOML (`30`, `true`, `["a", "b"]`), else it is text.
Variables with a single underscore (`DUALPATH_ADMIN`) are no overrides. It must not know which keys exist.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from proxy.config.faults import UNKNOWN_KEY, Fault, Location, Problem, dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PREFIX = "DUALPATH__"

_INDEX = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Override:
    """One variable, the place that it set, and its text as it stood in the environment."""

    variable: str
    at: Location
    text: str


class _RefusedError(Exception):
    """The variable names no place; the text says why."""


def apply_overrides(
    document: dict[str, Any], environ: Mapping[str, str]
) -> tuple[list[Override], list[Problem]]:
    """Write the overrides into `document`, in place: what was set, and the variables that name no place."""
    variables = sorted((name for name in environ if name.upper().startswith(PREFIX)), key=_order)
    overrides: list[Override] = []
    problems: list[Problem] = []
    for variable in variables:
        text = environ[variable]
        try:
            at = _put(document, _parts(variable), _read(text))
        except _RefusedError as refused:
            problems.append((variable, str(refused)))
            continue
        twin = next((override.variable for override in overrides if override.at == at), None)
        if twin is not None:
            problems.append((variable, f"sets the same key as {twin}"))
        overrides.append(Override(variable, at, text))
    return overrides, problems


def restore_text(document: Any, override: Override) -> bool:
    """Put the variable's bare text where it had been read as another TOML value, such as a salt of digits.
    Whether it had been."""
    *above, last = override.at
    for part in above:
        document = document[part]
    was_read: bool = document[last] != override.text
    document[last] = override.text
    return was_read


def attributed(fault: Fault, overrides: Sequence[Override]) -> Iterable[Problem]:
    """The fault as problems that name the variable it came from, if it came from one."""
    if fault.kind == UNKNOWN_KEY:
        variables = [o.variable for o in overrides if o.at[: len(fault.at)] == fault.at]
        if variables:
            return [(variable, f"{fault.message} ({dotted(fault.at)})") for variable in variables]
    for override in overrides:
        if fault.at[: len(override.at)] == override.at:
            return [(dotted(fault.at), f"{fault.message} (from {override.variable})")]
    return [(dotted(fault.at), fault.message)]


def as_value(text: str) -> Any:
    """The TOML value that the text is, else the text itself."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError also for integers of thousands of digits
        return text
    value = document.pop("value")
    # More keys come from a line break in the text. No key takes a date, but a salt may look like one.
    return text if document or isinstance(value, date | time | datetime) else value


def _read(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:  # the system's bytes that are no text stand in it as lone surrogates
        raise _RefusedError("must be UTF-8 text") from None
    return as_value(text)


def _parts(variable: str) -> list[str]:
    parts = variable[len(PREFIX) :].lower().split("__")
    if not all(parts):
        raise _RefusedError("must name a key, its parts separated by two underscores")
    return parts


def _order(variable: str) -> list[str]:
    """Tables before what is in them, entries by their number."""
    return [part.zfill(6) for part in variable.lower().split("__")]


def _put(document: dict[str, Any], parts: Sequence[str], value: Any) -> Location:
    if parts[0] == "rollouts":
        document.setdefault("rollouts", [{"name": "default"}])  # what the schema has where the file has none
    node: Any = document
    at: Location = ()
    for part, below in zip(parts, [*parts[1:], None], strict=True):
        key = _choose(node, part, at)
        at = (*at, key)
        if below is None:
            _enter(node, key, value, replace=True)
        else:
            node = _enter(node, key, [] if _INDEX.fullmatch(below) else {}, replace=False)
    return at


def _choose(node: Any, part: str, at: Location) -> str | int:
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise _RefusedError(f"{dotted(at)} has nothing below it")
    if _INDEX.fullmatch(part):
        if int(part) > len(node):
            raise _RefusedError(f"{dotted(at)} has {len(node)} entries; the next one is {len(node)}")
        return int(part)
    named = [index for index, entry in enumerate(node) if _answers_to(entry, part)]
    if len(named) != 1:
        raise _RefusedError(f"{dotted(at)} has {len(named) or 'no'} entries named {part}; give the number")
    return named[0]


def _answers_to(entry: Any, part: str) -> bool:
    name = entry.get("name") if isinstance(entry, dict) else None
    # Shells allow only letters, digits and underscores in the names of variables.
    return isinstance(name, str) and re.sub(r"[^0-9a-z]", "_", name.lower()) == part


def _enter(node: Any, key: str | int, value: Any, *, replace: bool) -> Any:
    if isinstance(node, list) and key == len(node):
        node.append(value)
    elif replace or (isinstance(node, dict) and key not in node):
        node[key] = value
    return node[key]
