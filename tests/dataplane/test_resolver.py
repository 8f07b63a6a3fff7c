"""What is known of a name, whatever name servers say."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from proxy.dataplane.resolver import Addresses, Resolver
from tests.dataplane.wire import settle

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Told(Resolver):
    """Answers what a test says, and fails where that is nothing."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def look_up(self, host: str) -> tuple[tuple[str, ...], float]:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0)
        if not answer:
            raise OSError(113, "nobody answers")
        return answer, 60.0


class Watched(Addresses):
    """Addresses that are looked up again at once, and count how often they have changed."""

    def __init__(self, resolver: Resolver, host: str = "api.test") -> None:
        self.changes = 0
        super().__init__(host, resolver, self._count)

    def _count(self) -> None:
        self.changes += 1

    async def look_again(self) -> tuple[str, ...]:
        self._due = 0.0
        self.refresh()
        await settle()
        return self.known


@pytest.mark.parametrize(
    ("host", "known"),
    [("192.0.2.1", (ONE,)), ("::1", ("::1",)), ("localhost", ("127.0.0.1", "::1")), ("api.test", ())],
)
async def test_literals_and_localhost_are_never_asked_for(host: str, known: tuple[str, ...]) -> None:
    resolver = Told()
    addresses = Watched(resolver, host)
    assert addresses.known == known
    if known:
        addresses.refresh()
        await settle()
        assert await addresses.found() == known
        assert resolver.asked == []


async def test_those_who_come_at_once_wait_for_one_lookup() -> None:
    resolver = Told((ONE,))
    resolver.gate = asyncio.Event()
    addresses = Watched(resolver)
    waiting = [asyncio.create_task(addresses.found()) for _ in range(5)]
    await settle()
    resolver.gate.set()
    assert await asyncio.gather(*waiting) == [(ONE,)] * 5
    assert resolver.asked == ["api.test"]
    assert repr(addresses) == f"<Addresses api.test {ONE}>"


async def test_who_gives_up_waiting_takes_the_lookup_from_nobody() -> None:
    resolver = Told((ONE,))
    resolver.gate = asyncio.Event()
    addresses = Watched(resolver)
    one, other = (asyncio.create_task(addresses.found()) for _ in range(2))
    await settle()
    one.cancel()
    await settle()
    resolver.gate.set()
    assert await other == (ONE,)


async def test_an_answer_is_good_for_its_time_to_live() -> None:
    resolver = Told((ONE,))
    addresses = Watched(resolver)
    await addresses.found()
    addresses.refresh()
    await settle()
    assert len(resolver.asked) == 1


async def test_the_same_addresses_in_another_order_are_no_news() -> None:
    addresses = Watched(Told((ONE, TWO), (TWO, ONE)))
    assert await addresses.look_again() == (ONE, TWO)
    assert await addresses.look_again() == (ONE, TWO)
    assert addresses.changes == 1


async def test_the_one_that_serves_stays_first_while_it_is_there() -> None:
    addresses = Watched(Told((ONE, TWO), (THREE, TWO), (THREE,)))
    await addresses.look_again()
    addresses.failed(ONE)
    assert addresses.known == (TWO, ONE)
    assert await addresses.look_again() == (TWO, THREE)
    assert await addresses.look_again() == (THREE,)
    assert addresses.changes == 3


async def test_a_failure_that_comes_late_moves_nothing() -> None:
    addresses = Watched(Told((ONE, TWO)))
    await addresses.look_again()
    addresses.failed(TWO)
    assert addresses.known == (ONE, TWO)
    Watched(Told(), ONE).failed(ONE)


async def test_what_was_known_stays_while_lookups_fail_and_that_is_told_once(
    caplog: pytest.LogCaptureFixture, quiet: None
) -> None:
    addresses = Watched(Told((ONE,), (), (), (TWO,)))
    assert await addresses.look_again() == (ONE,)
    assert await addresses.look_again() == (ONE,)
    assert await addresses.look_again() == (ONE,)
    assert await addresses.look_again() == (TWO,)
    assert [record.getMessage() for record in caplog.records] == [
        f"api.test cannot be looked up: nobody answers; going on with {ONE}",
        "api.test can be looked up again",
    ]


async def test_a_name_that_was_never_known_fails_at_once_until_it_is_time_to_ask_again() -> None:
    resolver = Told((), (ONE,))
    addresses = Watched(resolver)
    for _ in range(3):
        with pytest.raises(OSError, match="cannot be looked up"):
            await addresses.found()
    assert len(resolver.asked) == 1
    assert await addresses.look_again() == (ONE,)


async def test_the_end_cancels_a_lookup() -> None:
    resolver = Told((ONE,))
    resolver.gate = asyncio.Event()
    addresses = Watched(resolver)
    addresses.close()
    addresses.refresh()
    assert resolver.asked == []
    other = Watched(resolver)
    other.refresh()
    await settle()
    other.close()
    resolver.gate.set()
    await settle()
    assert other.known == ()


async def test_a_name_that_is_none_is_an_error_like_any_other() -> None:
    resolver = Resolver(["127.0.0.1:9"])
    assert repr(resolver) == "<Resolver 127.0.0.1:9>"
    assert repr(Resolver()) == "<Resolver of the system>"
    with pytest.raises(OSError, match="Misformatted"):
        await resolver.look_up("a..b")
    resolver.close()
    resolver.close()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "dualpath.names"):
        yield
