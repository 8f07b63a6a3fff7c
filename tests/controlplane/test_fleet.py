"""Several instances on one store: one judges by the evidence of all, the others follow, and nothing is raised
that has not been agreed on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.core.delta import VERSION
from proxy.core.notice import NoticeKind
from proxy.core.peers import Identity
from proxy.errors import StaleFence, StoreUnavailable
from proxy.model import Command, Event, State, Transition, Verb
from tests.controlplane.hub import LEASE_S, Hub, Instance
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, config
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.controlplane.watch import Seen
    from proxy.core.peers import Dispatch, Followed

CONFIG = config({"phases": [CANARY, HALF], "guards": [ROLLBACK_GUARD]})


class Three:
    """Three instances; time passes for all of them."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.all = [Instance(self.hub, CONFIG, name) for name in "abc"]

    async def pass_by(self, seconds: float, among: Sequence[Instance] | None = None) -> None:
        """Let so many seconds pass, one exchange of each in every one."""
        for _ in range(round(seconds)):
            self.hub.clock.advance(1.0)
            for one in among or self.all:
                await one.round()


@pytest.fixture
async def three() -> Three:
    found = Three()
    for one in found.all:
        one.controller.enter_alone(one.store.kept)
    await found.pass_by(4)
    return found


async def command(one: Instance, verb: Verb) -> None:
    await one.controller.command(Command("default", verb, "tess"))


def weights(three: Three) -> list[int]:
    return [one.sink.weight() for one in three.all]


async def test_the_first_judges_and_the_others_follow(three: Three) -> None:
    assert [one.role for one in three.all] == ["judge", "follower", "follower"]
    await command(three.all[2], Verb.START)
    await three.pass_by(1)
    assert weights(three) == [1_000] * 3


async def test_the_judge_decides_by_the_evidence_of_all(three: Three) -> None:
    await command(three.all[0], Verb.START)
    await three.pass_by(2)
    for one in three.all:  # far too few on each, enough in all
        one.own.happened(traffic(20, 9, v2_errors=4))
    await three.pass_by(3)
    assert weights(three) == [0] * 3
    assert three.all[0].controller.states()[0].state is State.ROLLED_BACK


async def test_a_new_judge_knows_what_the_old_one_knew(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    await three.pass_by(2)
    for one in three.all:
        one.own.happened(traffic(14, 7))
    await three.pass_by(2)
    await three.pass_by(LEASE_S + 1, [b, c])
    assert (b.role, c.role) == ("judge", "follower")
    assert b.controller.report("default").total.client_requests == 42
    await three.pass_by(10, [b, c])
    assert weights(three)[1:] == [50_000] * 2


async def test_what_is_told_while_a_judge_takes_over_counts(three: Three) -> None:
    _, b, c = three.all
    await three.pass_by(2)
    relive = b.controller.relive

    async def interrupted(seen: Callable[[str], Iterable[Seen]], finish: Callable[[], None]) -> bool:
        b.own.happened(traffic(5))  # all is read, and this is told before it is in force
        await b.controller.tick()
        await b.fleet.exchange()
        return await relive(seen, finish)

    b.controller.relive = interrupted  # type: ignore[method-assign]
    await three.pass_by(8, [b, c])
    assert b.role == "judge"
    assert b.controller.report("default").total.client_requests == 5


async def test_all_is_read_however_short_the_pages_are(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    for _ in range(6):
        c.own.happened(traffic(5))
        await three.pass_by(1)
    three.hub.page = 2
    await three.pass_by(LEASE_S + 1, [b, c])
    assert b.role == "judge"
    assert b.controller.report("default").total.client_requests == 30
    for _ in range(6):
        c.own.happened(traffic(5))
        await c.round()
        c.hub.clock.advance(0.1)
    await c.fleet.exchange()
    await b.round()
    assert b.controller.report("default").total.client_requests == 60


async def test_whoever_judges_no_more_hears_no_more(three: Three) -> None:
    a, _, c = three.all
    await command(a, Verb.START)
    await three.pass_by(1)
    c.own.happened(traffic(5))
    await c.round()
    await c.fleet.exchange()
    read = a.peers.dispatches

    async def refused(after: str = "", *, since: float = 0.0, limit: int = 1000) -> Sequence[Dispatch]:
        assert a.store.on_stale is not None
        a.store.on_stale()
        return await read(after, since=since, limit=limit)

    a.peers.dispatches = refused  # type: ignore[method-assign]
    await a.fleet.exchange()
    a.peers.dispatches = read  # type: ignore[method-assign]
    assert a.evidence.merging.drain()[0].client_requests == 0


async def test_a_listener_that_fails_leaves_nothing_open(three: Three) -> None:
    a = three.all[0]

    async def fail() -> None:
        raise RuntimeError("a bug")

    a.store.follow = fail  # type: ignore[assignment, method-assign]
    await a.fleet.begin()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(a.peers.listening), a.peers.open) == (1, 0)
    await a.fleet.end()


async def test_what_a_judge_writes_late_is_refused(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    await three.pass_by(1)
    before = a.controller.states()[0]
    await three.pass_by(LEASE_S + 1, [b, c])
    raised = replace(before, weight=50_000, phase="half", revision=before.revision + 1)
    with pytest.raises(StaleFence):
        await a.store.commit(Transition(before, raised, "phase", "late", "controller", 1.0))
    assert a.role != "judge"
    await three.pass_by(2)
    assert [one.role for one in three.all] == ["follower", "judge", "follower"]


async def test_what_others_have_built_upon_is_not_taken_back(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    await three.pass_by(1)
    commit = a.inner.commit

    async def unanswered(transition: Transition) -> Event:
        await commit(transition)
        raise StoreUnavailable("no answer")

    a.inner.commit = unanswered  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await a.controller.command(Command("default", Verb.SET, "tess", weight=20_000))
    a.inner.commit = commit  # type: ignore[method-assign]
    await three.pass_by(3, [b, c])
    await b.controller.command(Command("default", Verb.SET, "tess", weight=80_000))
    await three.pass_by(4)
    assert weights(three) == [80_000] * 3


async def test_whoever_leaves_waits_for_nobody(three: Three) -> None:
    a, b, c = three.all
    await a.fleet.begin()
    await a.fleet.end()
    await three.pass_by(1, [b, c])
    await three.pass_by(1, [b, c])
    assert b.role == "judge"


async def test_without_the_store_all_are_alone_and_go_down_only(three: Three) -> None:
    a, b, _ = three.all
    await command(a, Verb.START)
    await three.pass_by(1)
    three.hub.gone = True
    await three.pass_by(LEASE_S + 1)
    assert {one.role for one in three.all} == {"alone"}
    assert a.announced[-1].kind is NoticeKind.STORE
    with pytest.raises(StoreUnavailable):
        await command(b, Verb.PROMOTE)
    await command(b, Verb.ROLLBACK)
    for one in three.all:
        one.own.happened(traffic(60, 30))
    await three.pass_by(20)
    assert weights(three) == [1_000, 0, 1_000]
    three.hub.gone = False
    await three.pass_by(6)
    assert weights(three) == [0] * 3
    assert NoticeKind.PHASE not in [one.kind for one in a.announced], "not even for a moment"
    assert [one.role for one in three.all].count("judge") == 1


async def test_an_emptied_store_is_given_back_what_it_had(three: Three) -> None:
    await command(three.all[0], Verb.START)
    await three.pass_by(1)
    before = await three.hub.records()
    await three.hub.lose(len(before))
    await three.pass_by(6)
    assert (await three.hub.records())[: len(before)] == before
    assert weights(three) == [1_000] * 3
    assert [one.role for one in three.all].count("judge") == 1


async def test_what_is_lost_for_good_is_told_once_and_the_more_careful_stays(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    await three.pass_by(1)
    await command(a, Verb.ROLLBACK)
    await three.pass_by(1)
    await three.hub.lose(1)
    stored = (await three.hub.store.load())["default"]
    elsewhere = replace(stored, weight=50_000, revision=stored.revision + 1, reason="elsewhere")
    await three.hub.store.commit(Transition(stored, elsewhere, "command:set", "elsewhere", "eve", 1.0))
    await three.pass_by(8)
    assert weights(three) == [0] * 3
    events = await three.hub.store.events(limit=100)
    told = [
        one for one in events if one.transition.cause == "fleet:conflict" and not one.transition.changes_state
    ]
    assert len(told) == 1
    assert "has lost 1 events" in told[0].transition.reason
    assert any(notice.kind is NoticeKind.CONFLICT for one in (a, b, c) for notice in one.announced)
    assert [one.store.standing for one in three.all] == ["same"] * 3


async def test_a_new_instance_does_not_write_first_into_a_store_that_others_can_refill(three: Three) -> None:
    await command(three.all[0], Verb.START)
    await three.pass_by(1)
    before = await three.hub.records()
    await three.hub.lose(len(before))
    for one in three.all:
        await one.fleet.exchange()
    late = Instance(three.hub, CONFIG, "d")
    late.controller.enter_alone(late.store.kept)
    await late.round()
    assert await three.hub.records() == ()
    three.all.append(late)
    await three.pass_by(8)
    assert (await three.hub.records())[: len(before)] == before
    assert weights(three) == [1_000] * 4


async def test_it_says_who_is_there_and_who_is_behind(three: Three) -> None:
    a, b, c = three.all
    await command(a, Verb.START)
    await three.pass_by(3, [a, b])
    report = a.fleet.report()
    assert (report.instance, report.judge, report.role) == ("a", "a", "judge")
    assert [(one.instance, one.behind) for one in report.members] == [
        ("a", ()),
        ("b", ()),
        ("c", ("default",)),
    ]
    assert report.head == report.copied == 2
    speaking = Identity("c", "1")
    three.hub.present[speaking] = replace(three.hub.present[speaking], record=b"of another version")
    await three.pass_by(1, [a, b])
    assert [one.record is None for one in a.fleet.report().members] == [False, False, True]
    assert a.fleet.report().members[2].unread == "member: is no JSON"
    assert "a" in repr(a.fleet)
    assert c.fleet.report().judge == "a"


async def test_reports_are_written_so_that_all_who_are_there_can_read_them(three: Three) -> None:
    a = three.all[0]
    assert a.evidence.version == VERSION
    before, speaking = three.hub.present[Identity("c", "1")], Identity("c", "1")
    older = {**orjson.loads(before.record), "reports": VERSION - 1}
    three.hub.present[speaking] = replace(before, record=orjson.dumps(older))
    await three.pass_by(1, [a])
    assert a.evidence.version == VERSION - 1
    a.own.happened(traffic(4))
    await three.pass_by(2, [a])
    assert {orjson.loads(one.report)["version"] for one in three.hub.reports[-2:]} == {VERSION - 1}
    three.hub.present[speaking] = replace(before, record=orjson.dumps({**older, "v": 2, "reports": 9}))
    await three.pass_by(1, [a])
    assert a.evidence.version == VERSION, "a newer one reads ours"
    assert "member: is of version 2" in a.fleet.report().members[2].unread


async def test_two_of_one_name_know_of_each_other(caplog: pytest.LogCaptureFixture) -> None:
    found = Three()
    found.all = [Instance(found.hub, CONFIG, "a", epoch) for epoch in ("1", "2")]
    for one in found.all:
        one.controller.enter_alone(one.store.kept)
    await found.pass_by(20)
    assert [one.instance for one in found.all[0].fleet.report().members] == ["a", "a"]
    assert caplog.text.count("another instance is called a too") == 2, "by each, once"
    await found.pass_by(3, found.all[:1])
    assert [one.instance for one in found.all[0].fleet.report().members] == ["a"], "one of them has gone"


async def test_of_two_of_one_name_whoever_knows_most_refills() -> None:
    found = Three()
    found.all = [Instance(found.hub, CONFIG, "a", epoch) for epoch in ("1", "2")]
    first, second = found.all
    for one in found.all:
        one.controller.enter_alone(one.store.kept)
    await found.pass_by(4)
    await command(second, Verb.START)
    before = await found.hub.records()
    await found.pass_by(1, [second])
    await found.hub.lose(len(before))
    await found.pass_by(6)
    assert (await found.hub.records())[: len(before)] == before
    assert weights(found) == [1_000] * 2
    assert first.store.kept.head == second.store.kept.head
    assert found.hub.refilled == [len(before)]


async def test_what_is_stored_is_looked_at_without_an_event_too(three: Three) -> None:
    _, b, _ = three.all
    follow, times = b.copy.follow, 0

    async def counted() -> Followed:
        nonlocal times
        times += 1
        return await follow()

    b.copy.follow = counted  # type: ignore[method-assign]
    await three.pass_by(20)
    assert times == 2
