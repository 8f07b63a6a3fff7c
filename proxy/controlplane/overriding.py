"""Commands that concern one key: an override is set, taken back, shown.

Owns what may be overridden and in which order it happens. Must never know HTTP, nor how it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.controlplane.following import Following
from proxy.controlplane.overrides import OverrideChange
from proxy.errors import InvalidCommand, UnknownOverride
from proxy.model import KeyOverride, Path

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_OVERRIDES = 10_000  # a rollout; a list of more users belongs into the configuration


class Overriding(Following):
    """`Following`, and the overrides of keys."""

    def overrides(self, rollout: str) -> Sequence[KeyOverride]:
        """What is in force, by key. Raises `UnknownRollout`."""
        self._watch(rollout)
        return self._overrides.of(rollout)

    def is_override_stored(self, rollout: str, key: str) -> bool:
        """Whether what is in force for that key is in the store too."""
        return self._overrides.is_stored(rollout, key)

    async def override(self, wanted: KeyOverride) -> KeyOverride:
        """Send a key to one path; gives what is in force then. The same again, but for who and when, changes
        nothing.

        To v1 it is in force at once and needs no store. Raises `UnknownRollout`, `InvalidCommand`,
        `StoreUnavailable`, and has then changed nothing.
        """
        self._watch(wanted.rollout)
        present = self._overrides.find(wanted.rollout, wanted.key)
        self._check(wanted, present)
        if present is not None and _says(present) == _says(wanted):
            return present
        until = "" if wanted.expires_at is None else f" for {wanted.expires_at - wanted.at:.0f} s"
        reason = f"{wanted.reason}{until}".strip()
        change = OverrideChange(
            wanted.rollout, wanted.key, wanted, "override:set", wanted.actor, reason, wanted.at
        )
        await self._carry_out(change, safe=wanted.path is Path.V1)
        return wanted

    async def take_override_back(self, rollout: str, key: str, actor: str) -> KeyOverride:
        """The key is split like all others again; gives what was in force. Of one to v2 that is so at once
        and needs no store. Raises `UnknownRollout`, `UnknownOverride`, `StoreUnavailable`."""
        self._watch(rollout)
        present = self._overrides.find(rollout, key)
        if present is None:
            raise UnknownOverride(f"rollout {rollout!r} has no override of key {key!r}")
        change = OverrideChange(
            rollout, key, None, "override:removed", actor, f"was {present.path}", self._clock.wall()
        )
        await self._carry_out(change, safe=present.path is Path.V2)
        return present

    def _check(self, wanted: KeyOverride, present: KeyOverride | None) -> None:
        if not wanted.key:
            raise InvalidCommand("an override needs a key")
        if wanted.expires_at is not None and wanted.expires_at <= wanted.at:
            raise InvalidCommand("an override cannot have expired already")
        if present is None and len(self._overrides.of(wanted.rollout)) >= _MOST_OVERRIDES:
            raise InvalidCommand(f"there are {_MOST_OVERRIDES} overrides: more belong into the configuration")

    async def _carry_out(self, change: OverrideChange, *, safe: bool) -> None:
        if safe:
            self._overrides.tighten(change)
            await self._write()
            return
        async with self._writing:
            await self._flush()
            await self._overrides.write_first(change)


def _says(override: KeyOverride) -> tuple[Path, float | None, str]:
    return override.path, override.expires_at, override.reason
