"""Who has logged in to the dashboard: a cookie's value in place of a bearer token.

Owns the sessions, in bounded memory, and what must come with a cookie. A session lends its token's name and
role, and ends with the token. It knows digests alone: neither a token nor a cookie's value is held. It must
never know a page.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CSRF_FIELD: Final = "X-CSRF-Token"
IDLE_S: Final = 8 * 3600.0
"""How long a session lasts without a request."""
LONGEST_S: Final = 24 * 3600.0
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in. `token` is the SHA-256 of theirs; `csrf` goes with whatever changes
    something."""

    token: str
    csrf: str
    began: float
    seen: float


class Sessions:
    """All of them, by the digest of the cookie's value; of too many, the one that was silent longest goes."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<Sessions {len(self._open)}>"

    def open(self, token: str, now: float) -> str:
        """A session for the holder of this token: the value of its cookie. `now` is in monotonic seconds."""
        value = secrets.token_urlsafe(32)
        if len(self._open) >= _MOST:
            del self._open[min(self._open, key=lambda one: self._open[one].seen)]
        csrf = secrets.token_urlsafe(32)
        self._open[_digest(value)] = Session(sha256(token.encode()).hexdigest(), csrf, now, now)
        return value

    def find(self, value: str | None, now: float) -> Session | None:
        """The session with this cookie, if it has not ended."""
        if not value:
            return None
        digest = _digest(value)
        found = self._open.get(digest)
        if found is None:
            return None
        if now - found.seen > IDLE_S or now - found.began > LONGEST_S:
            del self._open[digest]
            return None
        self._open[digest] = found = replace(found, seen=now)
        return found

    def close(self, value: str | None) -> None:
        """Log out."""
        if value:
            self._open.pop(_digest(value), None)


def cookie_name(host: str) -> str:
    """What the cookie is called. Browsers keep cookies by host and not by port, and two proxies may have
    their admins on one machine."""
    _, _, port = host.rpartition(":")
    return f"dualpath-{port if port.isdecimal() else 'admin'}"


def carries_csrf(session: Session, headers: Mapping[str, str]) -> bool:
    """Whether the request comes from a page that could read our answers, and not only send a cookie."""
    return hmac.compare_digest(session.csrf.encode(), headers.get(CSRF_FIELD, "").encode())


def _digest(value: str) -> str:
    return sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
