"""How many processes `listen.workers` comes to on this machine.

Owns what "auto" means: one for each core that this process may use, by its affinity and by the quota of its
control group, in which a container's limit stands.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from proxy.config.fields import AUTO, MOST_WORKERS

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def resolved(workers: int | str) -> int:
    """The number of processes that serve requests, at least 1."""
    return usable_cores() if workers == AUTO else int(workers)


def usable_cores(quota_file: Path = _QUOTA) -> int:
    """Cores that this process may use, from 1 to the most workers that can be configured."""
    # Not on every system: Python 3.13 has os.process_cpu_count for this.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(quota_file), MOST_WORKERS))


def _quota(file: Path) -> int:
    """Cores that the control group's quota comes to, rounded up; the most workers where there is none."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        return MOST_WORKERS
