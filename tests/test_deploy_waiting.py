from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from proxy.admin_client import AdminApiError
from proxy.deploy_progress import Ending
from proxy.deploy_screen import PlainScreen
from proxy.deploy_waiting import Patience, exit_code, follow
from proxy.errors import DualpathError
from tests.played_admin import PlayedAdmin, played, run

if TYPE_CHECKING:
    from collections.abc import Sequence

Captured = pytest.CaptureFixture[str]

RUNNING = {"state": "running", "phase": "canary"}
COMPLETED = {"state": "completed", "phase": "half", "percentage": 100.0, "reason": "phase half passed"}
BACK = {"state": "rolled_back", "phase": None, "percentage": 0.0, "reason": "guard error_rate"}
AWAY = AdminApiError("cannot reach the admin API")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (COMPLETED, 0),
        (BACK, 3),
        ({"state": "aborted", "phase": None}, 3),
        ({"state": "disabled", "phase": None}, 3),
    ],
)
@pytest.mark.parametrize("verb", [["start"], ["promote"], ["resume"], ["set", "30"]])
def test_what_goes_up_is_waited_for_until_it_has_ended(
    verb: Sequence[str], end: dict[str, object], code: int, capsys: Captured
) -> None:
    outside, admin = played()
    admin.scenes = [{"default": RUNNING}, {"default": RUNNING}, {"default": end}]
    assert run(outside, "rollout", *verb, "--wait") == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"default: {end['state']}")


def test_without_wait_nobody_looks_again() -> None:
    outside, admin = played()
    assert run(outside, "rollout", "start", "--name", "default") == 0
    assert admin.asked == []


@pytest.mark.parametrize("verb", [["start"], ["rollback"]])
def test_too_long_is_4(verb: Sequence[str], capsys: Captured) -> None:
    outside, admin = played()
    admin.stored, admin.waiting = False, 1
    assert run(outside, "rollout", *verb, "--wait", "--timeout", "20ms") == 4
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["rollback", "abort", "pause", "step-down"])
def test_what_lowers_is_done_once_it_is_stored(verb: str) -> None:
    outside, admin = played()
    assert run(outside, "rollout", verb, "--wait", "--name", "default") == 0
    assert admin.asked == []
    admin.stored = False
    assert run(outside, "rollout", verb, "--wait", "--name", "default") == 0
    assert admin.asked == ["status"]


def test_a_split_without_a_plan_is_done_at_once(capsys: Captured) -> None:
    outside, admin = played()
    admin.rollouts[0]["phase"] = None
    assert run(outside, "rollout", "set", "30", "--wait", "--name", "default") == 0
    assert "default is in no phase of a plan: there is nothing to wait for" in capsys.readouterr().out
    assert admin.asked == []


def test_of_several_the_worst_is_the_exit_code() -> None:
    outside, admin = played("a", "b", "c")
    admin.scenes = [{"a": COMPLETED}, {"b": BACK}, {"c": COMPLETED}]
    assert run(outside, "rollout", "start", "--all", "--wait") == 3


def test_one_that_refuses_fails_the_whole_and_the_others_are_waited_for(capsys: Captured) -> None:
    outside, admin = played("a", "b")
    admin.failures["a"] = AdminApiError("already running")
    admin.scenes = [{"b": RUNNING}, {"b": COMPLETED}]
    assert run(outside, "rollout", "start", "--all", "--wait") == 1
    assert "b: completed" in capsys.readouterr().out


def test_a_timeout_without_wait_is_a_usage_error(capsys: Captured) -> None:
    outside, admin = played()
    assert run(outside, "rollout", "start", "--timeout", "1h") == 2
    assert capsys.readouterr().err == "dualpath: error: --timeout goes with --wait\n"
    assert run(outside, "rollout", "start", "--wait", "--timeout", "soon") == 2
    assert admin.commands == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_leaves_it_running_and_is_told_so(number: signal.Signals, capsys: Captured) -> None:
    outside, admin = played()

    class Interrupting(PlayedAdmin):
        async def status(self) -> dict[str, object]:
            os.kill(os.getpid(), number)
            return await super().status()

    outside.admin = admin = Interrupting()
    assert run(outside, "rollout", "start", "--wait", "--name", "default") == 130
    assert capsys.readouterr().out.splitlines()[-1] == (
        "interrupted: default goes on without anybody waiting; "
        "`dualpath rollout resume --wait --name default` waits again"
    )
    assert [verb for _, verb, _ in admin.commands] == ["start"]


# ... the watch itself


async def test_an_admin_that_comes_back_is_waited_for(capsys: Captured) -> None:
    admin = PlayedAdmin()
    admin.commands.append(("default", "start", {}))
    admin.scenes = [AWAY, AWAY, {"default": COMPLETED}]
    assert await follow(admin, ["default"], PlainScreen(), Patience(None, 0.001)) == {
        "default": Ending.COMPLETED
    }
    assert capsys.readouterr().out.count("waiting for the admin API") == 1


async def test_one_that_stays_away_is_a_failure_that_says_what_goes_on() -> None:
    admin = PlayedAdmin("a", "b")
    admin.commands.append(("a", "start", {}))
    admin.scenes = [AWAY]
    with pytest.raises(DualpathError, match=r"cannot reach .*; a, b go on without anybody waiting"):
        await follow(admin, ["a", "b"], PlainScreen(), Patience(None, 0.001, lost_s=0.01))


async def test_a_rollout_that_a_reload_has_taken_away_is_a_failure() -> None:
    with pytest.raises(DualpathError, match="gone is not a rollout any more"):
        await follow(PlayedAdmin(), ["gone"], PlainScreen(), Patience())


@pytest.mark.parametrize(("loads", "reads"), [(["a", "a", "a", "a"], 1), (["a", "a", "b", "b"], 2)])
async def test_the_plan_is_read_once_and_again_after_a_reload(loads: list[str], reads: int) -> None:
    class Reloading(PlayedAdmin):
        async def status(self) -> dict[str, object]:
            return {**await super().status(), "config": {"loaded_at": loads.pop(0), "error": None}}

    admin = Reloading()
    admin.commands.append(("default", "start", {}))
    admin.scenes = [*[{"default": RUNNING}] * 3, {"default": COMPLETED}]
    await follow(admin, ["default"], PlainScreen(), Patience(None, 0.001))
    assert admin.asked.count("config") == reads


def test_taken_back_is_worse_than_too_late_and_that_than_completed() -> None:
    assert exit_code([]) == 0
    assert exit_code([Ending.COMPLETED, Ending.TIMED_OUT]) == 4
    assert exit_code([Ending.TIMED_OUT, Ending.ABORTED, Ending.COMPLETED]) == 3
