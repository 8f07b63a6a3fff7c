"""What goes wrong, or is done on purpose, while traffic flows: drawn from a seeded sequence, one by one.

Owns the kinds of events and how often they come. A round that restarts the proxy does nothing else to it, so
that its counters can be told apart.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from benchmarks.soak.admin import command, status
from benchmarks.soak.backends import FAULTS
from benchmarks.soak.traffic import GRACE_S

if TYPE_CHECKING:
    from random import Random

    from benchmarks.soak.configuration import Configuration
    from benchmarks.soak.proxy_line import ProxyLine
    from benchmarks.soak.traffic import Traffic

SHARES = {
    "v2 fault": 6,
    "v1 fault": 1,
    "set": 4,
    "rollback": 1,
    "start": 3,
    "pause": 1,
    "reload": 3,
    "bad file": 1,
}
KILLS = {"kill": 3, "restart": 2}
_AFTER_S = 1.5
"""How long a fault has consequences after it has ended: an open connection, a breaker, an ejection."""


class Events:
    """Carries them out on one proxy and what stands behind it."""

    def __init__(self, configuration: Configuration, line: ProxyLine, traffic: Traffic, rng: Random) -> None:
        self.done: list[str] = []
        self.killed_at: list[float] = []  # in this round
        self._configuration = configuration
        self._admin = configuration.admin
        self._line = line
        self._traffic = traffic
        self._backends = {backend.version: backend for backend in traffic.backends}
        self._rng = rng
        self._changed = False

    def __repr__(self) -> str:
        return f"<Events {len(self.done)} done>"

    def draw(self, count: int, *, kills: bool, workers: int) -> list[str]:
        """What happens in a round."""
        shares = dict(SHARES)
        if kills:
            shares |= KILLS if workers > 1 else {"restart": KILLS["restart"]}
        drawn = self._rng.choices(list(shares), weights=list(shares.values()), k=count)
        return [kind for kind in drawn if kind != "kill"] if "restart" in drawn else drawn

    async def carry_out(self, kind: str) -> None:
        """One event, from its beginning to its end."""
        said = await getattr(self, "_" + kind.replace(" ", "_"))()
        self.done.append(f"{kind} {said or ''}".strip())

    # ... backends

    async def _v2_fault(self) -> str:
        return await self._fault("v2", self._rng.choice(FAULTS), 0.2 + 1.3 * self._rng.random())

    async def _v1_fault(self) -> str:
        return await self._fault(
            "v1", self._rng.choice(("status", "reset", "refuse")), 0.05 + 0.1 * self._rng.random()
        )

    async def _fault(self, version: str, fault: str, seconds: float) -> str:
        share = self._rng.choice((0.1, 0.5, 1.0))
        began = time.monotonic()
        at = len(self._traffic.faults)
        self._traffic.faults.append((version, began, math.inf))
        await self._backends[version].strike(fault, share, seconds)
        self._traffic.faults[at] = (version, began, time.monotonic() + _AFTER_S)
        return f"{fault} {share:.0%} {seconds:.2f} s"

    # ... people

    async def _set(self) -> str:
        percentage = self._rng.choice((0, 1, 10, 30, 50, 50, 90, 100))
        await self._command("set", percentage == 0, percentage=percentage)
        return f"{percentage}"

    async def _rollback(self) -> None:
        await self._command("rollback", True)

    async def _start(self) -> None:
        await self._command("start", False)
        await self._command("set", False, percentage=50)

    async def _pause(self) -> None:
        await self._command("pause", None)
        await self._command("resume", None)

    async def _command(self, verb: str, bars: bool | None, **body: object) -> None:
        """`bars`: whether v2 is to get nothing after it; None if that stays as it is."""
        if bars is False:
            self._unbar()
        code = await command(self._admin, verb, **body)
        if code not in {200, 409}:
            self._traffic.problems.append(f"{verb} was answered {code}")
        if bars and code == 200:
            self._unbar()
            self._traffic.without_v2.append((time.monotonic(), math.inf))

    def _unbar(self) -> None:
        spans = self._traffic.without_v2
        if spans and spans[-1][1] == math.inf:
            spans[-1] = (spans[-1][0], time.monotonic())

    # ... the process

    async def _reload(self) -> None:
        self._changed = not self._changed
        self._configuration.write(changed=self._changed)
        self._line.reload()
        await asyncio.sleep(GRACE_S)

    async def _bad_file(self) -> None:
        self._configuration.write(faulty=True)
        self._line.reload()
        for _ in range(50):
            if (await status(self._admin))["config"]["error"]:
                break
            await asyncio.sleep(0.1)
        else:
            self._traffic.problems.append("a faulty file was taken without a word")
        self._configuration.write(changed=self._changed)
        self._line.reload()
        await asyncio.sleep(GRACE_S)

    async def _kill(self) -> str:
        if len(self._line.workers()) < 2:
            return "(none to spare)"
        pid, ports = self._line.kill_worker(self._rng)
        now = time.monotonic()
        self.killed_at.append(now)
        self._traffic.doomed.update(dict.fromkeys(ports, now))
        await asyncio.sleep(GRACE_S)
        return f"worker {pid} with {len(ports)} connections"

    async def _restart(self) -> str:
        restarts, began = self._traffic.restarts, time.monotonic()
        at = len(restarts)
        restarts.append((began, math.inf))
        took = await self._line.restart()
        restarts[at] = (began, time.monotonic() + GRACE_S)
        return f"{took:.1f} s"
