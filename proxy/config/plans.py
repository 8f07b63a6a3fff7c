"""Plans in files of their own: how `plan = "gradual"` becomes the keys of a rollout's table.

Owns where a plan is found, how it goes together with what the table itself says (that wins, key by key), and
whose problem a problem is. It must not know what any key means: what a plan may hold is `plan.PLAN_KEYS`.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from proxy.config.plan import PLAN_KEYS
from proxy.config.units import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from proxy.config.faults import Problem
    from proxy.config.schema import Config

PRESETS: Final = ("api-migration", "gradual", "staged")
"""The plans that are shipped, in `proxy/plans`; docs/plans.md tells what they do."""

_EITHER: Final = (("phases", "steps"), ("steps", "phases"))
"""Of these, the table's own takes the place of the plan's other."""

_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Planned:
    """A rollout whose table took keys from a plan: its index, the plan's name, and what was its own."""

    index: int
    source: str
    own: dict[str, Any]
    plan: dict[str, Any]


class _RefusedError(Exception):
    """The plan cannot be read; the text says why."""


def preset_text(name: str) -> str:
    """The text of a shipped plan."""
    return files("proxy").joinpath("plans", f"{name}.toml").read_text(encoding="utf-8")


def expand(document: dict[str, Any], folder: Path | None) -> tuple[list[Planned], list[Problem]]:
    """Write the keys of every plan into the tables that name it, in place: what came from where, and what
    could not be read. A file's path counts from `folder`; without one only presets can be read."""
    planned: list[Planned] = []
    problems: list[Problem] = []
    rollouts = document.get("rollouts")
    for index, table in enumerate(rollouts) if isinstance(rollouts, list) else ():
        name = table.get("plan") if isinstance(table, dict) else None
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            continue  # whatever is wrong with it, its own check says
        try:
            source, plan = _read(name, folder)
        except _RefusedError as refused:
            problems.append((f"rollouts.{index}.plan", str(refused)))
            continue
        problems += _unknown(source, plan)
        known = {key: value for key, value in plan.items() if key in PLAN_KEYS}
        planned.append(Planned(index, source, dict(table), known))
        table["plan"] = source
        table.update(_merged(known, table))
    return planned, problems


def attributed(problems: Sequence[Problem], planned: Sequence[Planned]) -> Iterator[Problem]:
    """The problems, with those of a plan's own values under its name: "plans/own.toml: phases.0.name"."""
    for at, message in problems:
        yield next((found for one in planned if (found := _of_plan(at, message, one))), (at, message))


def plans_of(config: Config) -> tuple[str, ...]:
    """The files of plans that `config` was made from, without presets."""
    return tuple(r.plan for r in config.rollouts if r.plan is not None and r.plan not in PRESETS)


def stamps_of_plans(config: Config) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when one of these files does; None for one that is not there."""
    return tuple(_stamp(path) for path in plans_of(config))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(name: str, folder: Path | None) -> tuple[str, dict[str, Any]]:
    """The plan's name from now on (a preset's, or the whole path of a file) and what it holds."""
    preset = name.removeprefix("plans/").removesuffix(".toml")
    if preset in PRESETS:
        return preset, tomllib.loads(preset_text(preset))
    if folder is None:
        raise _RefusedError(f"must be one of {', '.join(PRESETS)}, not {shown(name)}: no file is read here")
    path = folder / name
    try:
        if path.stat().st_size > _LARGEST:
            raise _RefusedError(f"{path}: is not usable: larger than 1 MiB")
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        close = difflib.get_close_matches(preset, PRESETS, n=1)
        hint = f'; did you mean "{close[0]}"?' if close else f" (presets: {', '.join(PRESETS)})"
        raise _RefusedError(f"{path}: cannot be read: {error.strerror}{hint}") from None
    except (ValueError, RecursionError) as error:  # neither TOML nor UTF-8
        raise _RefusedError(f"{path}: is not usable: {error}") from None


def _unknown(source: str, plan: dict[str, Any]) -> Iterator[Problem]:
    for key in plan.keys() - PLAN_KEYS:
        close = difflib.get_close_matches(key, PLAN_KEYS, n=1)
        yield (
            f"{source}: {key}",
            f'unknown key; did you mean "{close[0]}"?' if close else "unknown key of a plan",
        )


def _merged(plan: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    left_out = {theirs for ours, theirs in _EITHER if ours in own and theirs not in own}
    merged = {key: value for key, value in plan.items() if key not in left_out}
    for key, value in own.items():
        before = merged.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = _merged(before, value) if both and before is not None else value
    return merged


def _of_plan(at: str, message: str, planned: Planned) -> Problem | None:
    head = f"rollouts.{planned.index}."
    if not at.startswith(head):
        return None
    rest = at.removeprefix(head)
    own: Any = planned.own
    theirs: Any = planned.plan
    for part in rest.split("."):
        if not isinstance(own, dict):
            return None
        if part not in own:
            break
        own = own[part]
        theirs = theirs.get(part) if isinstance(theirs, dict) else None
    else:
        return None
    return (f"{planned.source}: {rest}", message) if isinstance(theirs, dict) and part in theirs else None
