"""The store that several instances share, as the controller of one of them sees it.

Owns when nothing may be written: while the store does not answer, and while it does not have what we know to
have been written. Reading falls back to our copy as long as we have not reached it. Must never know why a
state changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.audit import Head
from proxy.core.peers import Kept, Standing
from proxy.errors import StaleFence, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.core.peers import Followed
    from proxy.model import Event, KeyOverride, RolloutState, Transition
    from proxy.ports import Copy, OverrideStore, Store

_NOTHING = Kept(Head(), {})


class SharedStore:
    """`ports.Store` and `ports.OverrideStore` over `store`, which keeps both, and `copy`.

    `is_reached` is set by whoever exchanges with it; `standing` is None before it was followed.
    """

    def __init__(self, store: Store, overrides: OverrideStore, copy: Copy) -> None:
        self.standing: Standing | None = None
        self.is_reached = False
        self.trouble = "it has not been reached yet"
        self.kept = _NOTHING  # what we know
        self.left = 0  # events of it that our copy does not have yet
        self.on_stale: Callable[[], None] = lambda: None
        self._store = store
        self._overrides = overrides
        self._copy = copy
        self._is_open = False
        self._is_copy_open = False

    async def open(self) -> None:
        """Open the copy, and the store if it answers. Raises `StoreCorrupt`, or `StoreUnavailable` for the
        copy."""
        if not self._is_copy_open:
            self.kept = await self._copy.open()
            self._is_copy_open = True
        self.is_reached = await self.reach()

    async def reach(self) -> bool:
        """Open the store unless it is open; whether it is now. Raises `StoreCorrupt`."""
        if not self._is_open:
            try:
                await self._store.open()
            except StoreUnavailable as error:
                self.trouble = str(error)
                return False
            self._is_open = True
        return True

    @property
    def copied(self) -> int:
        """The last event that our copy has."""
        return self.kept.head.seq - self.left

    async def load(self) -> Mapping[str, RolloutState]:
        """The present states, or those of the copy while the store does not answer."""
        return self.kept.states if not self.is_reached else await self._store.load()

    async def overrides(self) -> Sequence[KeyOverride]:
        """All that are kept, here or there."""
        return self.kept.overrides if not self.is_reached else await self._overrides.overrides()

    async def follow(self) -> Followed:
        """Compare the copy with the store, and copy what is new. Raises as both do."""
        followed = await self._copy.follow()
        self.standing, self.left = followed.standing, followed.left
        self.kept = followed.shared if followed.standing is Standing.SAME else followed.own
        return followed

    async def commit(self, transition: Transition) -> Event:
        """As `ports.Store`; a judge that is none any more is told so at once."""
        self._require_writable()
        try:
            return await self._store.commit(transition)
        except StaleFence:
            self.on_stale()
            raise

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        """As `ports.OverrideStore`."""
        self._require_writable()
        return await self._overrides.put(override, event)

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        """As `ports.OverrideStore`."""
        self._require_writable()
        return await self._overrides.remove(rollout, key, event)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """As `ports.Store`."""
        self.require_reached()
        return await self._store.events(after=after, limit=limit, rollout=rollout)

    def require_reached(self) -> None:
        """Raises `StoreUnavailable` if it is known to be gone."""
        if not self.is_reached:
            raise StoreUnavailable(f"the shared store cannot be reached: {self.trouble}")

    async def close(self) -> None:
        """Close both."""
        try:
            if self._is_copy_open:
                await self._copy.close()
        finally:
            await self._store.close()

    def _require_writable(self) -> None:
        """Fails at once where it would fail anyway: nobody waits for a store that is known to be gone."""
        self.require_reached()
        if self.standing is not Standing.SAME:
            raise StoreUnavailable("the shared store has lost what was written; it is being put right")

    def __repr__(self) -> str:
        return f"SharedStore({self.standing or 'not reached'}, {self.kept.head.seq} events known)"
