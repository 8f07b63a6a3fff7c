"""What a process and its successor say to each other; real processes are in tests/e2e."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from proxy import takeover
from proxy.controlplane.overrides import OverrideChange
from proxy.core.alert_book import ActiveAlert, Handed, Silence
from proxy.core.notice import of_store
from proxy.errors import StartError
from proxy.listening import Listeners
from proxy.model import KeyOverride, Path, RolloutState, State
from proxy.takeover import Link, Predecessor, again, successor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path as FilePath

ONE = RolloutState("a", State.RUNNING, 30_000, "half", 4, 1.5, "why")
TWO = RolloutState("a", State.ROLLED_BACK, 0, None, 5, 2.5, "too many")
SENT = OverrideChange(
    "a",
    "ada",
    KeyOverride("a", "ada", Path.V1, "tess", 1.5, 9.5, "ticket"),
    "override:set",
    "tess",
    "ticket for 8 s",
    1.5,
)
TAKEN = OverrideChange("a", "bob", None, "override:removed", "tess", "was v2", 2.5)


class End:
    """One end of a line that is not there: the other end's words are a script."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.said: list[dict[str, object]] = []
        self.closed = False
        self.link = Link(self.reader, cast("asyncio.StreamWriter", self))

    def write(self, data: bytes) -> None:
        self.said += [orjson.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def hears(self, *documents: object) -> None:
        for document in documents:
            self.reader.feed_data(orjson.dumps(document) + b"\n")

    def words(self) -> list[str]:
        return [next(iter(document)) for document in self.said]


async def test_a_successor_is_told_all_states_then_follows_then_decides() -> None:
    end = End()
    followed: list[RolloutState] = []
    end.hears({"state": ONE}, {"complete": [["v2", "http://h:1"]]}, {"state": TWO}, {"yours": 1})
    before = Predecessor(end.link)
    assert await before.states() == [ONE]
    assert before.unhealthy == [(Path.V2, "http://h:1")]
    assert end.said == []
    assert await before.relieve(followed.append) == [TWO]
    assert followed == [TWO]
    before.dismiss()
    assert end.words() == ["ready", "up"]
    before.close()
    assert end.closed


async def test_a_predecessor_that_dies_half_way_is_succeeded_all_the_same() -> None:
    end = End()
    end.hears({"state": ONE}, {"complete": 1}, {"state": TWO})
    end.reader.feed_eof()
    before = Predecessor(end.link)
    assert await before.states() == [ONE]
    assert await before.relieve(lambda state: None) == [TWO]


async def test_a_predecessor_that_dies_while_it_is_succeeded_hears_nothing_more() -> None:
    end = End()
    end.hears({"state": ONE}, {"complete": []})
    end.reader.feed_eof()
    before = Predecessor(end.link)
    await before.states()
    end.close()
    assert await before.relieve(lambda state: None) == [ONE]
    before.dismiss()
    assert end.said == []


async def test_a_predecessor_that_does_not_let_go_is_not_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "UP_WITHIN_S", 0.001)
    with pytest.raises(StartError, match="has not handed over"):
        await Predecessor(End().link).states()


async def test_changes_of_overrides_that_wait_for_the_store_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.office.waiting = [SENT, TAKEN]
    stage.end.hears({"ready": 1}, {"up": 1})
    assert await stage.perform() == 4711
    told = ["override", "override"]
    assert stage.end.words() == ["state", *told, "complete", "state", *told, "yours"]
    end = End()
    end.hears(*stage.end.said[:4], {"override": TAKEN}, {"yours": 1})
    before = Predecessor(end.link)
    await before.states()
    assert before.overrides == [SENT, TAKEN]
    await before.relieve(lambda state: None)
    assert before.overrides == [TAKEN]


async def test_a_predecessor_that_dies_leaves_the_changes_that_it_has_told() -> None:
    end = End()
    end.hears({"override": SENT}, {"complete": []})
    end.reader.feed_eof()
    before = Predecessor(end.link)
    await before.states()
    await before.relieve(lambda state: None)
    assert before.overrides == [SENT]


async def test_alerts_that_last_and_silences_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    lost = ActiveAlert(of_store("gone", 1.5), 1.5, 2.5)
    stage.office.handed = Handed((lost,), (Silence("s1", 1.0, 9.0, ("store",), actor="tess"),))
    stage.end.hears({"ready": 1}, {"up": 1})
    assert await stage.perform() == 4711
    end = End()
    end.hears(*stage.end.said)
    before = Predecessor(end.link)
    await before.states()
    await before.relieve(lambda state: None)
    assert before.alerts == stage.office.handed


async def test_an_alert_of_another_version_is_no_reason_not_to_take_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    end = End()
    end.hears({"complete": []}, {"alert": {"notice": 1}}, {"silence": "x"}, {"news": 2}, {"yours": 1})
    before = Predecessor(end.link)
    await before.states()
    await before.relieve(lambda state: None)
    assert before.alerts == Handed()
    assert caplog.text.count("cannot be read") == 2


class FakeOffice:
    """What is handed over, with a transcript."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.waiting: list[OverrideChange] = []
        self.handed = Handed()
        self.listener: Callable[[RolloutState], None] | None = None

    def states(self) -> Sequence[RolloutState]:
        return [ONE]

    def overrides(self) -> Sequence[OverrideChange]:
        return self.waiting

    def alerts(self) -> Handed:
        assert self.heard == ["let go"]
        return self.handed

    def unhealthy(self) -> Sequence[tuple[Path, str]]:
        return [(Path.V2, "http://h:1")]

    def relay(self, listener: Callable[[RolloutState], None] | None) -> None:
        self.listener = listener

    async def let_go(self) -> Sequence[RolloutState]:
        self.heard.append("let go")
        return [TWO]

    async def take_up(self) -> None:
        self.heard.append("take up")


class FakeProcess:
    """A successor that ends when told to, or only when killed."""

    pid = 4711

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.heard: list[str] = []

    def terminate(self) -> None:
        self.heard.append("terminate")

    def kill(self) -> None:
        self.heard.append("kill")

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and self.stubborn:
            raise subprocess.TimeoutExpired("dualpath", timeout)
        return 0


class Stage:
    """One attempt of a process to be succeeded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, process: FakeProcess | None = None) -> None:
        self.office, self.end, self.process = FakeOffice(), End(), process or FakeProcess()

        async def over(sock: object) -> Link:
            return self.end.link

        monkeypatch.setattr(takeover, "_started", lambda command, listeners, environ: (None, self.process))
        monkeypatch.setattr(takeover.Link, "over", over)

    async def perform(self) -> int | None:
        return await successor(self.office, Listeners("", ""), {})


async def begun(stage: Stage) -> None:
    """Until the successor has been told the first states."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.end.words() == ["state", "complete"]


async def test_who_is_succeeded_lets_go_and_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.end.hears({"ready": 1}, {"up": 1})
    assert await stage.perform() == 4711
    assert stage.office.heard == ["let go"]
    assert stage.end.words() == ["state", "complete", "state", "yours"]
    assert {"complete": [["v2", "http://h:1"]]} in stage.end.said
    assert [d["state"]["weight"] for d in stage.end.said if "state" in d] == [30_000, 0]  # type: ignore[index]
    assert (stage.process.heard, stage.office.listener, stage.end.closed) == ([], None, True)


async def test_a_successor_that_ends_before_it_is_ready_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(monkeypatch)
    stage.end.reader.feed_eof()
    assert await stage.perform() is None
    assert stage.office.heard == ["take up"]
    assert "this one goes on" in caplog.text


async def test_a_successor_that_fails_after_it_was_given_everything_is_ended_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, FakeProcess(stubborn=True))
    stage.end.hears({"ready": 1})
    stage.end.reader.feed_eof()
    assert await stage.perform() is None
    assert stage.process.heard == ["terminate", "kill"]
    assert stage.office.heard == ["let go", "take up"]


async def test_a_successor_that_is_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(takeover, "READY_WITHIN_S", 0.001)
    stage = Stage(monkeypatch)
    assert await stage.perform() is None
    assert "not done in time" in caplog.text


async def test_an_end_in_the_middle_ends_the_successor_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    attempt = asyncio.create_task(stage.perform())
    await begun(stage)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert stage.process.heard == ["terminate"]
    assert stage.end.closed


async def test_states_that_come_into_force_meanwhile_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    attempt = asyncio.create_task(stage.perform())
    await begun(stage)
    assert stage.office.listener is not None
    stage.office.listener(TWO)
    stage.end.hears({"ready": 1}, {"up": 1})
    assert await attempt == 4711
    assert stage.end.words() == ["state", "complete", "state", "state", "yours"]


async def test_the_first_process_of_a_container_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert await successor(FakeOffice(), Listeners("", ""), {}) is None
    assert "first process" in caplog.text


async def test_a_command_that_cannot_be_started_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "proxy", "serve"])
    assert await successor(FakeOffice(), Listeners("", ""), {}) is None
    assert "cannot start /nowhere/python" in caplog.text


def test_a_script_is_started_by_itself_because_its_interpreter_may_be_another_one(
    tmp_path: FilePath,
) -> None:
    script = tmp_path / "dualpath"
    script.write_text("#!/new/bin/python\n")
    script.chmod(0o755)
    assert again("/old/bin/python", ["/old/bin/python", str(script), "serve"]) == [str(script), "serve"]


@pytest.mark.parametrize("text", ["#!/new/bin/python\n", "print()\n"])
def test_what_is_no_script_is_run_by_our_interpreter(tmp_path: FilePath, text: str) -> None:
    file = tmp_path / "serve.py"
    file.write_text(text)  # not executable
    for typed in (["-m", "proxy", "serve"], [str(file), "serve"], ["/nowhere/dualpath", "serve"]):
        assert again("/our/python", ["python", *typed]) == ["/our/python", *typed]
