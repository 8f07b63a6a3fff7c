"""What the dashboard shows: rendered once for all, and sent when it has changed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from proxy.admin import board as board_module
from proxy.admin.board import Board
from proxy.errors import UnknownRollout
from proxy.model import Pulse, RolloutReport
from tests.admin.builders import REPORT, RUNNING
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from proxy.controlplane.controller import Controller
    from proxy.judgment import Judgment


class Many:
    """A controller of several rollouts, whose shares tests move. Counts what it is asked."""

    def __init__(self, *names: str) -> None:
        self.weights = dict.fromkeys(names, 0)
        self.reported: list[str] = []
        self.broken = False

    def pulses(self) -> Iterator[Pulse]:
        if self.broken:
            raise RuntimeError("broken")
        for name, weight in self.weights.items():
            yield Pulse(replace(RUNNING, name=name, weight=weight), REPORT.total, REPORT.recent)

    def judgment(self, name: str) -> Judgment:
        if name == "leaving":
            raise UnknownRollout(name)
        return REPORT.judgment

    def report(self, name: str) -> RolloutReport:
        self.reported.append(name)
        if name not in self.weights:
            raise UnknownRollout(name)
        return replace(REPORT, state=replace(RUNNING, name=name))


class Scene:
    def __init__(self, *names: str) -> None:
        self.controller = Many(*names)
        self.beside: dict[str, Any] = {"about": {"workers": 1}}
        self.board = Board(cast("Controller", self.controller), FakeClock(), lambda: dict(self.beside))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    assert condition()


def read(frame: bytes) -> Any:
    kind, data = frame.decode().removesuffix("\n\n").split("\n")
    assert kind in {"event: board", "event: rollout"}
    return orjson.loads(data.removeprefix("data: "))


async def test_before_the_first_beat_there_is_nothing() -> None:
    assert Scene("a").board.since(-1) == (b"", -1)


async def test_whoever_comes_gets_all_and_then_what_has_changed() -> None:
    scene = Scene("a", "b")
    await scene.board.beat()
    frame, seen = scene.board.since(-1)
    shown = read(frame)
    assert [one["name"] for one in shown["rollouts"]] == shown["names"] == ["a", "b"]
    assert shown["about"] == {"workers": 1}
    assert shown["at"]
    assert scene.board.since(seen) == (b"", seen)
    scene.controller.weights["b"] = 5_000
    await scene.board.beat()
    frame, seen = scene.board.since(seen)
    shown = read(frame)
    assert [(one["name"], one["percentage"]) for one in shown["rollouts"]] == [("b", 5.0)]
    assert set(shown) == {"at", "rollouts"}
    scene.beside["about"] = {"workers": 2}
    await scene.board.beat()
    assert read(scene.board.since(seen)[0])["about"] == {"workers": 2}


async def test_whoever_is_slow_gets_what_has_changed_meanwhile_in_one() -> None:
    scene = Scene("a", "b", "c")
    await scene.board.beat()
    _, seen = scene.board.since(-1)
    for name in ("a", "b", "a"):
        scene.controller.weights[name] += 1_000
        await scene.board.beat()
        scene.board.since(seen + 1)  # somebody who is not
    assert [one["name"] for one in read(scene.board.since(seen)[0])["rollouts"]] == ["a", "b"]


async def test_one_that_is_gone_is_no_more_among_the_names() -> None:
    scene = Scene("a", "b")
    await scene.board.beat()
    _, seen = scene.board.since(-1)
    del scene.controller.weights["a"]
    await scene.board.beat()
    assert read(scene.board.since(seen)[0])["names"] == ["b"]
    assert scene.board.detail("a") == b""


async def test_a_rollout_in_full_is_rendered_once_a_beat() -> None:
    scene = Scene("a", "b")
    await scene.board.beat()
    frame = scene.board.detail("a")
    assert scene.board.detail("a") is frame
    shown = read(frame)
    assert shown["name"] == "a"
    assert set(shown["latencies"]) == {"window_s", "v1", "v2"}
    assert scene.controller.reported == ["a"]
    await scene.board.beat()
    scene.board.detail("a")
    assert scene.controller.reported == ["a", "a"]


async def test_a_line_says_whether_it_waits_and_whether_a_limit_is_crossed() -> None:
    scene = Scene("a", "leaving")
    await scene.board.beat()
    a, leaving = read(scene.board.since(-1)[0])["rollouts"]
    assert (a["verdict"], a["waits"], a["crossed"], a["error_rate"]) == ("fail", True, True, [0.01, 0.3])
    assert (leaving["verdict"], leaving["waits"], leaving["crossed"]) == ("hold", False, False)


async def test_it_beats_while_the_application_runs_and_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(board_module, "EVERY_S", 0.001)
    scene = Scene(*(f"r{at}" for at in range(25)))
    scene.controller.broken = True
    running = scene.board.beating(cast("web.Application", None))
    await anext(running)
    with caplog.at_level(logging.ERROR, "dualpath.admin"):
        await until(lambda: bool(caplog.records))
    assert "could not be looked at" in caplog.text
    scene.controller.broken = False
    await until(lambda: scene.board.since(-1)[0] != b"")
    assert len(scene.board.seconds.document("r3")["at"]) > 0  # type: ignore[arg-type]
    with pytest.raises(StopAsyncIteration):
        await anext(running)
