"""Child processes of a measurement: started on chosen cores, charged for their CPU time, ended by pid.

Must never know what the processes are, and never end one that was not started here.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READY_WITHIN_S = 20.0
END_WITHIN_S = 5.0


class Child:
    """One started command with its descendants."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self._process.pid} rc={self._process.returncode}>"

    def tree(self) -> list[psutil.Process]:
        """The process and its descendants that are alive."""
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """User and system time of the whole tree so far, in seconds (clock ticks of 10 ms)."""
        times = [process.cpu_times() for process in self.tree()]
        return float(sum(one.user + one.system for one in times))

    def reset_peak(self) -> int:
        """Starts the peak of resident memory anew (proc(5), clear_refs); the bytes that are resident now."""
        for process in self.tree():
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        return sum(process.memory_info().rss for process in self.tree())

    def peak_rss(self) -> int:
        """The peak of resident memory since then, in bytes, over the whole tree (proc(5), VmHWM)."""
        return sum(_peak_kib(process.pid) << 10 for process in self.tree())

    def wait_ready(self, port: int, path: str) -> None:
        """Returns once `path` is answered 200 on `port`; RuntimeError with its log's end if it never is."""
        give_up_at = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            if _answers(port, path):
                return
            time.sleep(0.05)
        raise RuntimeError(
            f"{self!r} does not answer on port {port}:\n{self.log.read_text(errors='replace')[-2000:]}"
        )

    def end(self) -> None:
        """SIGTERM, and SIGKILL for what is left of the tree after a while."""
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = self.tree()
            self._process.terminate()
            _, alive = psutil.wait_procs(tree, timeout=END_WITHIN_S)
            for process in alive:
                process.kill()
        self._process.wait()


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    directory: Path,
    cores: set[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A command that runs on `cores` until the block is left, however that happens.

    It has a session of its own, so that Ctrl-C reaches only us and every end is this function's.
    """
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.end()


def end_on_sigterm() -> None:
    """Makes SIGTERM leave every block, as Ctrl-C does, so that no child outlives the measurement."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def cores() -> tuple[set[int], set[int]]:
    """Cores for what is measured and for what measures: one each of two, else both share all there are."""
    usable = sorted(os.sched_getaffinity(0))
    return ({usable[0]}, {usable[1]}) if len(usable) > 1 else (set(usable), set(usable))


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
