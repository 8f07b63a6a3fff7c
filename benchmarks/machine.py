"""What a measurement ran on, for the record beside its figures."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine() -> dict[str, object]:
    """Processor, cores, memory, kernel, Python, and when."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "kernel": _kernel(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _kernel() -> str:
    """The version alone: what follows it may name the machine."""
    found = re.match(r"[0-9.]+", platform.release())
    return found[0] if found else "unknown"
