"""`serve`: one process from its start to its end, and what signals do to it.

Owns the meaning of the signals and what runs beside the requests. What a reload or a restart goes through is
told in `reload` and `takeover`.

    SIGTERM, SIGINT   drain, then end; a second one ends at once
    SIGHUP            read the configuration again
    SIGUSR1           open the files of the log anew: somebody has moved them
    SIGUSR2           start a successor and hand over to it, then drain and end
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from proxy.app import Proxy
from proxy.clock import SystemClock
from proxy.config.tls_files import stamps
from proxy.config.workers import resolved
from proxy.dataplane.descriptors import raise_limit, room_for
from proxy.listening import inherited, written_address
from proxy.reload import Reloader
from proxy.systemd import notify
from proxy.takeover import successor
from proxy.telemetry.log_writer import Writers
from proxy.telemetry.process_log import can_write, log_as
from proxy.tls import overlook_impossible_names

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from proxy.config.schema import Config
    from proxy.config.source import ConfigSource, Mark
    from proxy.listening import Inherited
    from proxy.reload import Note

log = logging.getLogger("dualpath")

_RESTART = "SIGUSR2"
_LAST_LINES_S = 2.0


async def serve(file: ConfigSource) -> int:
    """Serves by what `file` says until it is told to end or has a successor, drains, and returns the exit
    code. Raises `DualpathError` if it cannot start, or if it is in vain to go on."""
    came = inherited(os.environ, pid=os.getpid(), parent=os.getppid())
    seen = file.mark()
    raise_limit()
    overlook_impossible_names()
    return await _Serving(file, file.read(), seen).until_its_end(came)


class _Serving:
    """One process. What is wished for while it serves is carried out one after the other."""

    def __init__(self, file: ConfigSource, config: Config, seen: Mark | None) -> None:
        can_write(config.log)
        self._writers = Writers()
        log_as(config.log, self._writers)
        _tell_of_files(config)
        named = stamps(config)
        self._proxy = Proxy(config, writers=self._writers)
        self._reloader = Reloader(
            file, config, self._apply, wall=SystemClock.wall, seen=seen, named=named, note=self._note
        )
        self._proxy.loaded = lambda: self._reloader.loaded
        self._ended = asyncio.Event()
        self._wishes: asyncio.Queue[str] = asyncio.Queue()

    async def until_its_end(self, came: Inherited) -> int:
        self._heed_signals()
        await _first_of(self._proxy.start(came), self._ended.wait())
        try:
            try:
                if not self._ended.is_set():
                    self._tell_that_it_is_ready()
                    await self._until_it_is_enough()
            finally:  # if it is in vain to go on, too: what runs where all is well is not cut
                log.info("draining: nothing new is accepted here, running requests finish")
                self._ended.clear()
                await _first_of(self._proxy.drain(), self._ended.wait())
        finally:
            await self._proxy.stop()
            await asyncio.to_thread(self._writers.flush, _LAST_LINES_S)
        return 0

    async def _until_it_is_enough(self) -> None:
        await _first_of(
            self._ended.wait(),
            self._carry_out_wishes(),
            self._reloader.watch(self._wishes.put_nowait),
            self._proxy.traffic.failed(),
        )

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._wishes.put_nowait, "SIGHUP")
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)
        loop.add_signal_handler(signal.SIGUSR2, self._wishes.put_nowait, _RESTART)

    def _tell_that_it_is_ready(self) -> None:
        # What is here now stays: the collector need not look at it again and again while requests come and
        # go.
        gc.collect()
        gc.freeze()
        proxy = self._proxy
        listen, admin = map(written_address, (proxy.listen_address, proxy.admin_address))
        _print(f"dualpath: ready listen={listen} admin={admin}\n")
        notify("READY=1", os.environ)
        proxy.dismiss_predecessor()

    async def _carry_out_wishes(self) -> None:
        """Returns when a successor has taken over."""
        while True:
            wish = await self._wishes.get()
            try:
                if wish != _RESTART:
                    await self._reloader.reload(wish)
                elif pid := await successor(self._proxy, self._proxy.listeners, os.environ):
                    notify(f"MAINPID={pid}\nREADY=1", os.environ)
                    return
            except Exception:
                log.exception("%s: not carried out", wish)

    async def _note(self, note: Note) -> None:
        await self._proxy.controller.note(note.cause, note.reason)

    async def _apply(self, config: Config) -> None:
        can_write(config.log)
        await self._proxy.steering.replace(config)
        log_as(config.log, self._writers)

    def _reopen(self) -> None:
        self._writers.reopen()
        self._proxy.traffic.reopen_logs()
        log.info("SIGUSR1: the files of the log are opened anew")


def _print(line: str) -> None:
    """To whoever reads it; nobody may. Past the buffer, which at the end would fail once more."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stdout.fileno(), line.encode())


def _tell_of_files(config: Config) -> None:
    """Where the system gives too few for what is configured."""
    each = math.ceil(config.listen.max_connections / resolved(config.listen.workers))
    if (room := room_for(each)) < each:
        wanted = "max_connections" in config.listen.model_fields_set
        level = logging.WARNING if wanted else logging.INFO
        log.log(
            level,
            "listen.max_connections: %d a process, but its limit of open files is enough for %d",
            each,
            room,
        )


async def _first_of(*waits: Coroutine[object, object, object]) -> None:
    """Until one of them is over, with its exception if it has one; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
