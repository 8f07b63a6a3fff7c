"""How many files the process may open, and how many clients that is enough for.

Each client's request may need a connection to a backend beside its own, and the process has files of its own
besides. If clients could use up all of them, those that are there already could not be served.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

_OUR_OWN: Final = 64
"""Listeners, the loop, the store, the admin's connections, logs."""
_FOR_BACKENDS: Final = 4096
"""The most that is kept for connections to backends: of so many clients, most are idle."""
_LEAST: Final = 8


def room_for(max_connections: int) -> int:
    """The most client connections at once: what is configured, or as many as there are files for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return max_connections
    left = limit - _OUR_OWN
    return min(max_connections, max(_LEAST, left // 2, left - _FOR_BACKENDS))


def raise_limit() -> None:
    """As many files as the system allows this process: the lower limit that it starts with is there for
    programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
