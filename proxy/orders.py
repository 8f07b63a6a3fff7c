"""What a supervisor and its workers say to each other: the kinds of frames, and how a state is written.

Owns the vocabulary; reports have their own format in `core.delta`. It must never know how a frame travels.

Down go `serve` (once, first: everything a worker needs), `state`, `health`, `adopt` and `release` (accept on
a sibling's socket, or no more), `overrides` (of a rollout's keys: all that there are), `replace` (a new
configuration), `confirm` (the supervisor decides from now on: outlive it), `reopen` (the files of the log),
`alone` (close every socket that is not your own) and `drain`. Up come `ready`, `report`, `replaced` or
`refused`, `alone`, and `leaving` (told to end by somebody else). Supervisor and workers are of one version: a
new one starts workers of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from proxy.config.export import whole
from proxy.errors import WireError
from proxy.model import BUCKETS, Path, RolloutState, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.config.schema import Config

Frame = dict[str, Any]
Overrides = dict[str, dict[str, Path]]
"""By rollout and key."""

_REPORT_S: Final = 0.25
_LEAST_REPORT_S: Final = 0.05
_UNKNOWN_TO_WORKERS: Final = ("admin", "store", "webhooks")


def serve_frame(
    config: Config,
    workers: int,
    states: Iterable[RolloutState],
    overrides: Overrides,
    unhealthy: Iterable[tuple[Path, str]],
) -> Frame:
    """The first one: settings, and what is in force."""
    return {**replace_frame(config, workers, states, overrides), **health_frame(unhealthy), "kind": "serve"}


def replace_frame(
    config: Config, workers: int, states: Iterable[RolloutState], overrides: Overrides
) -> Frame:
    """New settings, and what is in force under them. `every_s` is the time between two reports: short enough
    that a judgment waits for none."""
    tick_s = min(rollout.judge.tick_s for rollout in config.rollouts)
    return {
        "kind": "replace",
        "config": config_fields(config, workers),
        "states": [state_fields(state) for state in states],
        "overrides": {rollout: _by_path(keys) for rollout, keys in overrides.items()},
        "every_s": max(_LEAST_REPORT_S, min(_REPORT_S, tick_s / 2)),
    }


def state_frame(state: RolloutState) -> Frame:
    """A rollout's state comes into force; those that wait together travel as one frame of "states"."""
    return {"kind": "state", "state": state_fields(state)}


def override_frame(rollout: str, keys: Mapping[str, Path]) -> Frame:
    """These keys of the rollout go to these paths, and no others do."""
    return {"kind": "overrides", "overrides": {rollout: _by_path(keys)}}


def health_frame(unhealthy: Iterable[tuple[Path, str]]) -> Frame:
    """These endpoints, path and URL, are not well; all others are."""
    return {"kind": "health", "unhealthy": sorted([path.value, url] for path, url in unhealthy)}


def config_fields(config: Config, workers: int) -> Frame:
    """What each of so many workers needs of the configuration, with the secrets that it verifies by.

    Limits that are numbers, not shares, are for all workers together: each gets its part.
    """
    fields = {key: table for key, table in whole(config).items() if key not in _UNKNOWN_TO_WORKERS}
    listen = fields["listen"]
    listen["max_connections"] = math.ceil(listen["max_connections"] / workers)
    for path in Path:
        backend = fields["backends"][path.value]
        backend["max_idle_connections"] = math.ceil(backend["max_idle_connections"] / workers)
    for rollout in fields["rollouts"]:
        rollout["fallback"]["budget_floor"] /= workers
    return fields


def state_fields(state: RolloutState) -> Frame:
    """A state as plain values."""
    return {
        "name": state.name,
        "state": state.state.value,
        "weight": state.weight,
        "phase": state.phase,
        "revision": state.revision,
        "since": state.since,
        "reason": state.reason,
        "retries": state.retries,
        "rolled_back_from": state.rolled_back_from,
    }


def _by_path(keys: Mapping[str, Path]) -> dict[str, list[str]]:
    return {path.value: [key for key, leads_to in keys.items() if leads_to is path] for path in Path}


def read_overrides(fields: object) -> Overrides:
    """The overrides of a frame. Raises `WireError`."""
    try:
        return {
            str(rollout): {str(key): Path(path) for path, keys in paths.items() for key in keys}
            for rollout, paths in fields.items()  # type: ignore[attr-defined]
        }
    except (AttributeError, TypeError, ValueError):
        raise WireError("overrides that are none") from None


def read_state(fields: object) -> RolloutState:
    """The state of `state_fields`. Raises `WireError`."""
    try:
        # The state first: compiled, the class takes nothing else in its place.
        state = RolloutState(**{**fields, "state": State(fields["state"])})  # type: ignore[arg-type, dict-item, index]
        if 0 <= state.weight <= BUCKETS and state.revision >= 0:
            return state
    except (TypeError, ValueError, KeyError):
        pass
    raise WireError("a state that is none")


def read_unhealthy(entries: object) -> frozenset[tuple[Path, str]]:
    """The endpoints of `health_frame`. Raises `WireError`."""
    try:
        return frozenset((Path(path), str(url)) for path, url in entries)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise WireError("endpoints that are none") from None
