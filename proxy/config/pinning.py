"""Keys that the environment sends to one path: `DUALPATH_OVERRIDES="checkout:ada=v2,search:bob=v1"`.

Owns the form of that variable, and that it beats the file's lists. What it says becomes part of the rollouts'
`allow` before anything is checked, so that the rest of the proxy knows of lists alone. It must not know what
a list leads to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.config.units import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.config.faults import Problem

VARIABLE: Final = "DUALPATH_OVERRIDES"

_PATHS = ("v1", "v2")


def pin_keys(document: dict[str, Any], environ: Mapping[str, str]) -> list[Problem]:
    """Write what the variable says into `document`, in place. Returns what of it cannot be."""
    entries = [entry.strip() for entry in environ.get(VARIABLE, "").split(",")]
    return [(VARIABLE, problem) for entry in entries if entry for problem in _pin(document, entry)]


def _pin(document: dict[str, Any], entry: str) -> Iterator[str]:
    name, colon, rest = entry.partition(":")
    key, _, path = rest.rpartition("=")
    if not colon or not name or not key or path not in _PATHS:
        yield f"must be rollout:key=v1 or rollout:key=v2, separated by commas, not {shown(entry)}"
        return
    rollouts = document.setdefault("rollouts", [{"name": "default"}])  # what the schema has without any
    listed = rollouts if isinstance(rollouts, list) else ()
    named = [one for one in listed if isinstance(one, dict) and one.get("name") == name]
    if not named:
        yield f"there is no rollout {shown(name)}"
        return
    other = _PATHS[1 - _PATHS.index(path)]
    for table, against in (("allow", other), ("deny", path)):
        _without(named[0].get(table), against, key)
    allow = named[0].setdefault("allow", {})
    keys = allow.setdefault(path, []) if isinstance(allow, dict) else None
    if isinstance(keys, list) and key not in keys:
        keys.append(key)


def _without(table: object, path: str, key: str) -> None:
    """What is no list of keys is left to the schema's complaint."""
    keys = table.get(path) if isinstance(table, dict) else None
    if isinstance(table, dict) and isinstance(keys, list):
        table[path] = [one for one in keys if one != key]
