"""`python -m proxy serve` as a subprocess, its admin API, and the command line as people call it.

Owns starting, the ready line, stopping and the exit code. It must never import the proxy: all it knows is
what a stranger sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

from tests.e2e.raw_backend import UNSCRIPTED
from tests.e2e.raw_client import LIMIT_S, Address, Response, connected, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
READY = b"dualpath: ready "
INSTALLED = os.environ.get("E2E_PYTHON")
"""An interpreter with dualpath installed (a compiled build) to be tested instead of this tree."""
PYTHON = INSTALLED or sys.executable

READY_WITHIN_S = 60.0
"""How long a process may take to be ready: other tests, and other people, use the same few cores."""

MARK = "E2E_MARK"
"""The variable by which whatever a process of ours has started is found again: a worker has a session of its
own and outlives its supervisor, and a successor is nobody's child once its predecessor has gone."""

STARTED: list[str] = []
"""The marks of every `serve` so far, in order."""

Table = dict[str, Any]

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ProxyProcess:
    """A running proxy."""

    def __init__(
        self, process: asyncio.subprocess.Process, listen: Address, admin: Address, log: Path, mark: str
    ) -> None:
        self.process = process
        self.mark = mark
        self.listen = listen
        self.admin = admin
        self.log = log
        self._told_to_end = False

    def __repr__(self) -> str:
        return f"<ProxyProcess {self.process.pid} {self.listen[1]} rc={self.process.returncode}>"

    @property
    def admin_url(self) -> str:
        """As `--admin` takes it."""
        if self.admin[0].startswith("unix:"):
            return self.admin[0]
        return f"http://{self.admin[0]}:{self.admin[1]}"

    async def status(self, name: str = "default") -> Table:
        """The named rollout's part of `GET /api/v1/status`."""
        status = await self.get("/api/v1/status")
        found: Table = next(one for one in status["rollouts"] if one["name"] == name)
        return found

    async def ask_admin(self, target: str) -> Response:
        """GETs something of the admin API; the caller looks at the status."""
        return await fetch(self.admin, "GET", target, self._admin_host)

    async def get(self, target: str) -> Any:
        """A JSON document of the admin API; anything but 200 is a failure."""
        answer = await self.ask_admin(target)
        assert answer.status == 200, (answer.status, answer.body)
        return json.loads(answer.body)

    async def command(self, verb: str, name: str = "default", **body: object) -> Response:
        """POSTs one verb; the caller looks at the status."""
        fields = (*self._admin_host, (b"Content-Type", b"application/json"))
        target = f"/api/v1/rollouts/{name}/{verb}"
        return await fetch(self.admin, "POST", target, fields, json.dumps(body).encode())

    async def set(self, percentage: float, name: str = "default") -> None:
        """Sets the weight, and fails unless it is taken."""
        answer = await self.command("set", name, percentage=percentage)
        assert answer.status == 200, (answer.status, answer.body)

    async def settled(self, name: str = "default") -> Table:
        """`status` once all that has been answered so far is counted: a keyless GET to v1 shows up in it.

        Twice, because what shows up first may be an earlier request.
        """
        for _ in range(2):
            seen = (await self.status(name))["client"]["requests"]
            assert (await fetch(self.listen, "GET", UNSCRIPTED)).complete

            async def counted(seen: int = seen) -> bool:
                return bool((await self.status(name))["client"]["requests"] > seen)

            await eventually(counted)
        return await self.status(name)

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks it once to end."""
        if self.process.returncode is None and not self._told_to_end:
            self._told_to_end = True
            self.process.send_signal(number)

    async def stop(self) -> None:
        """SIGTERM, unless it has been told already; the proxy ends with 0 and has logged no traceback."""
        self.terminate()
        if self.process.returncode is None:
            await asyncio.wait_for(self.process.wait(), 40)
        log = self.log.read_text()
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{log[-4000:]}"
        assert "Traceback" not in log, log[-4000:]

    async def kill(self) -> None:
        """SIGKILL to the whole tree, as a crash does, and to all that came of it."""
        for process in self.tree():
            process.kill()
        await ended(self.mark)
        await self.process.wait()

    def tree(self) -> list[psutil.Process]:
        """The process and its descendants."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def reset_peak(self) -> int:
        """Starts the peak of resident memory anew; the bytes that are resident now."""
        for process in self.tree():
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        return sum(process.memory_info().rss for process in self.tree())

    def peak_rss(self) -> int:
        """The peak of resident memory since `reset_peak`, in bytes, summed over the tree (proc(5), VmHWM)."""
        return sum(_peak_kib(process.pid) << 10 for process in self.tree())

    @property
    def _admin_host(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"Host", f"{self.admin[0]}:{self.admin[1]}".encode()),)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> list[str]:
        """The lines on standard error that say anything."""
        return [line for line in self.stderr.splitlines() if line.strip()]


async def start_proxy(config: Table, directory: Path, *, files: int = 0, **environment: str) -> ProxyProcess:
    """Starts `serve` on a file written into `directory` and waits for its ready line, not for a while. It may
    open so many `files`, or as many as this process, and has those variables in its environment."""
    file = directory / "proxy.toml"
    file.write_text(toml(config))
    log = directory / "stderr.log"
    mark = _new_mark()
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            "-m",
            "proxy",
            "serve",
            "-c",
            str(file),
            cwd=directory,
            env={**_environment(mark), **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            preexec_fn=partial(_begin, files),
        )
    STARTED.append(mark)
    try:
        listen, admin = await ready_line(process, log)
    except BaseException:
        await ended(mark)
        await process.wait()
        raise
    return ProxyProcess(process, listen, admin, log, mark)


async def ready_line(process: asyncio.subprocess.Process, log: Path) -> tuple[Address, Address]:
    """The addresses, downstream and admin, in the next ready line."""
    assert process.stdout is not None
    try:
        while not (line := await asyncio.wait_for(process.stdout.readline(), READY_WITHIN_S)).startswith(
            READY
        ):
            assert line, f"ended with {await process.wait()} before it was ready:\n{last_words(log)}"
    except TimeoutError:
        raise AssertionError(f"not ready within {READY_WITHIN_S:g} s:\n{last_words(log)}") from None
    told = dict(part.split("=", 1) for part in line[len(READY) :].decode().split())
    return _address(told["listen"]), _address(told["admin"])


def last_words(log: Path) -> str:
    """The end of what a process has said."""
    return log.read_text()[-4000:]


async def refused(proxy: ProxyProcess) -> bool:
    """Whether new connections are refused."""
    try:
        async with connected(proxy.listen):
            return False
    except ConnectionRefusedError:
        return True


async def ended(mark: str) -> None:
    """Kills whoever bears the mark, until there is nobody left."""
    await eventually(lambda: not killed(mark), LIMIT_S)


def killed(mark: str) -> list[psutil.Process]:
    """Who still bore the mark; they are told to end, and may have begun others before."""
    left = family(mark)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return left


def family(mark: str) -> list[psutil.Process]:
    """Who bears the mark, and has not ended."""
    return [process for process, borne in _marked() if borne == mark]


def end_those_of_the_dead() -> None:
    """Kills what test runs have left behind that were killed themselves."""
    for process, mark in _marked():
        if not psutil.pid_exists(int(mark.partition("-")[0])):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mark = process.environ().get(MARK)
            if mark is not None and process.status() != psutil.STATUS_ZOMBIE:
                yield process, mark


def _new_mark() -> str:
    return f"{os.getpid()}-{uuid4().hex}"


@asynccontextmanager
async def running_proxy(config: Table, directory: Path, *, files: int = 0) -> AsyncIterator[ProxyProcess]:
    """A proxy for a while; its end must be clean."""
    proxy = await start_proxy(config, directory, files=files)
    try:
        yield proxy
        await proxy.stop()
    finally:
        await ended(proxy.mark)
        await proxy.process.wait()


async def run(*arguments: str, directory: Path, within_s: float = LIMIT_S, **environment: str) -> Finished:
    """`python -m proxy ARGUMENTS` to its end, with those variables in its environment."""
    mark = _new_mark()
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        "-m",
        "proxy",
        *arguments,
        cwd=directory,
        env={**_environment(mark), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=end_with_us,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), within_s)
    finally:
        await ended(mark)
    assert process.returncode is not None
    return Finished(process.returncode, stdout.decode(), stderr.decode())


def config(v1_urls: str | list[str], v2_urls: str | list[str], /, **changes: Table) -> Table:
    """A configuration on free ports with a memory store and a tick of 0.1 s; no breaker, no guards, and
    time-outs that no busy machine comes near.

    `changes` are merged into it: the tables `listen`, `admin`, `store`, `log`, `v1`, `v2`, and `rollout` for
    the only rollout.
    """
    backends = {
        path: {
            "endpoints": [urls] if isinstance(urls, str) else urls,
            "response_timeout": "1m",
            **changes.get(path, {}),
        }
        for path, urls in (("v1", v1_urls), ("v2", v2_urls))
    }
    rollout = {
        "name": "default",
        "key": ["header:X-User-Id"],
        "timeout": "2m",
        "percentage": 99.999,  # all keys but one in 100,000, so that a request without a key goes to v1
        "breaker": {"enabled": False},
        "judge": {"tick": "100ms"},
        **changes.get("rollout", {}),
    }
    return {
        "listen": {"address": "127.0.0.1:0", **changes.get("listen", {})},
        "admin": {"address": "127.0.0.1:0", **changes.get("admin", {})},
        "store": {"url": "memory://", **changes.get("store", {})},
        "log": {"level": "warning", **changes.get("log", {})},
        "backends": backends,
        "rollouts": [rollout],
    }


def toml(document: Table) -> str:
    """TOML of plain values; every table is written inline."""
    return "".join(f"{key} = {_inline(value)}\n" for key, value in document.items())


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _address(value: str) -> Address:
    """Host and port; a UNIX socket's "unix:/path" stands for the host, with 0."""
    if value.startswith("unix:"):
        return value, 0
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def _environment(mark: str) -> dict[str, str]:
    """Ours, without anything that would configure the proxy behind the test's back."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DUALPATH")}
    return {**kept, "PYTHONPATH": "" if INSTALLED else str(REPOSITORY), MARK: mark}


def _begin(files: int) -> None:
    """In the new process."""
    end_with_us()
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def end_with_us() -> None:
    """In the new process: it is killed when this one ends, in whatever way (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
