"""Waiting for rollouts to end: what `deploy` and `--wait` have in common.

Owns the polling, what becomes of it when the admin API is away or somebody interrupts, and what the exit code
says. It asks and never commands: whoever waits changes nothing by that.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.admin_client import AdminApiError
from proxy.deploy_progress import Ending, ending, headline, progress_of
from proxy.deploy_screen import screen_for
from proxy.errors import DualpathError
from proxy.model import Verb
from proxy.printable import clean
from proxy.session import INTERRUPTED, OK, ROLLED_BACK, TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from proxy.admin_client import AdminApi, JsonDocument
    from proxy.deploy_screen import Screen

LOST_S: Final = 30.0
"""How long the admin API may be away: long enough for a proxy to be started anew."""

_CODES = {
    Ending.COMPLETED: OK,
    Ending.ROLLED_BACK: ROLLED_BACK,
    Ending.ABORTED: ROLLED_BACK,
    Ending.DISABLED: ROLLED_BACK,
    Ending.TIMED_OUT: TIMED_OUT,
}
_SEVERITY = (OK, TIMED_OUT, ROLLED_BACK)
_LOWERING = frozenset({Verb.PAUSE, Verb.ROLLBACK, Verb.STEP_DOWN, Verb.ABORT})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, without end if that is None, and how often it is looked."""

    timeout_s: float | None = None
    every_s: float = 0.5
    lost_s: float = LOST_S


async def until_done(admin: AdminApi, verb: Verb, moved: Sequence[JsonDocument], patience: Patience) -> int:
    """Wait until what `verb` has begun is done, with the rollouts as it has left them: what goes up, until
    the plan is over; what only lowers or halts, until it is stored. Returns the exit code."""
    screen = screen_for(as_json=False)
    if verb in _LOWERING:
        return await _stored(admin, screen, patience) if not all(map(_is_stored, moved)) else OK
    under_way = [rollout["name"] for rollout in moved if ending(rollout) is None and rollout["phase"]]
    for rollout in moved:
        if ending(rollout) is None and not rollout["phase"]:
            text = f"{clean(rollout['name'])} is in no phase of a plan: there is nothing to wait for"
            screen.say("done", text, rollout=rollout["name"])
    return await waited(admin, under_way, screen, patience) if under_way else OK


async def waited(admin: AdminApi, names: Sequence[str], screen: Screen, patience: Patience) -> int:
    """Wait until these rollouts have ended, say how, and return the exit code of the worst. Raises
    `DualpathError` if that cannot be known."""
    try:
        with ended_by_signals():
            endings = await follow(admin, names, screen, patience)
    except asyncio.CancelledError:
        screen.close()
        screen.say("interrupted", f"interrupted: {left_running(names)}", rollouts=list(names))
        return INTERRUPTED
    return exit_code(endings.values())


async def follow(
    admin: AdminApi, names: Sequence[str], screen: Screen, patience: Patience
) -> Mapping[str, Ending]:
    """How each of these rollouts has ended. Raises `DualpathError` if one of them is not there any more, or
    the admin API is away for too long."""
    watch = _Watch(admin, names, screen, patience)
    try:
        async with asyncio.timeout(patience.timeout_s):
            over = await watch.look()
            while not over:
                await asyncio.sleep(patience.every_s)
                over = await watch.look()
    except TimeoutError:
        watch.give_up()
    finally:
        screen.close()
    return watch.endings


def exit_code(endings: Iterable[Ending]) -> int:
    """That of the worst: taken back before timed out, timed out before completed."""
    return max((_CODES[one] for one in endings), key=_SEVERITY.index, default=OK)


def left_running(names: Sequence[str]) -> str:
    """What a person has to know who stops waiting."""
    if len(names) == 1:
        return (
            f"{clean(names[0])} goes on without anybody waiting; "
            f"`dualpath rollout resume --wait --name {clean(names[0])}` waits again"
        )
    return f"{', '.join(map(clean, names))} go on without anybody waiting; `dualpath status` tells"


async def _stored(admin: AdminApi, screen: Screen, patience: Patience) -> int:
    """Wait until the store has taken everything that is in force."""
    try:
        async with asyncio.timeout(patience.timeout_s):
            waiting = True
            while waiting:
                await asyncio.sleep(patience.every_s)
                waiting = bool((await admin.status())["store"]["waiting"])
    except TimeoutError:
        screen.say("timed_out", "it is in force, and not stored yet")
        return TIMED_OUT
    return OK


def _is_stored(rollout: JsonDocument) -> bool:
    return bool(rollout.get("stored", True))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM cancels what runs here, as Ctrl-C does by itself."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    with suppress(ValueError, RuntimeError):  # not in the main thread: then nobody sends us one either
        loop.add_signal_handler(signal.SIGTERM, task.cancel if task is not None else loop.stop)
    try:
        yield
    finally:
        with suppress(ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)


class _Watch:
    """What is known of the rollouts that are waited for."""

    def __init__(self, admin: AdminApi, names: Sequence[str], screen: Screen, patience: Patience) -> None:
        self.endings: dict[str, Ending] = {}
        self._admin = admin
        self._names = names
        self._screen = screen
        self._patience = patience
        self._plans: dict[str, JsonDocument] = {}
        self._loaded: object = None  # when the configuration was loaded that the plans are from
        self._lost_at: float | None = None

    async def look(self) -> bool:
        """Look once; whether all have ended."""
        try:
            status = await self._admin.status()
            await self._read_plans(status)
        except AdminApiError as error:
            self._lost(error)
            return False
        self._lost_at = None
        known = {rollout["name"]: rollout for rollout in status["rollouts"]}
        course = []
        for name in self._names:
            if name not in known:
                raise DualpathError(f"{name} is not a rollout any more: the configuration has changed")
            if name in self.endings:
                continue
            if (found := ending(known[name])) is None:
                course.append(progress_of(known[name], self._plans.get(name)))
            else:
                self._end(known[name], found)
        if course:
            self._screen.show(course)
        return not course

    def give_up(self) -> None:
        """The time is over."""
        for name in self._names:
            if name not in self.endings:
                self.endings[name] = Ending.TIMED_OUT

    async def _read_plans(self, status: JsonDocument) -> None:
        loaded = status["config"]["loaded_at"]
        if loaded != self._loaded:
            config = await self._admin.config()
            self._plans = {rollout["name"]: rollout for rollout in config["rollouts"]}
            self._loaded = loaded

    def _lost(self, error: AdminApiError) -> None:
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
            self._screen.say("unreachable", f"waiting for the admin API: {error}")
        if now - self._lost_at >= self._patience.lost_s:
            raise DualpathError(f"{error}; {left_running(self._names)}") from error

    def _end(self, rollout: JsonDocument, found: Ending) -> None:
        self.endings[rollout["name"]] = found
        why = f": {clean(rollout['reason'])}" if rollout["reason"] else ""
        text = headline(progress_of(rollout, self._plans.get(rollout["name"]))) + why
        facts = {"percentage": rollout["percentage"], "reason": rollout["reason"]}
        self._screen.say("ended", text, rollout=rollout["name"], ending=found, **facts)
