"""Load by oha at a fixed rate: an open loop whose latencies count from when a request was due.

oha is one program, built by `cargo install oha --locked`. wrk waits for an answer before it asks again, so
that a proxy that stands still is asked less, and no request is ever late in its figures.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

INSTALL = "oha is not installed (cargo install oha --locked, or the package of your system)"


@dataclass(frozen=True, slots=True)
class Reading:
    """One run: latency quantiles since due, the rate that was answered, failures of any kind."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    requests_per_s: float
    failed: int


def program() -> str | None:
    """Where oha is: on the path, or where cargo puts it."""
    return shutil.which("oha") or shutil.which("oha", path=str(Path.home() / ".cargo" / "bin"))


def version(oha: str) -> str:
    """As it says itself."""
    said = subprocess.run([oha, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    return said.split()[-1]


def run(oha: str, url: str, rate: int, seconds: int, connections: int, user: str, cores: set[int]) -> Reading:
    """`rate` requests a second for that long, all of one user, on `cores`."""
    options = ["--no-tui", "--output-format", "json", "--latency-correction"]
    options += ["--wait-ongoing-requests-after-deadline", "-t", "10s", "-H", f"X-User-Id: {user}"]
    options += ["-q", str(rate), "-z", f"{seconds}s", "-c", str(connections)]
    done = subprocess.run(
        [oha, *options, url],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return read(done.stdout)


def read(text: str) -> Reading:
    """What oha's JSON says. RuntimeError if no request at all was answered."""
    told = json.loads(text)
    latencies = told["latencyPercentiles"]
    if latencies["p50"] is None:
        raise RuntimeError(f"nothing was answered: {told['errorDistribution']}")
    statuses: dict[str, int] = told["statusCodeDistribution"]
    errors: dict[str, int] = told["errorDistribution"]
    return Reading(
        p50_ms=latencies["p50"] * 1e3,
        p99_ms=latencies["p99"] * 1e3,
        p999_ms=latencies["p99.9"] * 1e3,
        requests_per_s=told["summary"]["requestsPerSec"],
        failed=sum(errors.values()) + sum(count for code, count in statuses.items() if code >= "400"),
    )
