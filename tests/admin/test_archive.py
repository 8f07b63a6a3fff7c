"""What is looked up in the store comes in pages, and a store that hangs is not waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from proxy.admin.archive import Archive
from proxy.admin.inputs import MinuteQuery, read_minute_query, read_trail_query
from proxy.admin.problems import RefusedError
from proxy.core.audit import GENESIS
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.stores.memory import MemoryMinutes, MemoryStore
from tests.stores.states import chain
from tests.stores.test_minutes import MINUTE, minutes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.audit import TrailPage
    from proxy.core.minute import Minute

NOW = 1_767_225_600.0  # 2026-01-01


async def test_minutes_come_oldest_first_with_the_figures_of_a_rollout() -> None:
    kept = MemoryMinutes()
    await kept.append([MINUTE, replace(MINUTE, rollout="other")])
    seen = await Archive(None, kept).minutes("default", MinuteQuery(0.0, 2e9, 10))
    assert (seen["rollout"], seen["next"]) == ("default", None)
    [minute] = cast("list[dict[str, Any]]", seen["minutes"])
    assert (minute["at"], minute["seconds"]) == ("2023-11-14T22:13:20.125Z", 60.0)
    assert (minute["state"], minute["phase"], minute["percentage"]) == ("running", "canary", 1.0)
    assert (minute["verdict"], minute["weight"]) == ("hold", 1_000)
    assert minute["paths"]["v2"]["requests"] == 30
    assert minute["client"]["requests"] == 100


@pytest.mark.parametrize("limit", [1, 30, 31, 45, 100])
async def test_next_leads_through_all_of_them(limit: int) -> None:
    kept = MemoryMinutes()
    await kept.append([replace(one, at=NOW + one.at + 0.125) for one in minutes(100)])
    archive, start, found = Archive(None, kept), str(NOW), []
    while start:
        query = read_minute_query([("from", start), ("to", str(NOW + 1e6)), ("limit", str(limit))], NOW)
        page = await archive.minutes("default", query)
        assert isinstance(page["minutes"], list)
        found += [minute["at"] for minute in page["minutes"]]
        start = str(page["next"] or "")
    assert len(found) == len(set(found)) == 100


class Failing(MemoryMinutes):
    """A store that cannot be written."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def prune(self, before: float, limit: int) -> int:
        raise self.error


async def test_whether_the_store_can_be_written_is_tried_and_changes_nothing() -> None:
    kept = MemoryMinutes()
    await kept.append([MINUTE])
    assert await Archive(None, kept).trouble() is None
    assert len(await kept.between("default", 0.0, 2e9, 10)) == 1
    assert await Archive().trouble() is None
    for error in (StoreUnavailable("is locked"), StoreCorrupt("is damaged")):
        assert await Archive(None, Failing(error)).trouble() == str(error)


class Hanging:
    """A store that never answers."""

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        raise await asyncio.Event().wait()  # type: ignore[misc]

    async def append(self, minutes: Sequence[Minute]) -> None: ...

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        raise await asyncio.Event().wait()  # type: ignore[misc]

    async def prune(self, before: float, limit: int) -> int:
        return 0


async def test_a_store_that_hangs_is_not_waited_for() -> None:
    hanging = Hanging()
    archive = Archive(hanging, hanging, timeout_s=0.001)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await archive.records(after=0, limit=1)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await archive.minutes("default", MinuteQuery(0.0, 1.0, 1))


async def test_records_are_shown_as_they_are() -> None:
    store = MemoryStore()
    for transition in chain("default", [1, 2, 3]):
        await store.commit(transition)
    page = await store.records()
    seen = await Archive(store).records(after=1, limit=1)
    assert seen == {
        "records": [
            {
                "seq": 2,
                "hash": page.records[1].hash,
                "rollout": "default",
                "record": page.records[1].text,
            }
        ],
        "head": {"seq": 3, "hash": page.records[2].hash, "adopted": 0},
        "begin": {"seq": 0, "hash": GENESIS},
        "local_only": False,
    }
    assert "MemoryStore" in repr(Archive(store))


async def test_without_a_store_there_is_nothing() -> None:
    assert (await Archive().records(after=0, limit=1))["records"] == []
    assert (await Archive().minutes("default", MinuteQuery(0.0, 1.0, 1)))["minutes"] == []


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({}, NOW - 3600, NOW),
        ({"to": "7200"}, 3600.0, 7200.0),
        ({"from": "2026-01-01T00:00:00Z"}, NOW, NOW),
        ({"from": "2026-01-01T02:00:00+02:00"}, NOW, NOW),
        ({"from": "2026-01-01T02:00:00 02:00"}, NOW, NOW),  # a plus that nobody escaped
        ({"from": "1767225600.25", "to": "2026-01-02T00:00:00.5Z"}, NOW + 0.25, NOW + 86_400.5),
    ],
)
def test_instants_are_given_in_either_form(query: dict[str, str], start: float, end: float) -> None:
    assert read_minute_query(query.items(), NOW) == MinuteQuery(start, end, 1440)


@pytest.mark.parametrize("value", ["", "today", "2026-01-01", "2026-01-01T00:00:00", "-5", "1e9", "9" * 20])
def test_what_is_no_instant_is_refused(value: str) -> None:
    with pytest.raises(RefusedError, match='"from" must be an instant'):
        read_minute_query([("from", value)], NOW)


@pytest.mark.parametrize(("name", "value"), [("after", "-1"), ("limit", "0"), ("rollout", "default")])
def test_the_trail_takes_no_other_query(name: str, value: str) -> None:
    with pytest.raises(RefusedError):
        read_trail_query([(name, value)])
