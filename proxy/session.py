"""One run of the command line: what it reaches for outside, and its connection to the admin API.

Owns the options that every admin verb takes, before the verb or after it, and where their defaults come from.
Whatever takes long to import or much memory, the client and what draws, is imported by the verb that needs
it: `serve` has no use for most of it, and runs for months.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from proxy.errors import DualpathError
from proxy.later import import_aiohttp, later
from proxy.printable import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager

    from rich.console import RenderableType

    from proxy.admin_client import AdminApi, TlsFiles
    from proxy.config.source import ConfigSource
    from proxy.demo.play import DemoOptions
    from proxy.stopping import JsonDocument, Stop

DEFAULT_ADMIN = "http://127.0.0.1:9900"
DEFAULT_CONFIG = "proxy.toml"
OK, FAILED, USAGE, ROLLED_BACK, TIMED_OUT = 0, 1, 2, 3, 4
"""Exit codes."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, and for whom a pipeline tells to end, as a shell has it."""

T = TypeVar("T")


class UsageError(DualpathError):
    """The command line cannot mean anything, although each argument alone is well formed."""


def _serve(file: ConfigSource) -> int:
    # Until it is heeded: whoever moves log files must not end a process that has not opened any.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    import_aiohttp()
    code: int = later("proxy.running:run_serve")(file)
    return code


def _demo(options: DemoOptions) -> int:
    import_aiohttp()
    code: int = later("proxy.demo.running:run_the_demo")(options)
    return code


def _admin(url: str, token: str | None, tls: TlsFiles) -> AbstractAsyncContextManager[AdminApi]:
    client: AbstractAsyncContextManager[AdminApi] = later("proxy.admin_client:open_admin")(url, token, tls)
    return client


@dataclass(frozen=True, slots=True)
class Outside:
    """What the commands reach for beyond their arguments."""

    serve: Callable[[ConfigSource], int] = _serve
    demo: Callable[[DemoOptions], int] = _demo
    admin: Callable[[str, str | None, TlsFiles], AbstractAsyncContextManager[AdminApi]] = _admin
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    wall: Callable[[], float] = time.time
    stop: Callable[[Stop], JsonDocument | None] | None = None
    """The shortest road to an emergency stop, if there is one."""
    poll_s: float = 0.5
    """How often a rollout that is waited for is looked at."""


@dataclass(slots=True)
class Session:
    """One run. Of several `--admin` and the like, the last counts; the token stays out of the repr."""

    outside: Outside
    admin_url: str | None = None
    token: str | None = field(default=None, repr=False)
    cacert: str | None = None
    cert: str | None = None

    @property
    def url(self) -> str:
        """Where the admin API is. Raises `UsageError`."""
        url = self.admin_url or self.outside.environ.get("DUALPATH_ADMIN") or DEFAULT_ADMIN
        return _checked("--admin or DUALPATH_ADMIN", later("proxy.admin_client:parse_admin_url"), url)

    def ask(self, question: Callable[[AdminApi], Awaitable[T]]) -> T:
        """Put a question to the admin API. Raises `AdminApiError`, `UsageError`."""
        environ, url = self.outside.environ, self.url
        token = self.token or environ.get("DUALPATH_TOKEN")
        if token:
            parse: Callable[[str], str] = later("proxy.admin_client:parse_admin_token")
            token = _checked("--token or DUALPATH_TOKEN", parse, token)
        tls = later("proxy.admin_client:TlsFiles")(
            self.cacert or environ.get("DUALPATH_CACERT") or None,
            self.cert or environ.get("DUALPATH_CERT") or None,
        )

        async def ask() -> T:
            async with self.outside.admin(url, token or None, tls) as admin:
                return await question(admin)

        run: Callable[[Coroutine[Any, Any, T]], T] = later("asyncio:run")
        return run(ask())


def show(renderable: RenderableType) -> None:
    """Print for a person: lines stay whole, so that a pipe can search them; styles only on a terminal."""
    later("proxy.console:show")(renderable)


def show_json(document: Any) -> None:
    """Print for a script; what could steer a terminal is escaped, which means the same in JSON."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    sys.stdout.write(escaped(text))


def escaped(text: str) -> str:
    """JSON without what could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def complain(message: str) -> None:
    """One plain line on standard error."""
    sys.stderr.write(f"dualpath: {clean(' '.join(message.split()))}\n")


def _checked(option: str, parse: Callable[[str], str], value: str) -> str:
    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None
