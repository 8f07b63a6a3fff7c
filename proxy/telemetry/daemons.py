"""Work in a thread that the end of the process does not wait for.

Owns how its outcome comes back to the loop, if that still runs. Must never know what the work is.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def in_daemon(work: Callable[[], _T], name: str) -> tuple[Thread, asyncio.Future[_T]]:
    """Begin `work` in a thread of that name: the thread, and what `work` returns or raises. Whoever waits may
    stop waiting; the work goes on."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(worked: Future[_T]) -> None:
        if outcome.done():
            return
        if (error := worked.exception()) is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(worked.result())

    def run() -> None:
        worked: Future[_T] = Future()
        try:
            worked.set_result(work())
        except Exception as error:
            worked.set_exception(error)
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(settle, worked)

    thread = Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread, outcome
