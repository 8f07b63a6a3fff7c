"""What an exchange waits for, which decides what an expired deadline means.

Plain integers, in the order of a request's life: to look up a member of an enumeration costs as much as a
routing decision.
"""

from __future__ import annotations

from typing import Final

QUEUED: Final = 0
CONNECTING: Final = 1
UPLOADING: Final = 2
WAITING: Final = 3
STREAMING: Final = 4
FINISHED: Final = 5
STAGES: Final = ("queued", "connecting", "uploading", "waiting", "streaming", "finished")
