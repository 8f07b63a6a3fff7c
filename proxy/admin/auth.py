"""Who may ask what: bearer tokens, roles, and the names under which the admin may be addressed.

Owns the decisions alone; the application asks before it routes. Tokens are known by their SHA-256 only,
compared in constant time with every one that is configured. It must never see a request's body, never hold
or log a token.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.admin.failures import FailureLog, Welcome, literal
from proxy.admin.problems import RefusedError
from proxy.config.fields import split_host_port
from proxy.config.texts import socket_path
from proxy.core.addresses import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.config.schema import Admin, AdminToken

LOCAL = "local"
"""Who acts when no token is configured, which the configuration allows on loopback only."""

_REALM = 'Bearer realm="dualpath"'
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SCHEME_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, as the audit names them, and whether they may change anything."""

    name: str
    operator: bool


class Doorkeeper:
    """Turns an Authorization field into an identity, or into a refusal.

    Failures are limited per peer. Beyond the limit they are answered 429; a peer that tried too many
    *different* tokens is guessing, and is refused until its bucket has filled a little.

    Nobody else's failures may stand between an operator and a rollback. One wrong token repeated is a script
    with an old secret, and no guessing. A token that was good from a peer before stays good there, whoever
    guesses from the same address meanwhile.
    """

    def __init__(self, tokens: Sequence[AdminToken], *, limit: int = 10, window_s: float = 60.0) -> None:
        self._tokens = tuple(tokens)
        self._failures = FailureLog(limit, window_s)
        self._welcome = Welcome()

    def __repr__(self) -> str:
        return f"<Doorkeeper {len(self._tokens)} tokens, {self._failures!r}>"

    def follow(self, tokens: Sequence[AdminToken]) -> None:
        """From now on these tokens; the failures counted so far stay."""
        self._tokens = tuple(tokens)

    def identify(self, authorization: Sequence[str], peer: str, now: float) -> Identity:
        """Who sent these Authorization field values. Raises `RefusedError` 401 or 429.

        RFC 6750 section 2.1; `now` is in monotonic seconds.
        """
        if not self._tokens:
            return Identity(LOCAL, operator=True)
        peer = neighbourhood(peer)
        digest = _digest(authorization)
        token = self._match(digest)
        known = token is not None and self._welcome.knows(peer, token.sha256)
        if not known and self._failures.guessing(peer, now):
            raise self._too_many(peer, now)
        if token is not None:
            self._welcome.remember(peer, token.sha256)
            return Identity(token.name, operator=token.role == "operator")
        if self._failures.note(peer, digest, now):
            raise self._too_many(peer, now)
        challenge = _REALM if digest is None else f'{_REALM}, error="invalid_token"'
        detail = "a bearer token is needed" if digest is None else "this token is not known"
        raise RefusedError(401, detail, headers={"WWW-Authenticate": challenge})

    def bearer(self, authorization: Sequence[str]) -> Identity | None:
        """Who sent these Authorization field values, if they are good by now; nothing is counted."""
        digest = _digest(authorization)
        return self.anybody or (None if digest is None else self.holder(digest))

    @property
    def anybody(self) -> Identity | None:
        """Who everybody is while no token is configured."""
        return None if self._tokens else Identity(LOCAL, operator=True)

    def holder(self, digest: str) -> Identity | None:
        """Whose token has this SHA-256, if there is one by now."""
        token = self._match(digest)
        return None if token is None else Identity(token.name, operator=token.role == "operator")

    def _match(self, digest: str | None) -> AdminToken | None:
        """The token with this digest, in a time that does not depend on which one it is."""
        found = None
        if digest is not None:
            for token in self._tokens:
                if hmac.compare_digest(token.sha256, digest):
                    found = token
        return found

    def _too_many(self, peer: str, now: float) -> RefusedError:
        wait_s = max(1, math.ceil(self._failures.wait_s(peer, now)))
        return RefusedError(
            429, "too many failed attempts from this address", headers={"Retry-After": str(wait_s)}
        )


def authorise(identity: Identity, method: str) -> None:
    """Viewers may look, operators may act. Raises `RefusedError` 403 (RFC 6750 section 3.1)."""
    if method not in _SAFE and not identity.operator:
        challenge = f'{_REALM}, error="insufficient_scope"'
        raise RefusedError(
            403,
            f"{identity.name} is a viewer; this needs an operator",
            headers={"WWW-Authenticate": challenge},
        )


class AddressBook:
    """The names under which the admin may be addressed.

    A page on another site that has its own name resolve to our address (DNS rebinding) is same-origin to the
    browser; only the Host field still tells. Loopback addresses, the bound address and the configured hosts
    are accepted. Bound to every address, any literal address is: rebinding needs a name.
    """

    def __init__(self, admin: Admin) -> None:
        bound = "localhost"  # what clients of a UNIX socket say
        if socket_path(admin.address) is None:
            bound, _ = split_host_port(admin.address.lower())
        address = literal(bound)
        self._any_literal = address is not None and address.is_unspecified
        self._names = frozenset({"localhost", bound, *admin.hosts})

    def __repr__(self) -> str:
        return f"<AddressBook {sorted(self._names)}>"

    def check_host(self, host: str) -> None:
        """Raises `RefusedError` 403 unless the Host field names us."""
        name = _host_name(host)
        if name not in self._names and not self._matches(name) and not self._acceptsliteral(name):
            raise RefusedError(403, "the Host field names none of the admin's addresses")

    def check_origin(self, headers: Mapping[str, str], host: str) -> None:
        """Raises `RefusedError` 403 for a change that a page of another origin asks for.

        Browsers send Origin with every cross-site POST; tools such as curl send neither field.
        """
        origin = headers.get("Origin")
        same = origin is None or _authority(origin) == host.lower() or _with_port(origin) == host.lower()
        if not same or headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
            raise RefusedError(403, "a page of another origin may not act here")

    def _matches(self, name: str) -> bool:
        return any(pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in self._names)

    def _acceptsliteral(self, name: str) -> bool:
        address = literal(name)
        return address is not None and (self._any_literal or address.is_loopback)


def _digest(authorization: Sequence[str]) -> str | None:
    """The SHA-256 of the one bearer token, as hexadecimal digits; None without exactly one."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()


def _host_name(host: str) -> str:
    """The Host field without port, brackets and case; "" for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for one that is none
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""


def _authority(origin: str) -> str:
    return origin.lower().partition("://")[2]


def _with_port(origin: str) -> str:
    """An origin's authority with its scheme's port, which Host may carry and Origin does not."""
    scheme = origin.lower().partition("://")[0]
    return _authority(origin) + _SCHEME_PORTS.get(scheme, "")
