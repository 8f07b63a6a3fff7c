"""One exchange, and the pace."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from proxy.demo import traffic as traffic_module
from proxy.demo.clients import ClientTally
from proxy.demo.plan import users
from proxy.demo.traffic import Reply, Traffic
from tests.demo.samples import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.demo.plan import Planned, User


class Setting:
    """Traffic of five users to a server that is `answer`; each answer takes 20 ms of the fake clock."""

    def __init__(self, answer: Callable[[Planned], Reply]) -> None:
        self.clock = FakeClock()
        self.tally = ClientTally()
        self.users = users(5)
        self.sent: list[Planned] = []
        self.answer = answer
        self.traffic = Traffic(
            self.users, 1_000.0, self.send, tally=self.tally, clock=self.clock, rng=random.Random(3)
        )

    async def send(self, _: User, planned: Planned) -> Reply:
        self.sent.append(planned)
        self.clock.advance(0.02)
        return self.answer(planned)


def _as_expected(planned: Planned) -> Reply:
    return Reply(max(planned.expects), "v1", "/restaurants/61" if planned.path == "/restaurants" else "")


async def test_an_expected_status_is_an_answer() -> None:
    setting = Setting(_as_expected)
    await setting.traffic.exchange(setting.users[0])
    seen = setting.tally.seen()
    assert (seen.answers, seen.failed, seen.from_v1) == (1, 0, 1)
    assert seen.latency.mean == pytest.approx(0.02)


async def test_another_status_has_failed() -> None:
    setting = Setting(lambda _: Reply(502, "v2"))
    await setting.traffic.exchange(setting.users[0])
    (planned,) = setting.sent
    assert setting.tally.seen().failures == (f"{planned.method} {planned.path}: status 502",)


async def test_no_status_has_failed_for_the_reason_given() -> None:
    setting = Setting(lambda _: Reply(None, error="TimeoutError"))
    await setting.traffic.exchange(setting.users[0])
    (planned,) = setting.sent
    assert setting.tally.seen().failures == (f"{planned.method} {planned.path}: TimeoutError",)


async def test_a_user_remembers_what_it_created() -> None:
    setting = Setting(_as_expected)
    user = setting.users[0]
    while not user.owned:
        await setting.traffic.exchange(user)
    assert (setting.sent[-1].method, list(user.owned)) == ("POST", [61])


async def test_it_sends_until_it_is_stopped_and_then_waits_for_the_last_answers() -> None:
    setting = Setting(_as_expected)

    def stop_after_ten(planned: Planned) -> Reply:
        if len(setting.sent) == 10:
            setting.traffic.stop()
        return _as_expected(planned)

    setting.answer = stop_after_ten
    await setting.traffic.run()
    assert setting.tally.seen().answers == len(setting.sent) >= 10
    assert repr(setting.traffic) == "<Traffic every 0.001 s, in flight 0, stopping True>"


async def test_unanswered_requests_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_module, "MAX_IN_FLIGHT", 3)
    released, waiting = asyncio.Event(), 0

    async def send(_: User, planned: Planned) -> Reply:
        nonlocal waiting
        waiting += 1
        await released.wait()
        return _as_expected(planned)

    clock = FakeClock()
    traffic = Traffic(users(5), 1e6, send, tally=ClientTally(), clock=clock, rng=random.Random(3))
    running = asyncio.create_task(traffic.run())
    for _ in range(50):
        clock.advance(1.0)
        await asyncio.sleep(0)
    assert waiting == 3
    traffic.stop()
    released.set()
    await running
