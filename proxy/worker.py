"""A worker: one data plane in a process of its own, under a supervisor at the other end of a socket.

`python -m proxy.worker FD` is started by `supervisor.Crew` and by nobody else. Owns the life of that process:
it obeys frames, reports what it has counted, and goes on serving if the supervisor is gone, under the last
states that it was told, until it is told to end by a signal or by a supervisor's successor. Only if that
supervisor was never in charge, because it died while it took over, does the worker end with it: others serve.
It must never judge, and imports neither the control plane nor the admin.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from proxy.channel import Channel
from proxy.clock import SystemClock
from proxy.closing_socket import CONNECTED_WITHIN_S, hear_nobody_new
from proxy.config.schema import Config, Log
from proxy.core.delta import Delta, Load, RolloutDelta, written
from proxy.errors import ConfigError, DualpathError, StartError
from proxy.orders import read_overrides, read_state, read_unhealthy
from proxy.rendezvous import sent_home
from proxy.telemetry.log_writer import Writers
from proxy.telemetry.process_log import log_as
from proxy.tls import overlook_impossible_names
from proxy.traffic import LocalTraffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.core.tally import Tally
    from proxy.dataplane.routes import LiveRollout
    from proxy.orders import Frame

log = logging.getLogger("dualpath.worker")

_STATM: Final = Path("/proc/self/statm")
_FAREWELL_S: Final = 5.0
"""How long the last report may take: a supervisor that is stopped does not read it."""
_LAST_LINES_S: Final = 2.0
_LOOK_S: Final = 0.5
"""About how often an orphan looks for a supervisor."""


class Worker:
    """The process, from its first frame to its end."""

    def __init__(self, channel: Channel, order: Frame, writers: Writers | None = None) -> None:
        config = Config.read(order["config"])
        rng = random.Random()  # noqa: S311 - identifiers and endpoints need to be spread, not secret
        self.traffic = LocalTraffic(config, clock=SystemClock(), rng=rng, writers=writers)
        self.ending = asyncio.Event()
        self._channel = channel
        self._place: int = order["place"]
        self._sockets = {index: socket.socket(fileno=fd) for index, fd in enumerate(order["sockets"])}
        self._own = [self._sockets.pop(index) for index in order["own"]]
        self._adopted: dict[int, socket.socket] = {}
        self._rendezvous: str = order["rendezvous"]
        self._is_on_trial: bool = order["on_trial"]
        self._every_s: float = order["every_s"]
        self._source = f"{socket.gethostname()}/{os.getpid()}"
        self._number = 0
        self._revisions: dict[str, int] = {}
        self._lag_s = 0.0
        self._draining: asyncio.Task[None] | None = None
        self._enforce(order)

    def __repr__(self) -> str:
        return f"<Worker {self._place} {self.traffic}>"

    async def run(self) -> None:
        """Serve until told to end, drain, and say what was counted last."""
        await self.traffic.start(self._own[:1])
        for sock in self._own[1:]:
            await self.traffic.listen(sock)
        settle()
        self._channel.send({"kind": "ready"})
        tasks = [asyncio.create_task(self._report_regularly()), asyncio.create_task(self._obey_to_the_end())]
        try:
            await self.ending.wait()
            self._let_go()
            self._draining = asyncio.create_task(self.traffic.drain())
            await asyncio.wait([self._draining])
            self.report()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.traffic.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._channel.close()

    def leave(self) -> None:
        """Somebody has told this process to end: finish, and have a successor started meanwhile. Told twice,
        do not finish."""
        if self._draining is not None:
            self._draining.cancel()
        self._channel.send({"kind": "leaving"})
        self.ending.set()

    # ... orders

    async def _obey_to_the_end(self) -> None:
        try:
            while (frame := await self._channel.receive()) is not None:
                await self._obey(frame)
        except DualpathError:
            log.exception("worker %d does not understand its supervisor", self._place)
        if not self.ending.is_set():
            await self._go_on_alone()

    async def _obey(self, frame: Frame) -> None:
        match frame["kind"]:
            case "states":
                self._enforce(frame)
            case "overrides":
                self._override(frame["overrides"])
            case "health":
                self._set_health(frame["unhealthy"])
            case "adopt":
                await self._adopt(frame["sockets"])
            case "release":
                self._release(frame["sockets"])
            case "replace":
                await self._replace(frame)
            case "confirm":
                self._is_on_trial = False
            case "reopen":
                self.traffic.reopen_logs()
            case "alone":
                self._let_go()
                self._channel.send({"kind": "alone"})
            case "drain":
                self.ending.set()

    def _enforce(self, frame: Frame) -> None:
        """States come into force. What was counted before belongs to those before: it is reported first."""
        states = [read_state(fields) for fields in frame["states"]]
        if self._number:
            self.report()
        for state in states:
            self._revisions[state.name] = state.revision
            for sink in self.traffic.sinks:
                sink.publish(state)
        self._override(frame.get("overrides", {}))
        if "unhealthy" in frame:
            self._set_health(frame["unhealthy"])

    def _override(self, overrides: object) -> None:
        for rollout, keys in read_overrides(overrides).items():
            for sink in self.traffic.override_sinks:
                sink.publish_overrides(rollout, keys)

    def _set_health(self, entries: object) -> None:
        unhealthy = read_unhealthy(entries)
        for status in self.traffic.endpoints.statuses():
            healthy = (status.path, status.url) not in unhealthy
            if healthy is not status.healthy:
                self.traffic.endpoints.set_health(status.path, status.url, healthy=healthy)

    async def _replace(self, frame: Frame) -> None:
        self.report()
        config = Config.read(frame["config"])
        try:
            await self.traffic.replace(config)
        except (ConfigError, StartError) as error:
            self._channel.send({"kind": "refused", "why": str(error)})
            return
        self._every_s = frame["every_s"]
        log_as(config.log, self.traffic.writers)
        self._enforce(frame)
        self._channel.send({"kind": "replaced"})

    # ... sockets of siblings

    async def _adopt(self, indices: Iterable[int]) -> None:
        """Accept on a sibling's sockets, which would be a dead end while the sibling is down."""
        for index in indices:
            if index in self._sockets and index not in self._adopted:
                self._adopted[index] = self._sockets[index].dup()
                await self.traffic.listen(self._adopted[index])

    def _release(self, indices: Iterable[int]) -> None:
        for index in indices:
            if (sock := self._adopted.pop(index, None)) is not None:
                self.traffic.unlisten(sock)

    def _let_go(self) -> None:
        """Hold siblings' sockets no longer: a socket that nobody accepts on must not stay open.

        Those that we have adopted are ours until we end.
        """
        while self._sockets:
            self._sockets.popitem()[1].close()

    # ... reports

    async def _report_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every_s
            await asyncio.sleep(self._every_s)
            self._lag_s = max(0.0, loop.time() - due)
            if self._channel.is_writable:  # else what is counted waits here, and not in a queue
                self.report()

    def report(self) -> None:
        """Send what was counted since the last report."""
        self._number += 1
        endpoints = self.traffic.endpoints
        tallies = self.traffic.evidence.drain()
        delta = Delta(
            self._source,
            self._number,
            tuple(
                self._rollout_delta(live, tally)
                for live, tally in zip(self.traffic.plane.routes.rollouts, tallies, strict=True)
            ),
            tuple(endpoints.statuses()),
            self._load(),
            self.traffic.plane.context.refusals.drain(),
            self.traffic.plane.tunnels(),
            tuple(self.traffic.meters.drain()),
            tuple(self.traffic.meters.sightings()),
            self.traffic.telemetry.drain(),
            self.traffic.drain_cache(),
        )
        self._channel.send({"kind": "report", "report": written(delta)})

    def _rollout_delta(self, live: LiveRollout, tally: Tally) -> RolloutDelta:
        return RolloutDelta(
            live.name,
            self._revisions.get(live.name, 0),
            self.traffic.endpoints.breaker(live.name),
            tally,
            tuple(live.split.users.changes()),
        )

    def _load(self) -> Load:
        context = self.traffic.plane.context
        return Load(len(context.connections), len(context.active), self._lag_s, resident_bytes())

    # ... without a supervisor

    async def _go_on_alone(self) -> None:
        if self._is_on_trial:
            log.warning("worker %d: the supervisor is gone and was never in charge; draining", self._place)
            self.ending.set()
            return
        log.warning("worker %d: the supervisor is gone; serving under the last states", self._place)
        self._let_go()
        kept = await sent_home(Path(self._rendezvous), lambda: _LOOK_S * (0.5 + random.random()))  # noqa: S311
        log.warning("worker %d: another supervisor has taken over; draining", self._place)
        # What goes with us takes along who is being connected to it: they must be let in before.
        hear_nobody_new([*self._own, *self._adopted.values()], kept)
        await asyncio.sleep(CONNECTED_WITHIN_S)
        self.ending.set()


def resident_bytes() -> int:
    """What this process occupies of the machine's memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def settle() -> None:
    """What is here now stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


async def work(fd: int) -> int:
    """Run a worker on the channel that it has inherited. Returns the exit code."""
    channel = await Channel.over(socket.socket(fileno=fd))
    order = await channel.receive()
    if order is None:
        return 1  # the supervisor has ended before we began
    writers = Writers()
    log_as(Log.read(order["config"]["log"]), writers)
    overlook_impossible_names()
    worker = Worker(channel, order, writers)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, worker.leave)
    loop.add_signal_handler(signal.SIGUSR1, writers.reopen)  # it may have no supervisor any more
    for signum in (signal.SIGHUP, signal.SIGUSR2):
        loop.add_signal_handler(signum, log.debug, "signal %d is the supervisor's affair", signum)
    await worker.run()
    await asyncio.to_thread(writers.flush, _LAST_LINES_S)
    return 0


def main() -> None:
    """The process's entry."""
    try:
        sys.exit(uvloop.run(work(int(sys.argv[1]))))
    except DualpathError as error:
        sys.exit(f"dualpath: worker: {error}")


if __name__ == "__main__":
    main()
