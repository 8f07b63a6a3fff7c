"""`status --watch`: looks once a second until somebody interrupts, drawn in place on a terminal, lines
elsewhere.

Owns the polling, what becomes of it when the admin API is away, and the terminal. What is drawn stands in
`watch_text`. It asks and never commands.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from proxy.admin_client import AdminApiError
from proxy.deploy_progress import progress_of
from proxy.deploy_screen import PlainScreen
from proxy.deploy_waiting import ended_by_signals
from proxy.printable import clean
from proxy.rendering import fleet_text, moment, percent
from proxy.session import INTERRUPTED
from proxy.watch_text import Trend, watch_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from proxy.admin_client import AdminApi, JsonDocument

EVERY_S: Final = 1.0
STALE_S: Final = 4.0
"""How long nothing may come until that is said: sooner than a question is given up."""
_SOONEST_S: Final = 0.01
_EVENTS: Final = 50


class Look:
    """What is known of the rollouts by now."""

    def __init__(self, admin: AdminApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._clock = clock
        self._loaded: object = None
        self.document: JsonDocument = {}
        self.plans: dict[str, JsonDocument] = {}
        self.trends: dict[str, Trend] = {}
        self.events: list[JsonDocument] = []

    async def again(self) -> list[JsonDocument]:
        """Ask; gives the events that are new. Raises `AdminApiError`."""
        document = await self._admin.status()
        if document["config"]["loaded_at"] != self._loaded:
            configuration = await self._admin.config()
            self.plans = {one["name"]: one for one in configuration["rollouts"]}
            self._loaded = document["config"]["loaded_at"]
        at, self.document = self._clock(), document  # at once: events need a store, and this does not
        for rollout in document["rollouts"]:
            self.trends.setdefault(rollout["name"], Trend()).look(rollout, at)
        newest = (await self._admin.events(limit=_EVENTS))["events"]
        known = self.events[-1]["seq"] if self.events else None
        self.events = newest
        return [one for one in newest if known is not None and one["seq"] > known]

    def picture(self, *, ascii_only: bool) -> RenderableType:
        """All of it."""
        return watch_text(self.document, self.plans, self.trends, self.events, ascii_only=ascii_only)


async def watch(
    admin: AdminApi, *, no_color: bool, every_s: float = EVERY_S, stale_s: float = STALE_S
) -> int:
    """Until somebody interrupts: the exit code. Raises `AdminApiError` if the first look fails."""
    console = Console(highlight=False, markup=False, emoji=False, no_color=no_color or None)
    look = Look(admin)
    with suppress(asyncio.CancelledError), ended_by_signals():
        await look.again()
        if sys.stdout.isatty() and not console.is_dumb_terminal:
            await _drawn(look, console, every_s, stale_s)
        else:
            await _in_lines(look, every_s)
    return INTERRUPTED


async def _drawn(look: Look, console: Console, every_s: float, stale_s: float) -> None:
    ascii_only = console.options.ascii_only
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        trouble, heard = "", time.monotonic()
        while True:
            picture = look.picture(ascii_only=ascii_only)
            live.update(_stale(trouble, picture) if trouble else picture, refresh=True)
            await asyncio.sleep(every_s)
            asking = asyncio.create_task(_trouble(look))
            try:
                while not (await asyncio.wait([asking], timeout=max(every_s, _SOONEST_S)))[0]:
                    if (silent_s := time.monotonic() - heard) >= stale_s:
                        live.update(_stale(f"nothing for {silent_s:.0f} s", picture), refresh=True)
                trouble = asking.result()
            finally:
                asking.cancel()
            heard = heard if trouble else time.monotonic()


def _stale(trouble: str, picture: RenderableType) -> RenderableType:
    return Group(Text(f"stale: {trouble}", style="bold red"), picture)


async def _trouble(look: Look) -> str:
    try:
        await look.again()
    except AdminApiError as error:
        return clean(str(error))
    return ""


async def _in_lines(look: Look, every_s: float) -> None:
    """A line when something has changed, and now and then to show life; events as they come."""
    screen = PlainScreen()
    said = of_fleet = ""
    fresh: Sequence[JsonDocument] = ()
    while True:
        for event in fresh:
            after = event["after"]
            stand = f"{clean(event['rollout'])}: {after['state']} at {percent(after['percentage'])}"
            screen.say(
                "event",
                f"{moment(event['at'])} {stand}, {event['cause']} by {event['actor']}: {event['reason']}",
            )
        fleet = look.document.get("fleet")
        if fleet is not None and (now := fleet_text(fleet, figures=False).plain) != of_fleet:
            of_fleet = now
            screen.say("fleet", now)
        screen.show([progress_of(one, look.plans.get(one["name"])) for one in look.document["rollouts"]])
        await asyncio.sleep(every_s)
        try:
            fresh, said = await look.again(), ""
        except AdminApiError as error:
            fresh = ()
            if str(error) != said:
                said = str(error)
                screen.say("lost", said)
