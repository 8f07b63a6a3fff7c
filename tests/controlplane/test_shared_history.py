"""The audit can be read while the shared store is gone, from what this instance knows, and says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.controlplane.shared_history import SharedHistory
from proxy.controlplane.shared_store import SharedStore
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.stores.memory import MemoryStore
from tests.controlplane.hub import Hub, HubCopy, HubStore
from tests.stores.states import chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import Event


class Own(MemoryStore):
    """A copy that may be damaged."""

    damaged = False

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        if self.damaged:
            raise StoreCorrupt("damaged")
        return await super().events(after=after, limit=limit, rollout=rollout)


@pytest.fixture
async def hub() -> Hub:
    hub = Hub()
    for one in chain("default", [1, 2, 3]):
        await hub.store.commit(one)
    return hub


@pytest.fixture
async def own() -> Own:
    own = Own()
    for one in chain("default", [1, 2]):
        await own.commit(one)
    return own


@pytest.fixture
async def history(hub: Hub, own: Own) -> SharedHistory:
    store = HubStore(hub)
    shared = SharedStore(store, store, HubCopy(hub))
    await shared.open()
    return SharedHistory(shared, hub.store, own)


async def test_it_is_that_of_the_shared_store(history: SharedHistory) -> None:
    assert [one.seq for one in await history.events()] == [1, 2, 3]
    assert (await history.records(after=1)).head.seq == 3
    assert not history.is_local


async def test_while_that_is_gone_it_is_our_copys(hub: Hub, history: SharedHistory) -> None:
    hub.gone = True  # and nobody has noticed yet
    assert [one.seq for one in await history.events(rollout="default")] == [1, 2]
    assert history.is_local
    hub.gone = False
    await history.events()
    assert not history.is_local


async def test_of_a_store_that_hangs_the_copy_is_read_in_time(
    hub: Hub, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks has two seconds, and `store.timeout` may be longer."""

    async def hang(**_: object) -> None:
        await asyncio.Event().wait()

    store = HubStore(hub)
    shared = SharedStore(store, store, HubCopy(hub))
    await shared.open()
    history = SharedHistory(shared, hub.store, own, patience_s=0.01)
    monkeypatch.setattr(store, "events", hang)
    assert [one.seq for one in await history.events()] == [1, 2]
    assert history.is_local
    own.damaged = True
    with pytest.raises(StoreUnavailable, match="within"):
        await history.events()


async def test_it_is_not_asked_while_it_is_known_to_be_gone(history: SharedHistory) -> None:
    history._store.is_reached = False
    page = await history.records()
    assert (page.head.seq, history.is_local) == (2, True)


async def test_where_neither_can_be_read_the_store_is_to_blame(
    hub: Hub, own: Own, history: SharedHistory
) -> None:
    hub.gone = own.damaged = True
    with pytest.raises(StoreUnavailable, match="gone"):
        await history.events()
    assert "SharedHistory" in repr(history)
