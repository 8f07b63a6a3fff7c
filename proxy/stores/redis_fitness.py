"""Whether a server is one that can be relied on for this: asked once, when the store is opened.

Owns the oldest version, and the warning of a server that throws keys away. Without the right to ask
nothing is said: rights that are narrow are no fault.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.stores.redis_scripts import ABOUT

if TYPE_CHECKING:
    from proxy.stores.redis_link import RedisLink

log = logging.getLogger("dualpath.fleet")

_OLDEST: Final = (6, 2)  # XADD with MINID
_VERSION: Final = re.compile(r"^redis_version:(\d+)\.(\d+)", re.MULTILINE)
_LIMIT: Final = re.compile(r"^maxmemory:(\d+)", re.MULTILINE)
_POLICY: Final = re.compile(r"^maxmemory_policy:(\S+)", re.MULTILINE)


async def require_fit(link: RedisLink, key: str) -> None:
    """Raise `StoreUnavailable` if the server that has `key` is too old; warn if it may evict what we keep."""
    try:
        told = await link.run(ABOUT, (key,))
    except (StoreUnavailable, StoreCorrupt):
        return
    if problem := unfit(told.decode(errors="replace")):
        raise StoreUnavailable(f"{link.place}: {problem}")
    if warning := careless(told.decode(errors="replace")):
        log.warning("%s: %s", link.place, warning)


def unfit(told: str) -> str:
    """Why a server that tells this of itself cannot be used; empty if it can."""
    version = _VERSION.search(told)
    if version is None or (found := (int(version[1]), int(version[2]))) >= _OLDEST:
        return ""
    return "is version {}.{}; {}.{} or later is needed".format(*found, *_OLDEST)


def careless(told: str) -> str:
    """What would throw away what is kept; empty if nothing would."""
    limit, policy = _LIMIT.search(told), _POLICY.search(told)
    if limit is None or policy is None or limit[1] == "0" or policy[1] == "noeviction":
        return ""
    return f"may evict what is kept here: maxmemory-policy is {policy[1]}, and should be noeviction"
