"""The names of all keys in Redis, and the version of what they hold.

Owns both. All keys of a fleet share one hash tag, so that a cluster keeps them in one slot and one script may
touch them all. Must never know what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FORMAT: Final = "1"
"""Grows when an older dualpath would misread what is kept. Fields that are added do not make it grow."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the fleet with this prefix."""

    prefix: str

    @property
    def head(self) -> str:
        """A hash: format, seq, hash, adopted. Where the audit ends."""
        return self._named("head")

    @property
    def states(self) -> str:
        """A hash: rollout to the JSON of its state."""
        return self._named("state")

    @property
    def overrides(self) -> str:
        """A hash: JSON of rollout and key to the JSON of the override."""
        return self._named("overrides")

    @property
    def audit(self) -> str:
        """A stream: the event with the number SEQ has the id SEQ-0, and the fields rollout, record, hash."""
        return self._named("audit")

    @property
    def lease(self) -> str:
        """A string that runs out: token, epoch and instance of the judge."""
        return self._named("lease")

    @property
    def fence(self) -> str:
        """A string: the highest token so far."""
        return self._named("fence")

    @property
    def reports(self) -> str:
        """A stream: what the instances have counted."""
        return self._named("reports")

    @property
    def journal(self) -> str:
        """A stream that runs out: the judge's journal. The entry that ends with second N has the id of its
        millisecond N000, and the field entry."""
        return self._named("journal")

    @property
    def heard(self) -> str:
        """A string that runs out: who had told what when the last entry of the journal ended."""
        return self._named("heard")

    @property
    def members(self) -> str:
        """A hash: epoch and instance to what it says of itself."""
        return self._named("members")

    @property
    def seen(self) -> str:
        """A sorted set: epoch and instance by the millisecond until which it counts as present."""
        return self._named("seen")

    @property
    def changes(self) -> str:
        """A channel: the number of each event as it is written."""
        return self._named("changes")

    @property
    def minutes(self) -> str:
        """A set: the rollouts of which there are minutes."""
        return self._named("minutes")

    def minutes_of(self, rollout: str) -> str:
        """A sorted set: instant and record of each minute, by its beginning."""
        return self._named(f"minutes:{rollout}")

    def refill(self, mark: str) -> str:
        """A stream that runs out: audit on its way into a store that has lost it."""
        return self._named(f"refill:{mark}")

    @property
    def trial(self) -> str:
        """A string that runs out at once: whether anything can be written."""
        return self._named("trial")

    def _named(self, name: str) -> str:
        return f"{{{self.prefix}}}:{name}"
