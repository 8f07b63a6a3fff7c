"""When the file is read again, what is refused, and what is told of it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from proxy.config.source import ConfigSource
from proxy.errors import StoreUnavailable
from proxy.reload import Note, Reloader, changes, fixed_changes, sharing
from tests.certificates import Authority
from tests.controlplane.rig import config
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.config.schema import Config

TEXT = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""


class Desk:
    """A reloader over a real file, and what it has had put in force. `pause` runs the next of `steps`."""

    def __init__(self, directory: Path, meanwhile: str = "", **environ: str) -> None:
        self.path = directory / "proxy.toml"
        self.path.write_text(TEXT)
        self.clock = FakeClock()
        self.applied: list[Config] = []
        self.failure: Exception | None = None
        self.steps: list[str] = []
        file = ConfigSource(str(self.path), environ)
        seen = file.mark()
        config = file.read()
        if meanwhile:
            self.path.write_text(TEXT + meanwhile)
        self.notes: list[Note] = []
        self.reloader = Reloader(
            file, config, self.apply, wall=self.clock.wall, seen=seen, pause=self.pause, note=self.note
        )

    async def note(self, note: Note) -> None:
        self.notes.append(note)

    async def apply(self, config: Config) -> None:
        if self.failure is not None:
            raise self.failure
        self.applied.append(config)

    async def pause(self, seconds: float) -> None:
        assert seconds == 1.0
        if not self.steps:
            raise EndOfScriptError
        step = self.steps.pop(0)
        if step == "gone":
            self.path.unlink()
        elif step:
            self.path.write_text(TEXT + step)

    async def watched(self, *steps: str) -> list[str]:
        """What the watch says while the file becomes this, look for look; "" leaves it."""
        said: list[str] = []
        self.steps = list(steps)
        with pytest.raises(EndOfScriptError):
            await self.reloader.watch(said.append)
        return said


class EndOfScriptError(Exception):
    """The test is over."""


async def test_what_the_file_says_is_applied_and_the_time_is_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.clock.advance(5)
    desk.path.write_text(TEXT + '[log]\nlevel = "error"\n')
    assert await desk.reloader.reload("SIGHUP")
    assert desk.applied[0].log.level == desk.reloader.config.log.level == "error"
    assert (desk.reloader.loaded.at, desk.reloader.loaded.error) == (desk.clock.wall(), None)


async def test_the_environment_stands_over_the_file_as_at_the_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path, DUALPATH__LOG__LEVEL="debug")
    desk.path.write_text(TEXT + '[log]\nlevel = "error"\n')
    await desk.reloader.reload("SIGHUP")
    assert desk.applied[0].log.level == "debug"


async def test_every_fault_is_logged_and_kept_until_a_reload_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path)
    desk.clock.advance(5)
    desk.path.write_text(TEXT + '[log]\nlevel = "loud"\ncolour = "red"\n')
    assert not await desk.reloader.reload("SIGHUP")
    assert desk.applied == []
    error = desk.reloader.loaded.error or ""
    for path in ("log.level", "log.colour"):
        assert path in error
        assert any(path in line for line in caplog.messages)
    assert desk.reloader.loaded.at == desk.clock.wall() - 5
    desk.path.write_text(TEXT)
    assert await desk.reloader.reload("SIGHUP")
    assert desk.reloader.loaded.error is None


async def test_one_key_that_cannot_change_refuses_the_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.write_text(TEXT + '[log]\nlevel = "error"\n[store]\nurl = "memory://"\n')
    assert not await desk.reloader.reload("SIGHUP")
    assert "store.url: cannot change while running" in (desk.reloader.loaded.error or "")
    assert desk.applied == []
    assert desk.reloader.config.log.level == "info"


async def test_a_part_that_cannot_follow_refuses_the_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.failure = StoreUnavailable("the store does not answer")
    assert not await desk.reloader.reload("SIGHUP")
    assert desk.reloader.loaded.error == "the store does not answer"


async def test_a_file_that_has_changed_and_stands_still_is_noticed_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.watched("", "", "") == []
    assert await desk.watched("#1\n", "", "", "") == ["the file has changed"]


async def test_an_edit_while_the_file_is_read_at_the_start_is_noticed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "#1\n")
    assert await desk.watched("", "", "") == ["the file has changed"]


async def test_a_file_that_is_being_written_is_let_be(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.watched("#1\n", "#12\n", "#123\n") == []
    assert await desk.watched("gone", "", "#1234\n", "") == ["the file has changed"]


async def test_what_a_signal_has_reloaded_is_not_noticed_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.write_text(TEXT + "#\n")
    await desk.reloader.reload("SIGHUP")
    assert await desk.watched("", "") == []


async def test_a_certificate_that_has_changed_and_stands_still_is_noticed_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.signs(["a.example"])
    tls = f'[listen.tls]\ncertificates = [{{ certificate = "{pair.certificate}", key = "{pair.key}" }}]\n'
    desk = Desk(tmp_path)
    desk.path.write_text(TEXT + tls)
    assert await desk.reloader.reload("SIGHUP")
    assert await desk.watched("", "", "") == []
    os.utime(pair.certificate, ns=(1, 1))
    assert await desk.watched("", "", "") == ["a certificate has changed"]
    pair.key.unlink()
    assert await desk.watched("", "", "") == ["a certificate has changed"]
    assert not await desk.reloader.reload("a certificate has changed")
    assert "listen.tls.certificates.0.key" in (desk.reloader.loaded.error or "")


async def test_a_plan_that_has_changed_and_stands_still_is_noticed_once(tmp_path: Path) -> None:
    desk, plan = Desk(tmp_path), tmp_path / "own.toml"
    plan.write_text('steps = { by = 50, every = "1h" }\n')
    desk.path.write_text(TEXT + '[[rollouts]]\nname = "default"\nplan = "own.toml"\n')
    assert await desk.reloader.reload("SIGHUP")
    assert [phase.name for phase in desk.reloader.config.rollouts[0].phases] == ["50%", "100%"]
    assert await desk.watched("", "", "") == []
    plan.write_text('steps = { by = 25, every = "1h" }\n')
    assert await desk.watched("", "", "") == ["a plan has changed"]
    assert await desk.reloader.reload("a plan has changed")
    assert desk.reloader.config.rollouts[0].phases[0].name == "25%"
    assert await desk.watched("", "", "") == []


async def test_certificates_alone_are_told_as_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dualpath")
    pair = Authority(tmp_path).signs(["a.example"])
    tls = f'[listen.tls]\ncertificates = [{{ certificate = "{pair.certificate}", key = "{pair.key}" }}]\n'
    desk = Desk(tmp_path)
    desk.path.write_text(TEXT + tls)
    await desk.reloader.reload("SIGHUP")
    os.utime(pair.certificate, ns=(1, 1))
    await desk.reloader.reload("SIGHUP")
    await desk.reloader.reload("SIGHUP")
    assert [line for line in caplog.messages if line.startswith("reloaded")] == [
        "reloaded: listen, certificates",
        "reloaded: certificates",
        "reloaded: nothing has changed",
    ]


def test_a_name_that_cannot_be_one_has_no_mark() -> None:
    assert ConfigSource("a\0b", {}).mark() is None


def test_what_cannot_change_is_named_by_its_dotted_key() -> None:
    after = config(
        listen={"address": "127.0.0.1:1", "workers": 3, "backlog": 2},
        admin={"address": "127.0.0.1:2"},
        store={"url": "memory://"},
    )
    assert fixed_changes(config(), after) == [
        "listen.address",
        "listen.workers",
        "listen.backlog",
        "admin.address",
        "store.url",
    ]
    assert fixed_changes(config(), config(listen={"expose_path": True})) == []


def test_changes_are_told_by_table() -> None:
    before = config({"name": "a"}, {"name": "b", "routes": [{"prefix": "/b"}]})
    backends = {"v1": {"endpoints": ["http://h:1"]}, "v2": {"endpoints": ["http://127.0.0.1:9002"]}}
    after = config({"name": "c"}, {"name": "b"}, listen={"expose_path": True}, backends=backends)
    assert changes(before, after) == [
        "listen",
        "backends.v1",
        "rollouts.b",
        "rollouts.c (new)",
        "rollouts.a (removed)",
    ]
    assert changes(before, before) == []


def test_a_rollout_that_is_equal_stays_the_very_same() -> None:
    before = config({"name": "a"}, {"name": "b", "routes": [{"prefix": "/b"}]})
    after = sharing(before, config({"name": "b", "routes": [{"prefix": "/b"}]}, {"name": "a", "salt": "x"}))
    assert after.rollouts[0] is before.rollouts[1]
    assert after.rollouts[1].salt == "x"


async def test_what_has_changed_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk(tmp_path)
    await desk.reloader.reload("SIGHUP")
    assert caplog.messages[-1] == "reloaded: nothing has changed"
    desk.path.write_text(TEXT + '[[rollouts]]\nname = "new"\n')
    await desk.reloader.reload("SIGHUP")
    assert caplog.messages[-1] == "reloaded: rollouts.new (new), rollouts.default (removed)"


A, B = '[[rollouts]]\nname = "a"\nroutes = [{ prefix = "/a" }]\n', '[[rollouts]]\nname = "b"\n'
QUIET = '[log]\nlevel = "error"\n'


async def test_the_audit_is_told_once_of_what_has_changed_around_a_rollout(tmp_path: Path) -> None:
    """Of rollouts whose own table has changed the controller tells."""
    desk = Desk(tmp_path)
    for text in (A + B, QUIET + A + B, QUIET + A + B + "percentage = 5\n", A + B, A + B):
        desk.path.write_text(TEXT + text)
        assert await desk.reloader.reload("SIGHUP")
    assert desk.notes == [
        Note("config", "configuration reloaded: log"),
        Note("config", "configuration reloaded: log"),
        Note("config", "configuration reloaded: nothing has changed"),
    ]


async def test_the_audit_is_told_of_a_reload_that_was_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.write_text(TEXT + '[listen]\nworkers = 2\n[log]\nlevel = "loud"\n')
    assert not await desk.reloader.reload("SIGHUP")
    [note] = desk.notes
    assert note.cause == "config:refused"
    assert note.reason.startswith("configuration not reloaded: log.level: ")
