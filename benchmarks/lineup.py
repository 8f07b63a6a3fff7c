"""Proxies of one measurement, all standing at once before one backend, each idle until it is asked.

Owns their start, their order in the rounds, and their end. Must never know what is measured.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from benchmarks import peers
from benchmarks.peers import Place
from benchmarks.processes import Child, cores, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.peers import Recipe

SIZES = {"200B": 200, "16KiB": 16 << 10, "1MiB": 1 << 20}
"""What the backend serves, by the name of the file."""
PROBE = "/200B"


@dataclass(frozen=True, slots=True)
class Lineup:
    """The proxies that could be started, by name; `versions` names the others too."""

    backend_port: int
    ports: dict[str, int]
    running: dict[str, Child]
    versions: dict[str, str]

    def turns(self, round_number: int) -> list[str]:
        """The order of one round: another one first each time, so that no place is anybody's advantage."""
        return rotated(list(self.running), round_number)


@contextmanager
def standing(scratch: Path, recipes: Mapping[str, Recipe]) -> Iterator[Lineup]:
    """Starts the backend and every proxy on their cores, and ends them when the block is left."""
    proxy_cores, load_cores = cores()
    directory = scratch / "backend"
    directory.mkdir()
    scratch.chmod(0o755)  # nginx's worker drops to another user and has to read the files
    backend_port = free_port()
    launch = peers.backend(directory, backend_port, SIZES)
    if launch is None:
        raise typer.BadParameter(
            "nginx is not installed, and it is the backend (Debian: apt-get install nginx)"
        )
    with ExitStack() as stack:
        stack.enter_context(started("backend", launch.command, directory, load_cores)).wait_ready(
            backend_port, PROBE
        )
        ports: dict[str, int] = {}
        running: dict[str, Child] = {}
        versions: dict[str, str] = {}
        for name, recipe in recipes.items():
            place = Place(scratch / name, free_port(), backend_port)
            place.directory.mkdir()
            told = recipe(place)
            ports[name], versions[name] = place.port, told.version if told else "not installed"
            if told is not None:
                child = started(name, told.command, place.directory, proxy_cores, told.environment)
                running[name] = stack.enter_context(child)
                running[name].wait_ready(place.port, PROBE)
        yield Lineup(backend_port, ports, running, versions)


def rotated(names: list[str], by: int) -> list[str]:
    """The same names, beginning with another one."""
    shift = by % len(names) if names else 0
    return names[shift:] + names[:shift]


def chosen(text: str, known: list[str], option: str) -> list[str]:
    """The names in `text`, parted by commas; typer.BadParameter if one is not known."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise typer.BadParameter(f"{option} takes some of: {', '.join(known)}")
    return wanted
