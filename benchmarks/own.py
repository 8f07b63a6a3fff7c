"""dualpath itself as a measurement starts it, and the backend behind it.

The compiled build is taken where `make compiled` was run, because the container image runs that one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import COMPILED_PYTHON, REPOSITORY, Launch
from benchmarks.processes import READY_WITHIN_S, cores, started

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHO = """
import proxy, proxy.core.routing as hot
print(f"{proxy.__version__}, {'interpreted' if hot.__file__.endswith('.py') else 'compiled'}")
"""


def default_python() -> Path:
    """The compiled build's interpreter, or this one."""
    return COMPILED_PYTHON if COMPILED_PYTHON.exists() else Path(sys.executable)


def environment_of(python: Path) -> dict[str, str]:
    """This interpreter runs the tree it stands in; any other one runs what is installed beside it."""
    return {"PYTHONPATH": str(REPOSITORY) if python == Path(sys.executable) else ""}


def version_of(python: Path) -> str:
    """Version and kind of the build."""
    environment = {**os.environ, **environment_of(python)}
    done = subprocess.run(
        [str(python), "-P", "-c", _WHO], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def serve(python: Path, file: Path) -> Launch:
    """`dualpath serve` with a configuration."""
    command = [str(python), "-P", "-m", "proxy", "serve", "-c", str(file)]
    return Launch(command, version_of(python), environment_of(python))


@contextmanager
def origin(directory: Path, on: set[int], *, ports: int = 1, name: str = "origin") -> Iterator[list[int]]:
    """A backend of `benchmarks.origin`; its ports."""
    command = [sys.executable, "-m", "benchmarks.origin", "--ports", str(ports)]
    with started(name, command, directory, on, {"PYTHONPATH": str(REPOSITORY)}) as child:
        give_up_at = time.monotonic() + READY_WITHIN_S
        while not (told := child.log.read_text()).endswith("\n"):
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{child!r} has not started: {told}")
            time.sleep(0.02)
        yield [int(port) for port in told.split()]


@contextmanager
def pinned() -> Iterator[tuple[set[int], set[int]]]:
    """Keeps this process on the cores of the load until the block is left; the proxy's cores and those.

    It must be left: who stays pinned finds only its own core the next time, and gives it to the proxy too.
    """
    before = os.sched_getaffinity(0)
    proxy_cores, load_cores = cores()
    os.sched_setaffinity(0, load_cores)
    try:
        yield proxy_cores, load_cores
    finally:
        os.sched_setaffinity(0, before)
