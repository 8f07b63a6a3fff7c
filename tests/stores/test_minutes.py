"""Minutes, asked of every store: what was written is read back, in order, until it is forgotten."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import BUCKET_COUNT
from proxy.core.minute import Minute
from proxy.core.tally import ERROR_CLASSES, FALLBACK_REASONS, PathTally, Tally
from proxy.errors import StoreCorrupt
from proxy.judgment import Verdict
from proxy.model import State
from proxy.stores.memory import MemoryMinutes
from proxy.stores.minute_records import decode_minute, encode_minute
from proxy.stores.opening import storage_at
from tests.fakes import traffic
from tests.stores.states import NEW, step

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.stores.storage import Storage

MINUTE = Minute(
    "default", 1_700_000_000.125, 60.0, State.RUNNING, 1_000, "canary", Verdict.HOLD, traffic(100, 30)
)


def minutes(count: int, rollout: str = "default") -> list[Minute]:
    return [replace(MINUTE, rollout=rollout, at=60.0 * number) for number in range(count)]


async def test_a_minute_comes_back_as_it_was(storage: Storage) -> None:
    tally = traffic(100, 30, v2_errors=3, fallbacks=2, client_errors=1)
    tally.overridden, tally.client_aborts, tally.fallback_errors = 4, 5, 6
    tally.over_budget[0] = 7
    kept = replace(MINUTE, state=State.PAUSED, phase=None, verdict=Verdict.FAIL, seconds=12.345, tally=tally)
    await storage.minutes.append([kept])
    [read] = await storage.minutes.between("default", kept.at, kept.at + 1, 10)
    assert read == kept
    assert read.snapshot() == kept.snapshot()


async def test_to_forget_what_was_before_all_time_is_a_write_that_leaves_nothing(tmp_path: Path) -> None:
    """By which it is found out whether a store can be written: to delete nothing succeeds on a full disk."""
    opened = storage_at(f"sqlite:///{tmp_path / 'store.db'}")
    await opened.store.open()
    try:
        await opened.store.commit(step(NEW, 5))
        log = tmp_path / "store.db-wal"
        before = log.read_bytes()
        assert await opened.minutes.prune(-1.0, 1) == 0
        assert len(log.read_bytes()) > len(before) + 32_768
        with closing(sqlite3.connect(tmp_path / "store.db")) as db:
            assert db.execute("SELECT count(*) FROM minutes").fetchone() == (0,)
        assert (await opened.store.load())["default"].weight == 5
    finally:
        await opened.store.close()


async def test_minutes_are_read_by_rollout_and_time_oldest_first(storage: Storage) -> None:
    await storage.minutes.append(minutes(5)[::-1])
    await storage.minutes.append(minutes(5, "checkout"))

    async def begins(start: float, end: float, limit: int = 100) -> list[float]:
        return [minute.at for minute in await storage.minutes.between("default", start, end, limit)]

    assert await begins(0.0, 300.0) == [0.0, 60.0, 120.0, 180.0, 240.0]
    assert await begins(60.0, 180.0) == [60.0, 120.0]
    assert await begins(60.001, 1e12, 2) == [120.0, 180.0]
    assert await begins(0.0, 300.0, 0) == await begins(0.0, 300.0, -1) == []
    assert await storage.minutes.between("other", 0.0, 300.0, 10) == []


async def test_the_oldest_are_forgotten_in_pieces(storage: Storage) -> None:
    await storage.minutes.append([*minutes(4), *minutes(4, "checkout")])
    assert await storage.minutes.prune(120.0, 3) == 3
    assert await storage.minutes.prune(120.0, 3) == 1
    assert await storage.minutes.prune(120.0, 3) == 0
    for rollout in ("default", "checkout"):
        assert [one.at for one in await storage.minutes.between(rollout, 0.0, 1e6, 10)] == [120.0, 180.0]


async def test_minutes_are_no_part_of_the_audit(storage: Storage) -> None:
    await storage.store.commit(step(NEW, 1))
    before = await storage.trail.records()
    await storage.minutes.append(minutes(3))
    await storage.minutes.prune(1e9, 10)
    assert await storage.trail.records() == before


async def test_memory_keeps_only_the_newest() -> None:
    kept = MemoryMinutes(most=3)
    await kept.append(minutes(5))
    assert [one.at for one in await kept.between("default", 0.0, 1e6, 10)] == [120.0, 180.0, 240.0]
    assert repr(kept) == "MemoryMinutes(3 minutes)"


async def test_a_minute_that_was_edited_into_nonsense_is_named(tmp_path: Path) -> None:
    storage = storage_at(f"sqlite:///{tmp_path / 'store.db'}")
    await storage.store.open()
    await storage.minutes.append(minutes(2))
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as db:
        db.execute("UPDATE minutes SET record = '{}' WHERE at = 60")
    with pytest.raises(StoreCorrupt, match=r"store\.db: minute 60\.0 of 'default': is no minute"):
        await storage.minutes.between("default", 0.0, 1e6, 10)
    assert len(await storage.minutes.between("default", 0.0, 60.0, 10)) == 1
    assert "store.db" in repr(storage.minutes)
    await storage.store.close()


@pytest.mark.parametrize(
    "change",
    [
        ('"weight":1000', '"weight":100001'),
        ('"weight":1000', '"weight":1.5'),
        ('"weight":1000', '"weight":true'),
        ('"state":"running"', '"state":"flying"'),
        ('"verdict":"hold"', '"verdict":"maybe"'),
        ('"requests":70', '"requests":-70'),
        ('"requests":70', '"requests":"many"'),
        ('"latency":[', '"latency":[7,'),
        ('"latency":[', f'"latency":[{BUCKET_COUNT},1,'),
        ('"fallbacks":{}', '"fallbacks":[]'),
        ("{", "["),
    ],
)
def test_what_is_no_minute_is_refused(change: tuple[str, str]) -> None:
    record = encode_minute(MINUTE)
    assert change[0] in record
    with pytest.raises(StoreCorrupt):
        decode_minute("default", 0.0, record.replace(*change, 1))


def test_a_record_is_compact_and_of_one_line() -> None:
    record = encode_minute(MINUTE)
    assert len(record) < 400
    assert "\n" not in record


def test_what_other_versions_count_is_passed_over_or_zero() -> None:
    record = encode_minute(MINUTE).replace('"client_requests":100', '"client_moods":3')
    assert decode_minute("default", 0.0, record).tally.client_requests == 0


counts = st.integers(0, 10**9)


@st.composite
def path_tallies(draw: st.DrawFn) -> PathTally:
    path = PathTally(errors=[draw(counts) for _ in ERROR_CLASSES])
    for latency in draw(st.lists(st.floats(0, 2_000), max_size=5)):
        path.latency.record(latency)
        path.requests += 1
    return path if path.requests else PathTally()


@given(
    path_tallies(),
    path_tallies(),
    st.lists(counts, min_size=len(FALLBACK_REASONS), max_size=len(FALLBACK_REASONS)),
    counts,
)
def test_any_tally_is_read_back_equal(v1: PathTally, v2: PathTally, fallbacks: list[int], count: int) -> None:
    minute = replace(MINUTE, tally=Tally(v1, v2, count, 0, count, fallbacks, client_errors=count))
    assert decode_minute(minute.rollout, minute.at, encode_minute(minute)) == minute
