from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.admin_client import AdminApiError
from proxy.config.export import redacted
from proxy.config.loading import load
from tests.played_admin import played, run

TEXT = """
[store]
url = "memory://"
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
[[rollouts]]
name = "default"
[[rollouts.phases]]
name = "canary"
percentage = 1
[[rollouts.phases]]
name = "half"
percentage = 30
approval = true
"""
COMPLETED = {"state": "completed", "phase": "half", "percentage": 100.0, "reason": "phase half passed"}
BACK = {"state": "rolled_back", "phase": None, "percentage": 0.0, "reason": "guard error_rate"}
HEALTHY = [
    {"path": path, "url": f"http://127.0.0.1:{port}", "healthy": True, "ejected": False}
    for path, port in (("v1", 9001), ("v2", 9002))
]

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "proxy.toml"
    path.write_text(TEXT)
    return path


class Scene:
    """A proxy that runs by the file, and is disabled."""

    def __init__(self, file: Path) -> None:
        self.outside, self.admin = played()
        self.admin.configuration = redacted(load(file, {}))
        self.admin.rollouts[0].update(state="disabled", phase=None, percentage=0.0, endpoints=HEALTHY)
        self.admin.scenes = [{"default": COMPLETED}]

    def deploy(self, *arguments: str) -> int:
        return run(self.outside, "deploy", "--no-direct", *arguments)


@pytest.fixture
def scene(file: Path) -> Scene:
    return Scene(file)


def test_it_looks_backs_up_starts_and_waits(scene: Scene, file: Path, capsys: Captured) -> None:
    assert scene.deploy("--reason", "release 7", "--backup", "kept") == 0
    assert scene.admin.commands == [("default", "start", {"revision": 4, "reason": "release 7"})]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:7]] == [
        ["ok", "plan"],
        ["ok", "plan"],
        ["ok", "config"],
        ["ok", "state"],
        ["ok", "health"],
        ["ok", "health"],
        ["ok", "smoke"],
    ]
    assert lines[7] == "ok       store    can be written"
    assert lines[8:] == [
        "backup in kept: proxy.toml, rollouts.json, events.json, config.json",
        "default: running at 1%, phase canary, revision 5",
        "default: completed at 100%, phase half (2 of 2): phase half passed",
    ]
    kept = orjson.loads(Path("kept/rollouts.json").read_bytes())["rollouts"][0]
    assert kept["state"] == "disabled"
    assert orjson.loads(Path("kept/events.json").read_bytes())["last"] == 9


def test_the_backup_has_a_folder_of_its_own_by_default(scene: Scene) -> None:
    assert scene.deploy() == 0
    [folder] = Path("dualpath-backup").iterdir()
    assert folder.name.endswith("Z")
    assert (folder / "proxy.toml").read_text() == TEXT


def test_rolled_back_is_3(scene: Scene) -> None:
    scene.admin.scenes = [{"default": BACK}]
    assert scene.deploy() == 3


def test_waiting_is_how_it_is_anyway_and_can_be_left_out(scene: Scene, capsys: Captured) -> None:
    scene.admin.scenes = [{"default": BACK}]
    assert scene.deploy("--wait") == 3
    again = Scene(Path("proxy.toml"))
    again.admin.scenes = [{"default": BACK}]
    assert again.deploy("--no-wait", "--backup", "other") == 0
    assert [verb for _, verb, _ in again.admin.commands] == ["start"]
    assert "rolled_back" not in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("option", "verbs"), [("hold", ["start"]), ("rollback", ["start", "rollback"])])
def test_too_long_is_4_and_takes_it_back_only_if_told_so(
    option: str, verbs: list[str], scene: Scene, capsys: Captured
) -> None:
    scene.admin.scenes = [{}]
    assert scene.deploy("--timeout", "20ms", "--on-timeout", option) == 4
    assert [verb for _, verb, _ in scene.admin.commands] == verbs
    assert "default is not over after" in capsys.readouterr().out


def test_json_is_lines_of_objects_and_the_last_is_the_end(scene: Scene, capsys: Captured) -> None:
    assert scene.deploy("--json") == 0
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"check", "backup", "started", "ended"}
    assert (lines[-1]["event"], lines[-1]["ending"]) == ("ended", "completed")
    assert {line["mark"] for line in lines if line["event"] == "check"} == {"ok"}


# ... what forbids a start


def sick(scene: Scene) -> None:
    scene.admin.rollouts[0]["endpoints"] = [HEALTHY[0], {**HEALTHY[1], "healthy": False}]


def under_way(scene: Scene) -> None:
    scene.admin.rollouts[0].update(state="running", phase="canary")


def paused(scene: Scene) -> None:
    scene.admin.rollouts[0].update(state="paused")


def unwritable(scene: Scene) -> None:
    scene.admin.stores = {"writable": False, "waiting": 0, "detail": "state.db: readonly"}


def behind(scene: Scene) -> None:
    scene.admin.stores = {"writable": True, "waiting": 2, "detail": None}


def unknown(scene: Scene) -> None:
    scene.admin.rollouts[0]["name"] = "another"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (sick, "health: v2: 0 of 1 endpoints healthy"),
        (under_way, "state: running at 0%: it is under way already; `dualpath rollout resume --wait"),
        (paused, "state: paused at 0%: it is under way already"),
        (unwritable, "store: cannot be written: state.db: readonly"),
        (behind, "store: 2 changes are not stored yet"),
        (unknown, "state: the proxy knows no rollout 'default'"),
    ],
)
def test_nothing_is_started_or_backed_up_after_a_check_that_failed(
    trouble: Any, words: str, scene: Scene, capsys: Captured
) -> None:
    trouble(scene)
    assert scene.deploy() == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"dualpath: error: preflight: {words}")
    assert "store    " in out  # the checks after it are told too
    assert "nothing was started" in out
    assert scene.admin.commands == []
    assert not Path("dualpath-backup").exists()


def test_another_configuration_is_said_and_forbids_only_if_told_so(scene: Scene, capsys: Captured) -> None:
    scene.admin.configuration["listen"]["address"] = "127.0.0.1:1"
    words = "the proxy runs by another configuration: listen.address is '127.0.0.1:1', in the file"
    assert scene.deploy("--strict") == 1
    assert words in capsys.readouterr().err
    assert scene.deploy() == 0
    assert f"warning  config   {words} '127.0.0.1:8080'" in capsys.readouterr().out


def test_a_backup_that_cannot_be_made_forbids_the_start(scene: Scene, file: Path, capsys: Captured) -> None:
    assert scene.deploy("--backup", str(file.parent)) == 1
    assert "is not empty" in capsys.readouterr().err
    assert scene.admin.commands == []


def test_a_start_that_is_refused_is_1(scene: Scene, capsys: Captured) -> None:
    scene.admin.failures["default"] = AdminApiError("revision 4 was expected, the present one is 5")
    assert scene.deploy() == 1
    assert capsys.readouterr().err == "dualpath: error: revision 4 was expected, the present one is 5\n"


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("[listen]\naddres = 1", (), "listen.addres"),
        (TEXT, ("--name", "other"), "there is no rollout 'other' in the configuration"),
        (TEXT + '[[rollouts]]\nname = "b"\nroutes = [{ prefix = "/b" }]', (), "several rollouts"),
        (TEXT, ("--timeout", "5"), "must be a duration"),
        (TEXT.partition("[[rollouts.phases]]")[0], (), "has no phases"),
    ],
)
def test_what_cannot_mean_anything_is_2_and_asks_nobody(
    text: str, arguments: tuple[str, ...], words: str, scene: Scene, file: Path, capsys: Captured
) -> None:
    file.write_text(text)
    assert scene.deploy(*arguments) == 2
    assert words in capsys.readouterr().err
    assert scene.outside.connected == []


@pytest.mark.parametrize(
    ("during", "words"),
    [
        ("store", "interrupted: nothing was started"),
        ("command", "interrupted: it may have been started, see `dualpath status`"),
    ],
)
def test_who_interrupts_is_told_what_was_started(
    during: str, words: str, scene: Scene, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*arguments: object) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(scene.admin, during, interrupted)
    assert scene.deploy() == 130
    assert capsys.readouterr().out.splitlines()[-1] == words
    assert scene.admin.commands == []
