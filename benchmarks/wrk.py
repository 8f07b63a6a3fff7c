"""Load by wrk: 64 kept connections, requests of many users in turn, figures as JSON from its own summary."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = 64
USERS = 512

_SCRIPT = """
local requests, index = {}, 0
init = function(args)
  local body = %(body)s
  local method = body and "POST" or "GET"
  for user = 1, %(users)d do
    requests[user] = wrk.format(method, "%(target)s", { ["X-User-Id"] = "user-" .. user }, body)
  end
end
request = function()
  index = index %% %(users)d + 1
  return requests[index]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"requests": %%d, "duration_us": %%d, "p50_us": %%d, "p99_us": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: a GET of `target`, or a POST of `upload_bytes` to it."""

    name: str
    target: str
    upload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One run: requests answered, how long it took, latency quantiles, and failures of any kind."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def script(load: Load, directory: Path) -> Path:
    """Writes the Lua script of a load."""
    file = directory / f"{load.name.replace(' ', '-')}.lua"
    body = f'string.rep("x", {load.upload_bytes})' if load.upload_bytes else "nil"
    file.write_text(_SCRIPT % {"body": body, "users": USERS, "target": load.target})
    return file


def run(port: int, lua: Path, seconds: int, cores: set[int]) -> Reading:
    """One run of wrk against a port of the loopback interface, on `cores`."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(lua), f"http://127.0.0.1:{port}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("JSON "))
    figures: dict[str, int] = json.loads(line[len("JSON ") :])
    return Reading(
        requests=figures["requests"],
        duration_s=figures["duration_us"] / 1e6,
        p50_ms=figures["p50_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        failed=figures["failed"],
    )
