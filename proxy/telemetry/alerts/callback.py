"""Alerts as calls of a Python function that the configuration names.

Owns how it is found, and that it can hold nothing up and end nothing: it runs in a thread of its own, one
call at a time, and what it raises is its own affair. Must never know a queue.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import ConfigError, DualpathError
from proxy.telemetry.alerts.sinks import Chosen
from proxy.telemetry.daemons import in_daemon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from threading import Thread

    from proxy.config.alerts import Sink
    from proxy.telemetry.alerts.message import Message

_LONGEST: Final = 500


class CallbackError(DualpathError):
    """The function has not done it; the message says why."""


class CallbackSink(Chosen):
    """A function, called with a message's fields. What it gives to await runs in an event loop of its own: in
    ours, one that blocks would hold up requests and rollbacks."""

    def __init__(self, table: Sink, function: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(table)
        self._function = function
        self._timeout_s = table.timeout_s
        self._running: Thread | None = None

    async def send(self, message: Message) -> None:
        """As `Sink.send`. It is called once: whether that has done anything, only it knows."""
        within_s = min(self._timeout_s, message.within_s)
        try:
            async with asyncio.timeout(within_s):
                await self._in_thread(message.fields())
        except TimeoutError:
            raise CallbackError(f"has not returned within {within_s:g} s") from None

    def continue_after(self, before: CallbackSink) -> None:
        """Take the place of `before`: a call that hangs there is not joined by one more at every reload."""
        self._running = before._running

    async def _in_thread(self, fields: dict[str, Any]) -> None:
        """A daemon, which the end of the process does not wait for."""
        if self._running is not None and self._running.is_alive():
            raise CallbackError("has not returned from the call before")
        self._running, called = in_daemon(lambda: _called(self._function, fields), "alert callback")
        if trouble := await called:
            raise CallbackError(trouble)


def _called(function: Callable[[dict[str, Any]], Any], fields: dict[str, Any]) -> str:
    """Call it, in this thread. What went wrong, in words."""
    try:
        answer = function(fields)
        if inspect.isawaitable(answer):
            asyncio.run(_finished(answer))
    except BaseException as error:  # SystemExit too: nobody's way to end a proxy
        return f"raised {_named(error)}"
    return ""


async def _finished(answer: Awaitable[Any]) -> None:
    await answer


def _named(error: BaseException) -> str:
    """An exception that is not ours, in words that are bounded: even those may fail."""
    try:
        return repr(error)[:_LONGEST]
    except BaseException:
        return type(error).__name__


def function_at(path: str, at: str) -> Callable[[dict[str, Any]], Any]:
    """The function that "package.module:name" names; its module is imported. Raises `ConfigError`."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # importing runs code that is not ours
        raise ConfigError([(at, f"{path} cannot be imported: {_named(error)}")]) from None
    if not callable(found):
        raise ConfigError([(at, f"{path} is no function")])
    return found  # type: ignore[no-any-return]
