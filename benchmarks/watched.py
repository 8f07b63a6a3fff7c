"""`dualpath serve` that tells its tasks and open files when it gets SIGRTMIN, as one line of JSON.

`python -m benchmarks.watched FILE` is started by a measurement that looks for leaks. The proxy is the one
that everybody runs: this stands beside it on its loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import uvloop

from proxy.config.source import ConfigSource
from proxy.serving import serve


async def watched(file: str) -> int:
    """Serves until it is told to end."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGRTMIN, _tell, Path(f"{file}.told"))
    return await serve(ConfigSource(file, {}))


def _tell(where: Path) -> None:
    told = {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # its own look
        "resident_mib": psutil.Process().memory_info().rss / (1 << 20),
    }
    part = where.with_suffix(".part")
    part.write_text(json.dumps(told))
    part.rename(where)


if __name__ == "__main__":
    sys.exit(uvloop.run(watched(sys.argv[1])))
