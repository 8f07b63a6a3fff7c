"""What the dashboard shows: a line for each rollout, and all of the one that is looked at.

Owns the beat, once a second, and that every part is rendered once for all who look, however many, and sent to
each only when it has changed since they last got it. It decides nothing about a rollout and knows no
listener.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from proxy.admin import views
from proxy.admin.seconds import Seconds
from proxy.errors import UnknownRollout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from proxy.controlplane.controller import Controller
    from proxy.model import Pulse
    from proxy.ports import Clock

log = logging.getLogger("dualpath.admin")

EVERY_S: Final = 1.0
_BREATH: Final = 10
"""Rollouts that are looked at before requests have their turn."""

Made = dict[str, "_Part"]


@dataclass(frozen=True, slots=True)
class _Part:
    """`text` as it has been since beat `since`."""

    text: bytes
    since: int


class Board:
    """All of it. `others` makes the documents that stand beside the rollouts, by name; each is sent when it
    has changed. `more` makes what stands in a rollout's document besides."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        others: Callable[[], dict[str, views.JsonObject | None]],
        more: Callable[[str], views.JsonObject] = lambda name: {},
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._others = others
        self._more = more
        self.seconds = Seconds()
        self._pulses: list[Pulse] = []
        self._at = clock.wall()
        self._beat = 0
        self._rendered = -1
        self._rows: Made = {}
        self._beside: Made = {}
        self._details: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<Board {len(self._pulses)} rollouts, beat {self._beat}>"

    async def beating(self, app: web.Application) -> AsyncIterator[None]:
        """aiohttp: as long as the application runs."""
        task = asyncio.create_task(self._run(), name="board")
        yield
        task.cancel()
        await asyncio.wait([task])

    async def beat(self) -> None:
        """Look at every rollout once."""
        pulses = []
        for pulse in self._controller.pulses():
            pulses.append(pulse)
            if len(pulses) % _BREATH == 0:
                await asyncio.sleep(0)
        self._pulses, self._at = pulses, self._clock.wall()
        self.seconds.take(self._at, pulses)
        self._beat += 1

    def since(self, seen: int) -> tuple[bytes, int]:
        """The frame for whoever has seen everything up to a beat, -1 for nothing; and the beat that it shows.
        Empty when there was no beat since."""
        if seen == self._beat or not self._beat:
            return b"", seen
        self._render()
        rows = b",".join(one.text for one in self._rows.values() if one.since > seen)
        parts = [b'"at":"%b","rollouts":[%b]' % (views.instant(self._at).encode(), rows)]
        parts += [
            b'"%b":%b' % (name.encode(), one.text) for name, one in self._beside.items() if one.since > seen
        ]
        return b"event: board\ndata: {%b}\n\n" % b",".join(parts), self._beat

    def detail(self, name: str) -> bytes:
        """The frame of one rollout; empty for one that is no more."""
        self._render()
        if name not in self._details:
            try:
                report = self._controller.report(name)
            except UnknownRollout:
                return b""
            document = {
                "at": views.instant(self._at),
                **views.rollout_view(report),
                "latencies": views.latencies_view(report.recent),
                **self._more(name),
            }
            self._details[name] = b"event: rollout\ndata: %b\n\n" % orjson.dumps(document)
        return self._details[name]

    async def _run(self) -> None:
        while True:
            try:
                await self.beat()
            except Exception:
                log.exception("admin: the rollouts could not be looked at")
            await asyncio.sleep(EVERY_S)

    def _render(self) -> None:
        if self._rendered == self._beat:
            return
        self._details.clear()
        rows = {pulse.state.name: orjson.dumps(self._row(pulse)) for pulse in self._pulses}
        self._rows = self._kept(self._rows, rows)
        beside = {"names": list(rows), **self._others()}
        self._beside = self._kept(
            self._beside, {name: orjson.dumps(document) for name, document in beside.items()}
        )
        self._rendered = self._beat  # last: what could not be made is tried again

    def _row(self, pulse: Pulse) -> views.JsonObject:
        try:
            judgment = self._controller.judgment(pulse.state.name)
        except UnknownRollout:
            judgment = None
        return views.row_view(pulse, judgment)

    def _kept(self, before: Made, now: dict[str, bytes]) -> Made:
        """What has changed is of this beat."""
        return {
            name: before[name] if name in before and before[name].text == text else _Part(text, self._beat)
            for name, text in now.items()
        }
