"""An open-loop load on any URL, with latencies per path: for those who have neither wrk nor h2load.

`python -m benchmarks.load http://127.0.0.1:8080/ --rate 200 --duration 30s`; docs/load-testing.md shows more.
Owns the options, the live line and the exit code. Must never send anything itself.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.live import Live
from yarl import URL

from benchmarks import load_tables, plots
from benchmarks.load_client import OpenLoop, Target, chooser, sender
from benchmarks.load_plan import Mix, Schedule, is_loopback, parse_header, parse_mix
from proxy.config.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIVE_EVERY_S = 0.25
PLAIN_EVERY_S = 5.0


def _reads(parse: Callable[[str], object]) -> Callable[[object], object]:
    """An option's text as `parse` has it; what it says is wrong becomes a usage error."""

    def read(value: object) -> object:
        try:
            return parse(value) if isinstance(value, str) else value
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return read


_DURATION: Any = {"parser": _reads(parse_duration), "metavar": "DURATION"}
_MIX: Any = {"parser": _reads(parse_mix), "metavar": "METHOD:WEIGHT,…"}
_SIZE: Any = {"parser": _reads(parse_size), "metavar": "SIZE"}
_GET = Mix(("GET",), (1,))


def main(
    url: Annotated[str, typer.Argument(help="On this machine, unless --yes-really.")],
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="Requests a second.")] = 100,
    duration: Annotated[
        float, typer.Option(help="Such as 30s or 5m.", **_DURATION, show_default="30s")
    ] = 30.0,
    ramp: Annotated[
        float, typer.Option(help="The rate rises over this first part.", **_DURATION, show_default="0s")
    ] = 0.0,
    users: Annotated[int, typer.Option(min=1, max=10_000_000, help="Each request is one's of these.")] = 1000,
    user_header: Annotated[str, typer.Option(help="The field that names the user.")] = "X-User-Id",
    mix: Annotated[Mix, typer.Option(help="Such as GET:80,POST:20.", **_MIX, show_default="GET")] = _GET,
    body_size: Annotated[
        int, typer.Option(help="Of POST, PUT and PATCH: 512B, 1KiB.", **_SIZE, show_default="1KiB")
    ] = 1024,
    connections: Annotated[int, typer.Option(min=1, max=50_000, help="At most at once.")] = 256,
    timeout: Annotated[
        float, typer.Option(help="For a whole request.", **_DURATION, show_default="10s")
    ] = 10.0,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help='"Name: value"; may be repeated.')
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Check no certificate.")] = False,
    seed: Annotated[int, typer.Option(help="Of the chance that picks users and methods.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the run there (needs matplotlib).")] = None,
    fail_above: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 1 above this share of failures: 0.01.")
    ] = None,
    yes_really: Annotated[bool, typer.Option("--yes-really", help="This host is mine to load.")] = False,
) -> None:
    """Sends each request when it is due, whatever became of those before, and says how long they took."""
    console = Console()
    _check(console, url, yes_really, png)
    try:
        schedule = Schedule(rate, duration, ramp)
        headers = dict(map(parse_header, header or []))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    target = Target(url, headers, user_header, users, bytes(body_size), connections, timeout, insecure)
    load = uvloop.run(_run(console, schedule, mix, target, random.Random(seed)))
    for part in load_tables.summary(load, schedule):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    document = load_tables.document(load, schedule, target, mix)
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    if png is not None:
        plots.load_course(document, png)
    raise typer.Exit(fail_above is not None and load.figures.error_rate > fail_above)


def _check(console: Console, url: str, yes_really: bool, png: Path | None) -> None:
    """Stops before the first request if the URL is not to be loaded, or no plot could be drawn after it."""
    try:
        parsed = URL(url)
        usable = parsed.scheme in ("http", "https") and parsed.host is not None
    except ValueError:
        usable = False
    if not usable:
        raise typer.BadParameter(f"{url!r} is no http:// or https:// URL")
    if not yes_really and not is_loopback(parsed.host):
        raise typer.BadParameter(f"{parsed.host} is not this machine; --yes-really if it is yours to load")
    if png is not None:
        try:
            plots.available()
        except plots.PlotError as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(1) from error


async def _run(
    console: Console, schedule: Schedule, mix: Mix, target: Target, rng: random.Random
) -> OpenLoop:
    """The load from its first request to the last answer, or to Ctrl-C."""
    async with sender(target) as send:
        load = OpenLoop(schedule, chooser(mix, target.users, rng), send, time.monotonic)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, load.stop)
        telling = asyncio.create_task(_tell(console, load, schedule))
        await load.run()
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return load


async def _tell(console: Console, load: OpenLoop, schedule: Schedule) -> None:
    """How it goes: one line that is rewritten on a terminal, and one now and then elsewhere."""
    every_s = LIVE_EVERY_S if console.is_terminal else PLAIN_EVERY_S
    with _line(console) as show:
        while True:
            await asyncio.sleep(every_s)
            show(load_tables.progress(load, schedule))


@contextmanager
def _line(console: Console) -> Iterator[Callable[[str], None]]:
    if not console.is_terminal:
        yield lambda text: console.print(text, highlight=False, soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(text, refresh=True)


if __name__ == "__main__":
    typer.run(main)
