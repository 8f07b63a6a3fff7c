"""What a judge leaves to its successor: with it a new judge reads a few reports and knows the same; without
it, or with one that cannot be believed, it reads all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.controlplane.journaling import Journaling, left
from proxy.controlplane.replaying import pieces
from proxy.core.heard import Heard
from proxy.core.journal import Entry, Leaf
from proxy.core.peers import Dispatch, Identity, Journalled, Lease
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.model import Command, Verb
from tests.controlplane.hub import LEASE_S, Hub, HubJournal, Instance
from tests.controlplane.test_fleet import CONFIG
from tests.controlplane.test_shared_evidence import dispatch
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEASE = Lease(Identity("a", "1"), 1)


class Fleet:
    """Three instances of which the first has judged for a while, and each has told of 5 requests a second."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.all = [Instance(self.hub, CONFIG, name) for name in "abc"]

    async def pass_by(self, seconds: float, among: Sequence[Instance]) -> None:
        for _ in range(round(seconds)):
            self.hub.clock.advance(1.0)
            for one in among:
                await one.round()

    async def busy(self, seconds: int, among: Sequence[Instance]) -> None:
        for _ in range(seconds):
            for one in among:
                one.own.happened(traffic(5))
            await self.pass_by(1, among)
        await self.pass_by(2, among)  # until the last of it is told, and heard

    async def taken_over(self) -> Instance:
        """By the second, when the first is gone."""
        _, b, c = self.all
        self.hub.told = 0
        await self.pass_by(LEASE_S + 2, [b, c])
        assert b.role == "judge"
        return b


@pytest.fixture
async def fleet() -> Fleet:
    found = Fleet()
    for one in found.all:
        one.controller.enter_alone(one.store.kept)
    await found.pass_by(4, found.all)
    await found.all[0].controller.command(Command("default", Verb.START, "tess"))
    await found.pass_by(2, found.all)
    await found.busy(20, found.all)
    return found


def known(one: Instance) -> int:
    return one.controller.report("default").total.client_requests


async def test_a_new_judge_reads_the_journal_and_only_the_reports_that_are_not_in_it(fleet: Fleet) -> None:
    b = await fleet.taken_over()
    assert known(b) == 300
    assert 0 < fleet.hub.told < 30, "and not the 80 that there are"


async def test_the_judge_after_the_next_knows_it_too(fleet: Fleet) -> None:
    a, b, c = fleet.all
    await fleet.taken_over()
    await fleet.busy(5, [b, c])
    await fleet.pass_by(LEASE_S + 2, [c])
    assert c.role == "judge"
    assert known(c) == 350
    await fleet.pass_by(LEASE_S + 2, [a])
    assert known(a) == 350, "what it has counted itself is in there once"


@pytest.mark.parametrize(
    "harm",
    [
        lambda hub: hub.journal.clear(),
        lambda hub: hub.journal.update({max(hub.journal): b"nonsense"}),
        lambda hub: hub.journal.update({max(hub.journal) + 7: hub.journal[max(hub.journal)]}),
        lambda hub: setattr(hub, "heard", b""),
        lambda hub: setattr(hub, "heard", b"{}"),
        lambda hub: hub.journal.pop(max(hub.journal)),
    ],
)
async def test_a_journal_that_cannot_be_believed_costs_time_and_no_evidence(
    fleet: Fleet, harm: Callable[[Hub], None]
) -> None:
    harm(fleet.hub)
    b = await fleet.taken_over()
    assert known(b) == 300
    assert fleet.hub.told > 60
    fleet.hub.told = 0
    await fleet.pass_by(LEASE_S + 2, fleet.all[2:])
    assert known(fleet.all[2]) == 300
    assert fleet.hub.told < 30, "the journal is whole again"


@pytest.mark.parametrize("place", [0, 10, 20])
async def test_what_is_behind_a_gap_is_used(fleet: Fleet, place: int) -> None:
    """And where one of the version before has judged meanwhile, which keeps no journal."""
    seconds = sorted(fleet.hub.journal)
    del fleet.hub.journal[seconds[place]]
    b = await fleet.taken_over()
    assert known(b) == 300


async def test_after_a_judge_that_keeps_none_the_rest_is_read(fleet: Fleet) -> None:
    a, b, c = fleet.all

    async def nothing(*_: object, **__: object) -> bool:
        return False

    a.fleet._hearing._journaling.write = nothing  # type: ignore[assignment, method-assign]
    await fleet.busy(10, fleet.all)
    await fleet.taken_over()
    assert known(b) == 450
    await fleet.pass_by(LEASE_S + 2, [c])
    assert known(c) == 450


async def test_a_report_that_is_told_again_after_the_takeover_counts_once(fleet: Fleet) -> None:
    hub = fleet.hub
    again = [one for one in hub.reports if one.identity.instance == "c"][-3:]
    hub.clock.advance(0.5)
    for one in again:
        at = hub.clock.wall()
        hub.reports.append(Dispatch(str(len(hub.reports) + 1), at, one.identity, one.number, one.report))
    b = await fleet.taken_over()
    assert known(b) == 300


async def test_a_judge_that_was_fenced_off_writes_nothing(fleet: Fleet) -> None:
    a, hub = fleet.all[0], fleet.hub
    await fleet.taken_over()
    before = dict(hub.journal)
    entry = Entry(0, 10**10, frozenset(), {}, {})
    a.fleet._hearing._journaling.add(Leaf(entry, Heard()))
    await a.fleet._hearing._journaling.write(LEASE)
    assert hub.journal == before


async def test_the_reports_of_rollouts_that_the_judge_did_not_have_are_read(fleet: Fleet) -> None:
    hub = fleet.hub
    for until, text in hub.journal.items():
        hub.journal[until] = orjson.dumps({**orjson.loads(text), "names": ["another"], "sums": []})
    b = await fleet.taken_over()
    assert known(b) == 300


def test_others_have_their_turn_while_a_page_of_long_reports_is_heard() -> None:
    short = [dispatch(Identity("x", "1"), number, 1) for number in range(120)]
    assert [len(part) for part in pieces(short)] == [50, 50, 20]
    long = [Dispatch(one.id, one.at, one.identity, one.number, bytes(1 << 20)) for one in short[:3]]
    assert [len(part) for part in pieces(long)] == [1, 1, 1]
    assert list(pieces([])) == []


# ... by itself


class Kept:
    """A journal that does as it is told."""

    def __init__(self) -> None:
        self.written: list[tuple[list[int], bytes, bool]] = []
        self.error: Exception | None = None

    async def keep(
        self, lease: Lease, entries: Sequence[tuple[int, bytes]], heard: bytes, *, window_s: float, anew: bool
    ) -> bool:
        if self.error is not None:
            raise self.error
        self.written.append(([until for until, _ in entries], heard, anew))
        return True

    async def kept(self, since: int, after: int, limit: int) -> Journalled:
        if after > 5_000:
            return Journalled(())
        return Journalled([(after + number, bytes(1 << 20)) for number in range(1, 100)])


def leaf(until: int, names: frozenset[str] = frozenset()) -> Leaf:
    return Leaf(Entry(until - 1, until, names, {}, {}), Heard())


async def test_a_long_past_is_written_in_pieces_of_which_the_last_can_be_gone_on_from() -> None:
    kept = Kept()
    one = Journaling(kept, 1_000.0)
    one.begin([leaf(until) for until in range(1, 621)], anew=True)
    await one.write(LEASE)
    assert [len(untils) for untils, _, _ in kept.written] == [50] * 10
    await one.write(LEASE)
    assert [len(untils) for untils, _, _ in kept.written[10:]] == [50, 50, 20]
    assert [bool(heard) for _, heard, _ in kept.written] == [False] * 12 + [True]
    assert [anew for _, _, anew in kept.written] == [True] + [False] * 12
    assert "0 unwritten" in repr(one)


async def test_what_cannot_be_written_is_written_later_and_not_for_ever() -> None:
    kept = Kept()
    one = Journaling(kept, 10.0)
    one.begin([leaf(1)], anew=False)
    kept.error = StoreUnavailable("gone")
    await one.write(LEASE)
    for until in range(2, 30):
        one.add(leaf(until))
    kept.error = StoreCorrupt("is no stream")
    await one.write(LEASE)
    kept.error = None
    await one.write(LEASE)
    assert [(untils, anew) for untils, _, anew in kept.written] == [(list(range(14, 30)), True)]


async def test_a_second_that_nobody_could_read_is_left_out() -> None:
    kept = Kept()
    one = Journaling(kept, 10.0)
    many = frozenset(f"{number:02000}" for number in range(1_100))
    one.begin([leaf(1), leaf(2, many), leaf(3)], anew=True)
    await one.write(LEASE)
    one.add(leaf(4, many))
    await one.write(LEASE)
    assert [untils for untils, _, _ in kept.written] == [[1, 3]]


async def test_a_journal_without_end_is_not_read_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    assert await left(Kept(), ["default"], 0) == ((), None)
    assert "must be at most" in caplog.text


async def test_a_journal_of_more_seconds_than_there_can_be_is_not_either(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = Hub()
    hub.journal = dict.fromkeys(range(1, 5000), b"")
    hub.page = 10_000
    assert await left(HubJournal(hub), ["default"], 0) == ((), None)
    assert "must be at most" in caplog.text


async def test_of_an_empty_journal_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert await left(HubJournal(Hub()), ["default"], 0) == ((), None)
    assert not caplog.records
