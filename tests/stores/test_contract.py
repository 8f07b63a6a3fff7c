"""What every store promises, asked of each of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import RevisionConflict
from proxy.judgment import Action, GuardReading, Judgment, Metric, Verdict
from proxy.model import State
from proxy.stores.memory import MemoryStore
from proxy.stores.sqlite import SqliteStore
from tests.stores.states import NEW, chain, event, step

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.ports import Store
    from proxy.stores.storage import Storage

READING = GuardReading(
    guard="error_rate above 0.1",
    metric=Metric.ERROR_RATE,
    value=0.315,
    limit=0.1,
    sample=200,
    min_requests=20,
    crossed=True,
    firing=True,
    action=Action.ROLLBACK,
)
JUDGMENT = Judgment(
    Verdict.FAIL, ("too many errors",), "guard:error_rate", Action.ROLLBACK, 0, (READING,), ()
)


@pytest.fixture
def store(storage: Storage) -> Store:
    return storage.store


async def test_a_new_store_is_empty(store: Store) -> None:
    assert dict(await store.load()) == {}
    assert list(await store.events()) == []
    assert list(await store.events(after=-1)) == []


async def test_a_commit_is_the_state_and_the_event(store: Store) -> None:
    transition = replace(step(NEW, 1_000), judgment=JUDGMENT)
    committed = await store.commit(transition)
    assert (committed.seq, committed.transition) == (1, transition)
    assert dict(await store.load()) == {"default": transition.after}
    assert list(await store.events()) == [committed]


async def test_every_field_of_a_state_comes_back(store: Store) -> None:
    after = replace(
        NEW, state=State.PAUSED, weight=12_345, phase="canary", revision=1, since=1.1, reason='ünï "x"\n'
    )
    await store.commit(replace(step(NEW, 0), after=after))
    assert (await store.load())["default"] == after


async def test_rollouts_have_revisions_of_their_own_and_share_the_numbering(store: Store) -> None:
    first, second = chain("a", [1, 2]), chain("b", [3, 4])
    numbers = [(await store.commit(t)).seq for pair in zip(first, second, strict=True) for t in pair]
    assert numbers == [1, 2, 3, 4]
    assert {name: state.weight for name, state in (await store.load()).items()} == {"a": 2, "b": 4}
    assert [e.seq for e in await store.events(rollout="b")] == [2, 4]


async def test_events_page_forward_and_the_newest_come_oldest_first(store: Store) -> None:
    for transition in chain("a", [1, 2, 3, 4, 5]):
        await store.commit(transition)
    assert [e.seq for e in await store.events(limit=2)] == [1, 2]
    assert [e.seq for e in await store.events(after=2, limit=2)] == [3, 4]
    assert [e.seq for e in await store.events(after=5)] == []
    assert [e.seq for e in await store.events(after=-1, limit=2)] == [4, 5]
    assert [e.seq for e in await store.events(after=-1, limit=9)] == [1, 2, 3, 4, 5]
    assert [e.seq for e in await store.events(after=-1, limit=3, rollout="b")] == []
    assert list(await store.events(limit=0)) == list(await store.events(after=-1, limit=-1)) == []


async def test_an_event_without_a_change_leaves_the_state_and_takes_a_number(store: Store) -> None:
    first = step(NEW, 500)
    await store.commit(first)
    await store.commit(event(first.after))
    assert dict(await store.load()) == {"default": first.after}
    assert [e.transition.cause for e in await store.events()] == ["command:set", "alert:latency_p95"]


async def test_a_stale_revision_changes_nothing(store: Store) -> None:
    first, second = chain("default", [10, 20])
    await store.commit(first)
    await store.commit(second)
    for stale in (step(NEW, 99_000), step(first.after, 99_000), event(first.after)):
        with pytest.raises(RevisionConflict, match="default"):
            await store.commit(stale)
    assert dict(await store.load()) == {"default": second.after}
    assert len(await store.events()) == 2


@pytest.mark.parametrize("revision", [0, 3])
async def test_an_event_or_a_later_revision_of_an_unknown_rollout_is_a_conflict(
    store: Store, revision: int
) -> None:
    with pytest.raises(RevisionConflict):
        await store.commit(event(replace(NEW, revision=revision)))
    with pytest.raises(RevisionConflict):
        await store.commit(step(replace(NEW, revision=3), 5))
    assert list(await store.events()) == []


async def test_transitions_that_follow_no_rule_are_refused(store: Store) -> None:
    good = step(NEW, 500)
    for bad in (
        replace(good, after=replace(good.after, revision=2)),
        replace(good, after=replace(good.after, revision=0)),
        replace(good, after=replace(good.after, name="other")),
    ):
        with pytest.raises(ValueError, match="default"):
            await store.commit(bad)
    assert dict(await store.load()) == {}


async def test_of_many_writers_at_once_exactly_one_wins(store: Store) -> None:
    outcomes = await asyncio.gather(*(store.commit(step(NEW, w)) for w in range(8)), return_exceptions=True)
    assert sum(isinstance(o, RevisionConflict) for o in outcomes) == 7
    [committed] = await store.events()
    assert dict(await store.load()) == {"default": committed.transition.after}


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    assert repr(MemoryStore()) == "MemoryStore(0 rollouts, 0 events)"
    assert repr(SqliteStore(tmp_path / "x.db")) == f"SqliteStore('{tmp_path / 'x.db'}', closed)"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), st.integers(0, 100_000)), max_size=12)
)
async def test_any_sequence_of_commits_leaves_state_and_audit_in_step(
    script: list[tuple[str, int, int]],
) -> None:
    """Whatever is tried, from whichever revision: the last event of a rollout is its state, without gaps."""
    store = MemoryStore()
    for name, revision, weight in script:
        try:
            await store.commit(step(replace(NEW, name=name, revision=revision), weight))
        except RevisionConflict:
            continue
    for name, state in (await store.load()).items():
        revisions = [e.transition.after.revision for e in await store.events(rollout=name)]
        assert revisions == list(range(1, state.revision + 1))
        assert (await store.events(rollout=name))[-1].transition.after == state
    assert [e.seq for e in await store.events()] == list(range(1, len(await store.events()) + 1))
