from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from proxy.admin_client import AdminApiError
from proxy.cli import main
from proxy.session import INTERRUPTED, USAGE
from proxy.watching import watch
from tests.fake_admin import FakeOutside
from tests.played_admin import PlayedAdmin

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.admin_client import AdminApi

Captured = pytest.CaptureFixture[str]


class Watched(PlayedAdmin):
    """An audit that grows with each look, and an API that is away once; interrupts when `looks` are over."""

    def __init__(self, looks: int, away_at: int = 0) -> None:
        super().__init__()
        self.left = looks
        self.away_at = away_at
        self.task: asyncio.Task[Any] | None = None

    async def status(self) -> dict[str, Any]:
        self.left -= 1
        if self.left == 0:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if self.left and self.left == self.away_at:
            raise AdminApiError("cannot reach the admin API")
        return await super().status()

    async def events(self, *, limit: int, rollout: str | None = None) -> dict[str, Any]:
        found = await super().events(limit=limit, rollout=rollout)
        found["events"][-1]["seq"] = 100 - self.left
        return found


def watched(admin: Watched, *, no_color: bool = False) -> int:
    return asyncio.run(watch(admin, no_color=no_color, every_s=0.0))


def test_lines_where_there_is_no_terminal(capsys: Captured) -> None:
    assert watched(Watched(4)) == INTERRUPTED
    out = capsys.readouterr().out.splitlines()
    assert sum("running at 30%" in line for line in out) == 1  # nothing has changed
    assert sum("guard:error_rate by controller: too many" in line for line in out) == 3  # each event once
    assert "\x1b" not in "".join(out)


class OfAFleet(Watched):
    """An instance whose store is gone from the third look on."""

    async def status(self) -> dict[str, Any]:
        document = await super().status()
        reached = self.left > 2
        store = {"reached": reached, "last_s": 10.0 + self.left, "latency_ms": 1.0, "detail": None}
        members = [{"instance": "a", "behind": [], "clock_skew_s": 0.0, "readable": True, "config": "x"}]
        return {**document, "fleet": {"instance": "a", "judge": "a", "store": store, "members": members}}


def test_lines_tell_of_the_fleet_when_something_about_it_has_changed(capsys: Captured) -> None:
    assert watched(OfAFleet(6)) == INTERRUPTED
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("one of 1 instance")]
    assert [("does not answer" in line) for line in told] == [False, True]


def test_it_goes_on_while_the_api_is_away_and_says_so(capsys: Captured) -> None:
    assert watched(Watched(5, away_at=3)) == INTERRUPTED
    assert capsys.readouterr().out.count("cannot reach the admin API") == 1


def test_an_api_that_was_never_there_is_an_error() -> None:
    with pytest.raises(AdminApiError):
        watched(Watched(2, away_at=1))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def become() -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("LINES", "40")

    return become


def test_a_terminal_is_drawn_on_and_given_back(capsys: Captured, terminal: Callable[[], None]) -> None:
    terminal()
    assert watched(Watched(4, away_at=2)) == INTERRUPTED
    out = capsys.readouterr().out
    assert "\x1b[?1049h" in out
    assert out.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))
    assert "stale: cannot reach the admin API" in out
    assert "\x1b[1;32m" in out


class Hanging(Watched):
    """An API whose second answer does not come; somebody interrupts after a moment."""

    async def status(self) -> dict[str, Any]:
        if self.left < 2:
            assert self.task is not None
            asyncio.get_running_loop().call_later(0.1, self.task.cancel)
            await asyncio.Event().wait()
        return await super().status()


def test_an_answer_that_does_not_come_is_told_before_it_is_given_up(
    capsys: Captured, terminal: Callable[[], None]
) -> None:
    terminal()
    admin = Hanging(2)

    async def watched() -> int:
        admin.task = asyncio.current_task()
        return await watch(admin, no_color=True, every_s=0.0, stale_s=0.0)

    assert asyncio.run(watched()) == INTERRUPTED
    out = capsys.readouterr().out
    assert re.search(r"stale: nothing for \d+ s", out)
    assert out.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))


class AwayThenHanging(Hanging):
    """The second question is refused after a while, and the third is not answered."""

    async def status(self) -> dict[str, Any]:
        if self.left == 2:
            self.left -= 1
            await asyncio.sleep(0.1)
            raise AdminApiError("cannot reach the admin API")
        return await super().status()


def test_silence_is_counted_from_the_last_answer_on(capsys: Captured, terminal: Callable[[], None]) -> None:
    terminal()
    admin = AwayThenHanging(3)

    async def watched() -> int:
        admin.task = asyncio.current_task()
        return await watch(admin, no_color=True, every_s=0.0, stale_s=0.12)

    assert asyncio.run(watched()) == INTERRUPTED
    out = capsys.readouterr().out
    assert out.index("stale: cannot reach") < out.rindex("stale: nothing for ")


class Unstored(Watched):
    """An API whose store does not answer after the first look, while its rollout moves."""

    async def status(self) -> dict[str, Any]:
        document = await super().status()
        document["rollouts"][0]["percentage"] = self.left
        return document

    async def events(self, *, limit: int, rollout: str | None = None) -> dict[str, Any]:
        if self.left < 3:
            raise AdminApiError("the store does not answer")
        return await super().events(limit=limit, rollout=rollout)


def test_what_needs_no_store_is_fresh_without_it(capsys: Captured, terminal: Callable[[], None]) -> None:
    terminal()
    assert watched(Unstored(4)) == INTERRUPTED
    out = capsys.readouterr().out
    assert " at 2%" in out[out.index("stale: the store does not answer") :]


def test_no_color_means_none(capsys: Captured, terminal: Callable[[], None]) -> None:
    terminal()
    assert watched(Watched(3), no_color=True) == INTERRUPTED
    assert "\x1b[1;32m" not in capsys.readouterr().out


def test_the_verb_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def noted(admin: AdminApi, *, no_color: bool) -> int:
        asked.append(no_color)
        return INTERRUPTED

    monkeypatch.setattr("proxy.watching.watch", noted)
    outside = FakeOutside().build()
    assert main(["status", "--watch"], outside=outside) == INTERRUPTED
    assert main(["status", "--watch", "--no-color"], outside=outside) == INTERRUPTED
    assert asked == [False, True]
    assert main(["status", "--watch", "--json"], outside=outside) == USAGE
