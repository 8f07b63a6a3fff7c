"""What an exchange waits for, which decides what an expired deadline means.

Plain integers, in the order of a request's life: to look up a member of an enumeration costs as much as a
routing decision.
"""

from __future__ import annotations

from typing import Final

QUEUED: Final = 0
PENDING: Final = 1  # for room at its backend
CONNECTING: Final = 2
UPLOADING: Final = 3
WAITING: Final = 4
STREAMING: Final = 5
FINISHED: Final = 6
STAGES: Final = ("queued", "pending", "connecting", "uploading", "waiting", "streaming", "finished")
