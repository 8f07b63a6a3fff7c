"""One version of the sample service as a process: ``python -m proxy.demo.backend --version v2 --port 0``.

Owns the listener, the simulated cost of a query, and the control path for faults (``PUT /_demo/fault`` with
the fault's name as body; ``GET`` tells it and how many requests met it). What is answered is up to `api`.

v1 and v2 give the same answers; v2 gives them sooner. `X-Sample-Version` tells them apart without touching
the body. A fault leaves ``/health`` alone: an application that fails in a process that is up is what health
checks miss.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.demo.api import Request, RestaurantApi, problem
from proxy.demo.faults import Fault, FaultSwitch
from proxy.demo.seed import seeded_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.demo.api import Answer
    from proxy.ports import Random

CONTROL_PATH = "/_demo/fault"
QUERY_S = {"v1": 0.015, "v2": 0.005}
"""Mean simulated cost of one query, by version; each query takes 0.7 to 1.3 times as long."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or, with ``--lifeline``, the end of standard input; 1 if it cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy.demo.backend", description="sample restaurants service"
    )
    parser.add_argument("--version", choices=sorted(QUERY_S), required=True)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; it is printed")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options.version, (options.host, options.port), lifeline=options.lifeline))
    except OSError as error:
        unresolved = isinstance(error, socket.gaierror)
        reason = error.strerror if unresolved else os.strerror(error.errno or 0)
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {reason}\n")
        return 1
    return 0


class Backend:
    """One version of the service behind aiohttp."""

    def __init__(self, version: str, rng: Random) -> None:
        self._version = version
        self._rng = rng
        self._api = RestaurantApi(seeded_store())
        self._switch = FaultSwitch()

    def __repr__(self) -> str:
        return f"<Backend {self._version} {self._switch!r} {self._api!r}>"

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application()
        application.router.add_get(CONTROL_PATH, self._tell_fault)
        application.router.add_put(CONTROL_PATH, self._turn_fault)
        application.router.add_route("*", "/health", self._unharmed)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, incoming: web.Request) -> web.Response:
        request = await _read(incoming)
        effect = self._switch.strike(self._rng)
        if effect.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(effect.delay_s + QUERY_S[self._version] * (0.7 + 0.6 * self._rng.random()))
        if effect.status is not None:
            return self._respond(problem(HTTPStatus(effect.status), "the sample service fails on purpose"))
        return self._respond(self._api.answer(request))

    async def _unharmed(self, incoming: web.Request) -> web.Response:
        return self._respond(self._api.answer(await _read(incoming)))

    def _respond(self, answer: Answer) -> web.Response:
        headers = {"X-Sample-Version": self._version}
        if answer.location is not None:
            headers["Location"] = answer.location
        if answer.allow:
            headers["Allow"] = ", ".join(answer.allow)
        if answer.body:
            headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    # ... The control path ...

    async def _tell_fault(self, _: web.Request) -> web.Response:
        return web.json_response({"fault": self._switch.fault, "requests": self._switch.requests})

    async def _turn_fault(self, incoming: web.Request) -> web.Response:
        name = (await incoming.text()).strip()
        if name not in list(Fault):
            return self._respond(
                problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"must be one of {', '.join(Fault)}")
            )
        self._switch.turn(Fault(name))
        return await self._tell_fault(incoming)


async def _read(incoming: web.Request) -> Request:
    return Request(
        method=incoming.method,
        path=incoming.path,
        query=tuple(incoming.query.items()),
        body=await incoming.read(),
        idempotency_key=incoming.headers.get("Idempotency-Key"),
    )


# ... The process ...


async def _serve(version: str, address: tuple[str, int], *, lifeline: bool) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if lifeline:
        await loop.connect_read_pipe(lambda: _Lifeline(stopped), sys.stdin)
    # A hanging handler ends with its connection, so that a proxy which gives up leaves nothing behind here.
    runner = web.AppRunner(
        Backend(version, random.Random(version)).application(),  # noqa: S311
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, *address)
        await site.start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await runner.cleanup()


class _Lifeline(asyncio.Protocol):
    """Standard input held by the parent: it ends when the parent does, however the parent ended."""

    def __init__(self, stopped: asyncio.Event) -> None:
        self._stopped = stopped

    def __repr__(self) -> str:
        return f"<_Lifeline stopped={self._stopped.is_set()}>"

    def connection_lost(self, exc: Exception | None) -> None:
        self._stopped.set()


if __name__ == "__main__":
    raise SystemExit(main())
