"""How an instance of a fleet is put together: what stands between its controller and a store that is shared.

Owns the choice by the store's URL: alone, a controller has its store and its evidence as they are. It holds
no logic of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import sha256
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from proxy.controlplane.fleet import About, Fleet
from proxy.controlplane.following import sole
from proxy.controlplane.mending import Place
from proxy.controlplane.shared_evidence import SharedEvidence
from proxy.controlplane.shared_history import SharedHistory
from proxy.controlplane.shared_store import SharedStore
from proxy.controlplane.store_clock import StoreClock
from proxy.core.fleet import Role
from proxy.core.peers import Identity
from proxy.stores.opening import storage_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller
    from proxy.core.minute import Minute
    from proxy.ports import Clock, Evidence, Minutes, OverrideStore, Random, Store, Trail
    from proxy.stores.storage import Storage

log = logging.getLogger("dualpath.fleet")

_LEAST_WINDOW_S: Final = 300.0
_MOST_WINDOW_S: Final = 3600.0
_SLACK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What the control plane stands on."""

    store: Store
    overrides: OverrideStore
    evidence: Evidence
    clock: Clock
    role: Callable[[], Role]
    minutes: Minutes
    storage: Storage
    fleet: Fleet | None = None
    shared: SharedEvidence | None = None
    history: SharedHistory | None = None

    @property
    def trail(self) -> Trail:
        """The audit as it was written, for people."""
        return self.storage.trail if self.history is None else self.history

    def is_history_local(self) -> bool:
        """Whether what was read of it last is from our own copy."""
        return self.history is not None and self.history.is_local

    def following(self, swap: Callable[[Config], Awaitable[None]]) -> Callable[[Config], Awaitable[None]]:
        """`swap`, and what is drained comes in the new order at the same moment."""
        shared = self.shared
        if shared is None:
            return swap

        async def both(config: Config) -> None:
            await swap(config)
            shared.follow(config.rollouts)

        return both


def ground(
    config: Config,
    evidence: Evidence,
    clock: Clock,
    controller: Callable[[], Controller],
    joining: Joining | None = None,
) -> Ground:
    """What `config` asks for, not yet open. Without a `joining` nobody is told of this instance."""
    joining = joining or _unknown()
    storage = storage_of(config.store, joining.identity)
    parts = storage.shared
    if parts is None:
        return Ground(storage.store, storage.overrides, evidence, clock, sole, storage.minutes, storage)
    store = SharedStore(storage.store, storage.overrides, parts.copy)
    by_store = StoreClock(clock)
    shared = SharedEvidence(
        evidence, config.rollouts, joining.identity, lambda name: controller().revision(name)
    )
    place = Place(
        joining.identity,
        store,
        parts.fenced,
        parts.peers,
        parts.copy,
        parts.journal,
        by_store,
        config.fleet.lease_s,
        window_s(config),
    )
    fleet = Fleet(place, controller, shared, joining.about, joining.rng)
    minutes = MinutesOfJudge(storage.minutes, fleet.role)
    history = SharedHistory(store, storage.trail, parts.own)
    return Ground(store, store, shared, by_store, fleet.role, minutes, storage, fleet, shared, history)


@dataclass(frozen=True, slots=True)
class Joining:
    """Who this instance is among others, if there are any."""

    identity: Identity
    about: About
    rng: Random


def _unknown() -> Joining:
    rng = SystemRandom()
    return Joining(Identity("unknown", f"{rng.getrandbits(48):012x}"), About(str, lambda: 1, str), rng)


class AgreedDigest:
    """A hash of what should be the same on all instances: what is decided by. Worked out once a reload."""

    def __init__(self) -> None:
        self._of: Config | None = None
        self._digest = ""

    def __call__(self, config: Config) -> str:
        if config is not self._of:
            alike = config.model_dump_json(include={"rollouts", "hooks", "webhooks", "alerts"})
            self._of, self._digest = config, sha256(alike.encode()).hexdigest()[:16]
        return self._digest


def window_s(config: Config) -> float:
    """How much evidence a new judge wants to have: as much as the longest window, or phase, looks back on."""
    guards = [guard for rollout in config.rollouts for guard in rollout.guards]
    phases = [phase for rollout in config.rollouts for phase in rollout.phases]
    guards += [guard for phase in phases for guard in phase.abort_if]
    lengths = [guard.window_s for guard in guards] + [phase.min_duration_s for phase in phases]
    return min(max(_LEAST_WINDOW_S, *lengths, 0.0) + _SLACK_S, _MOST_WINDOW_S)


class MinutesOfJudge:
    """`ports.Minutes`, into which the judge alone writes: it has counted for all."""

    def __init__(self, minutes: Minutes, role: Callable[[], Role]) -> None:
        self._minutes = minutes
        self._role = role

    async def append(self, minutes: Sequence[Minute]) -> None:
        """Keep them, if this instance judges; else whoever does keeps them."""
        if self._role() is Role.JUDGE:
            await self._minutes.append(minutes)

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        """As `ports.Minutes`."""
        return await self._minutes.between(rollout, start, end, limit)

    async def prune(self, before: float, limit: int) -> int:
        """Forget the oldest, if this instance judges."""
        return await self._minutes.prune(before, limit) if self._role() is Role.JUDGE else 0
