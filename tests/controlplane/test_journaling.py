"""What a judge leaves to its successor: with it a new judge reads a few reports and knows the same; without
it, or with one that cannot be believed, it reads all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.controlplane.journaling import Journaling, left
from proxy.controlplane.replaying import Replay, pieces
from proxy.core.audit import Head
from proxy.core.delta import ToldReport, ToldRollout
from proxy.core.heard import Heard
from proxy.core.journal import Book, Entry, Leaf
from proxy.core.peers import Dispatch, Exchange, Identity, Journalled, Lease
from proxy.core.tally_wire import Spread, Told, ToldPath
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.model import Command, Verb
from tests.controlplane.hub import LEASE_S, Hub, HubJournal, Instance
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, config
from tests.controlplane.test_fleet import CONFIG
from tests.controlplane.test_shared_evidence import dispatch
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.config.schema import Config

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


async def test_a_journal_that_cannot_be_read_in_time_is_not_waited_for(fleet: Fleet) -> None:
    async def too_much(*_: object) -> Journalled:
        raise StoreUnavailable("has not answered")

    fleet.all[1].journal.kept = too_much  # type: ignore[assignment, method-assign]
    b = await fleet.taken_over()
    assert known(b) == 300
    await fleet.pass_by(2, fleet.all[1:])
    await fleet.pass_by(LEASE_S + 2, fleet.all[2:])
    assert known(fleet.all[2]) == 300


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


@pytest.mark.parametrize("is_kept", [True, False])
async def test_what_came_before_the_stores_clock_was_set_back_leaves_its_windows_in_time(
    fleet: Fleet, is_kept: bool
) -> None:
    hub, a = fleet.hub, fleet.all[0]
    if not is_kept:
        hub.journal.clear()
    now = hub.clock.monotonic()
    set_back = Exchange(hub.clock.wall() - 3_600.0, Head(), None)
    replay = Replay(["default"], Identity("z", "1"), set_back, now, 7_200.0)
    await replay.read(a.peers, a.journal, LEASE_S)
    seen = list(replay.seen("default", 0))
    assert sum(one.tally.client_requests for one in seen) == 300
    assert {one.now for one in seen} == {now}


async def test_a_judge_that_was_fenced_off_writes_nothing(fleet: Fleet) -> None:
    a, hub = fleet.all[0], fleet.hub
    await fleet.taken_over()
    before = dict(hub.journal)
    entry = Entry(0, 10**10, frozenset(), {}, {})
    a.fleet._hearing._journaling.add(Leaf(entry, Heard()))
    await a.fleet._hearing._journaling.write(LEASE, always)
    assert hub.journal == before


async def test_the_reports_of_rollouts_that_the_judge_did_not_have_are_read(fleet: Fleet) -> None:
    hub = fleet.hub
    for until, text in hub.journal.items():
        hub.journal[until] = orjson.dumps({**orjson.loads(text), "names": ["another"], "sums": []})
    b = await fleet.taken_over()
    assert known(b) == 300


TWO = config(
    *({"name": name, "phases": [CANARY, HALF], "guards": [ROLLBACK_GUARD]} for name in ("default", "other"))
)
SWAPPED = config(
    *({"name": name, "phases": [CANARY, HALF], "guards": [ROLLBACK_GUARD]} for name in ("other", "default"))
)


async def reload(one: Instance, document: Config) -> None:
    async def swap(_: Config) -> None:
        one.own.become(len(document.rollouts))
        one.evidence.follow(document.rollouts)

    await one.controller.replace(document, swap)


@pytest.mark.parametrize(("before", "after"), [(CONFIG, TWO), (TWO, CONFIG), (TWO, SWAPPED)])
async def test_a_reload_while_a_new_judge_reads_changes_no_rollouts_evidence(
    before: Config, after: Config
) -> None:
    hub = Hub()
    a, b = Instance(hub, before, "a"), Instance(hub, before, "b")
    for one in (a, b):
        one.controller.enter_alone(one.store.kept)
    gate = asyncio.Event()
    read = b.peers.dispatches

    async def reading(*place: str, **limits: Any) -> Sequence[Dispatch]:
        await gate.wait()
        return await read(*place, **limits)

    b.peers.dispatches = reading  # type: ignore[method-assign]
    for _ in range(4):
        hub.clock.advance(1.0)
        for one in (a, b):
            await one.round()
    assert a.role == "judge"
    hub.clock.advance(LEASE_S + 0.1)
    await b.fleet.exchange()
    await asyncio.sleep(0)
    await reload(a, after)
    await reload(b, after)
    gate.set()
    place = [rollout.name for rollout in after.rollouts].index("default")
    for _ in range(4):
        hub.clock.advance(1.0)
        a.own.happened(traffic(5), place)
        b.own.happened(traffic(2), place)
        await a.round()
        await b.round()
    assert b.role == "judge"
    assert known(b) == 4 * 2 + 3 * 5, "a's last is not told yet"
    assert all(b.controller.report(one.name).total.client_requests == 0 for one in after.rollouts[:place])


async def test_a_reload_while_a_new_judge_relives_what_it_has_read_is_done_first() -> None:
    one = Instance(Hub(), TWO, "a")
    one.controller.enter_alone(one.store.kept)
    finished: list[None] = []
    reliving = asyncio.create_task(one.controller.relive(lambda _: (), lambda: finished.append(None)))
    await asyncio.sleep(0)
    await reload(one, SWAPPED)
    assert not await reliving
    assert not finished
    assert [state.name for state in one.controller.states()] == ["other", "default"]


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


def always() -> bool:
    return True


def leaf(until: int, names: frozenset[str] = frozenset()) -> Leaf:
    return Leaf(Entry(until - 1, until, names, {}, {}), Heard())


async def test_a_long_past_is_written_in_pieces_of_which_the_last_can_be_gone_on_from() -> None:
    kept = Kept()
    one = Journaling(kept, 1_000.0)
    one.begin([leaf(until) for until in range(1, 621)], anew=True)
    await one.write(LEASE, lambda: len(kept.written) < 10)
    assert [len(untils) for untils, _, _ in kept.written] == [50] * 10
    await one.write(LEASE, always)
    assert [len(untils) for untils, _, _ in kept.written[10:]] == [50, 50, 20]
    assert [bool(heard) for _, heard, _ in kept.written] == [False] * 12 + [True]
    assert [anew for _, _, anew in kept.written] == [True] + [False] * 12
    assert "0 unwritten" in repr(one)


async def test_a_slow_store_takes_no_more_at_once_than_leaves_time_to_renew_the_lease(fleet: Fleet) -> None:
    b = fleet.all[1]
    await fleet.taken_over()
    took: list[float] = []
    keep = b.journal.keep

    async def slow(*what: Any, **how: Any) -> bool:
        fleet.hub.clock.advance(LEASE_S * 0.4)
        took.append(fleet.hub.clock.monotonic())
        return await keep(*what, **how)

    b.journal.keep = slow  # type: ignore[method-assign]
    b.fleet._hearing._journaling.begin([leaf(until) for until in range(-200, 0)], anew=True)
    await b.round()
    assert len(took) == 1
    assert b.role == "judge"


async def test_sums_beyond_64_bits_are_in_no_journal() -> None:
    """Anybody who may write to the store may tell of so much; the reports themselves are read."""
    book, kept = Book(["default"], 9, 5.0, 120.0), Kept()
    much = Spread(831, [1 << 34], (1 << 34).to_bytes(8, "little"), 1 << 63)
    for second in (9.0, 9.5, 10.0):
        told = Told(ToldPath(1 << 34, [], much), None, {}, [], [], {})
        rollouts = (ToldRollout("default", 1, "disabled", told),)
        full = book.take(second, ToldReport("a/1", int(second * 2), rollouts))
    assert full is not None
    one = Journaling(kept, 10.0)
    one.begin([leaf(8), full, leaf(11)], anew=True)
    await one.write(LEASE, always)
    assert [untils for untils, _, _ in kept.written] == [[8, 11]]


async def test_what_cannot_be_written_is_written_later_and_not_for_ever() -> None:
    kept = Kept()
    one = Journaling(kept, 10.0)
    one.begin([leaf(1)], anew=False)
    kept.error = StoreUnavailable("gone")
    await one.write(LEASE, always)
    for until in range(2, 30):
        one.add(leaf(until))
    kept.error = StoreCorrupt("is no stream")
    await one.write(LEASE, always)
    kept.error = None
    await one.write(LEASE, always)
    assert [(untils, anew) for untils, _, anew in kept.written] == [(list(range(14, 30)), True)]


async def test_a_second_that_nobody_could_read_is_left_out() -> None:
    kept = Kept()
    one = Journaling(kept, 10.0)
    many = frozenset(f"{number:02000}" for number in range(1_100))
    one.begin([leaf(1), leaf(2, many), leaf(3)], anew=True)
    await one.write(LEASE, always)
    one.add(leaf(4, many))
    await one.write(LEASE, always)
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
