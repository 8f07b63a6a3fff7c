"""Probes that are counted, and a prober without a socket. The real one is asked in tests/e2e."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Backends, Probe
from proxy.controlplane.health import HealthCount, Names, Prober
from proxy.model import Path
from tests.fakes import FakeEndpoints, FakeRandom

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE = {"path": "/health", "interval": "4s", "timeout": "1s", "healthy_after": 2, "unhealthy_after": 3}
V1, V2 = "http://127.0.0.1:9001", "http://127.0.0.1:9002"


def outcomes(count: HealthCount, script: str) -> str:
    """Health after each outcome: "+" is well, "-" is not; a letter in capitals where it changed."""
    seen = ""
    for sign in script:
        changed = count.count(well=sign == "+")
        letter = "h" if count.healthy else "u"
        seen += letter.upper() if changed else letter
    return seen


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("+++", "hhh"),
        ("--+--+--", "hhhhhhhh"),
        ("---", "hhU"),
        ("----+-++", "hhUuuuuH"),
        ("---++---", "hhUuHhhU"),
    ],
)
def test_only_a_row_of_outcomes_changes_health(script: str, seen: str) -> None:
    assert outcomes(HealthCount(Probe.read(PROBE)), script) == seen


def test_a_count_may_begin_unhealthy() -> None:
    count = HealthCount(Probe.read(PROBE), healthy=False)
    assert outcomes(count, "+") == "u"
    assert repr(count) == "HealthCount(unhealthy, 1 against)"


@given(st.text("+-", max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_change_needs_exactly_the_configured_row(script: str, up: int, down: int) -> None:
    count = HealthCount(Probe.read({"path": "/", "healthy_after": up, "unhealthy_after": down}))
    seen = outcomes(count, script)
    for index, letter in enumerate(seen):
        if letter.isupper():
            needed = up if letter == "H" else down
            row = script[index + 1 - needed : index + 1]
            assert row == ("+" if letter == "H" else "-") * needed


def backends(**health: object) -> Backends:
    return Backends.read(
        {
            "v1": {"endpoints": [V1], **({"health": health["v1"]} if "v1" in health else {})},
            "v2": {"endpoints": [V2], **({"health": health["v2"]} if "v2" in health else {})},
        }
    )


class Answers:
    """What the endpoints answer, one after the other; at the end they answer no more."""

    def __init__(self, *script: int | Exception) -> None:
        self._script = list(script)
        self.asked: list[tuple[str, float]] = []
        self.done = asyncio.Event()

    async def __call__(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        if not self._script:
            self.done.set()
            await asyncio.Event().wait()
        self.asked.append((url, timeout_s))
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, b""


def no_time(taken: list[float]) -> Callable[[float], asyncio.Future[None]]:
    """A pause that takes no time and is written down."""

    async def pause(delay_s: float) -> None:
        taken.append(delay_s)

    return lambda delay_s: asyncio.ensure_future(pause(delay_s))


async def probe(
    endpoints: FakeEndpoints, *script: int | Exception, rng: FakeRandom | None = None
) -> list[float]:
    """Let v2 answer this, and give the pauses that were taken."""
    answers, taken = Answers(*script), list[float]()
    prober = Prober(
        backends(v2=PROBE), endpoints, ask=answers, rng=rng or FakeRandom(0.5), pause=no_time(taken)
    )
    async with prober:
        await answers.done.wait()
        assert repr(prober) == "Prober(1 endpoints)"
    assert set(answers.asked) == {(V2 + "/health", 1.0)}
    return taken


@pytest.mark.parametrize("status", [200, 204, 301, 399])
async def test_2xx_and_3xx_are_well(status: int) -> None:
    endpoints = FakeEndpoints()
    await probe(endpoints, *[status] * 5)
    assert endpoints.heard == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (400, "status 400"),
        (503, "status 503"),
        (101, "status 101"),
        (TimeoutError(), "no answer within 1 s"),
        (ConnectionRefusedError(111, "refused"), "refused"),
        (ZeroDivisionError(), "ZeroDivisionError()"),
    ],
)
async def test_everything_else_is_not_well_and_probing_goes_on(
    bad: int | Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoints = FakeEndpoints()
    await probe(endpoints, bad, bad, bad, bad, 200, 200)
    assert endpoints.heard == [(Path.V2, V2, False), (Path.V2, V2, True)]
    assert f"v2 {V2} is unhealthy: " in caplog.text
    assert said in caplog.text
    assert f"v2 {V2} is healthy" in caplog.text


@pytest.mark.parametrize(("chance", "first", "later"), [(0.0, 0.0, 3.6), (0.5, 0.5, 4.0), (1.0, 1.0, 4.4)])
async def test_pauses_vary_around_the_interval_and_the_first_is_short(
    chance: float, first: float, later: float
) -> None:
    taken = await probe(FakeEndpoints(), 200, 200, rng=FakeRandom(chance))
    assert taken == pytest.approx([first, later, later])


async def test_a_backend_without_a_probe_is_left_alone() -> None:
    async with Prober(backends(), FakeEndpoints(), ask=Answers()) as prober:
        assert repr(prober) == "Prober(0 endpoints)"


async def test_every_endpoint_of_every_probed_backend_is_asked() -> None:
    answers, taken = Answers(200, 200, 200, 200), list[float]()
    both = backends(v1=PROBE, v2=PROBE)
    async with Prober(both, FakeEndpoints(), ask=answers, rng=FakeRandom(), pause=no_time(taken)):
        await answers.done.wait()
    assert {url for url, _ in answers.asked} == {V1 + "/health", V2 + "/health"}


async def test_an_endpoint_that_was_ill_before_the_probes_began_is_brought_back() -> None:
    endpoints = FakeEndpoints([(Path.V2, V2)])
    endpoints.healthy[Path.V2, V2] = False
    await probe(endpoints, 200, 200, 200)
    assert endpoints.heard == [(Path.V2, V2, True)]


async def test_a_name_that_was_known_is_still_probed_while_it_cannot_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[list[object] | OSError] = [
        OSError("nobody answers"),
        [{"host": "192.0.2.1"}],
        OSError("again"),
    ]

    class Resolver:
        def __init__(self, nameservers: list[str] | None) -> None:
            assert nameservers == ["192.0.2.53:53"]

        async def resolve(self, *_: object) -> object:
            answer = told.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        async def close(self) -> None:
            told.append([])

    monkeypatch.setattr("aiohttp.AsyncResolver", Resolver)
    names = Names(["192.0.2.53:53"])
    with pytest.raises(OSError, match="nobody answers"):
        await names.resolve("api.test", 80, socket.AF_INET)
    for _ in range(2):
        [found] = await names.resolve("api.test", 80, socket.AF_INET)
        assert found["host"] == "192.0.2.1"
    assert told == []
    await names.close()
    assert told == [[]]
    await Names([]).close()
