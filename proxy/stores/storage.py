"""All that is kept in one place, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.ports import (
        Copy,
        Fenced,
        History,
        Journal,
        Minutes,
        OverrideStore,
        Peers,
        Store,
        Trail,
        Trimming,
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What there is only where several instances share a store."""

    fenced: Fenced
    peers: Peers
    copy: Copy
    own: History  # what the copy holds, for people
    journal: Journal


@dataclass(frozen=True, slots=True)
class Storage:
    """All that is kept. Opening and closing `store` opens and closes the others; but the copy of what is
    `shared` is a file of its own."""

    store: Store
    overrides: OverrideStore
    trail: Trail
    minutes: Minutes
    shared: Shared | None = None
    trimming: Trimming | None = None
