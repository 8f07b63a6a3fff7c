"""Errors with their source, and what may be done about them.

Every failure on the data path is an `ExchangeError` that says whose fault it is, whether the request may have
taken effect upstream, and which status it maps to. Library exceptions are mapped to these once, where the
library is called. Control-plane errors are `ControlError`s, each with the HTTP status that the admin API
answers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.model import ErrorClass


class Source(StrEnum):
    """Who caused a failure. Attribution comes before counting: only upstream failures count against a
    path."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class DualpathError(Exception):
    """Base of all errors that this project raises on purpose."""


class ConfigError(DualpathError):
    """The configuration cannot be used. `problems` are (dotted path, message), all that were found."""

    def __init__(self, problems: list[tuple[str, str]], source: str = "") -> None:
        self.problems = problems
        self.source = source
        super().__init__("\n".join(f"{path}: {message}" if path else message for path, message in problems))


class StartError(DualpathError):
    """Something that serving needs is not to be had: an address is taken, a store cannot be opened."""


class ExchangeError(DualpathError):
    """A request that cannot be carried out. `status` is what the client gets if nothing else answers."""

    source = Source.INTERNAL

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status} {detail}")


class BadRequest(ExchangeError):
    """The client's message breaks a rule of HTTP or a limit; nothing of it reaches an upstream."""

    source = Source.DOWNSTREAM


class UpstreamError(ExchangeError):
    """An attempt failed. `sent` says whether any byte of the request may have reached the upstream."""

    source = Source.UPSTREAM

    def __init__(self, kind: ErrorClass, detail: str, *, sent: bool, status: int = 502) -> None:
        self.kind = kind
        self.sent = sent
        super().__init__(status, detail)


class ControlError(DualpathError):
    """A command that cannot be carried out; nothing has changed."""

    status = 500
    title = "internal error"


class UnknownRollout(ControlError):
    """There is no rollout of that name."""

    status = 404
    title = "unknown rollout"


class UnknownOverride(ControlError):
    """The rollout has no override of that key."""

    status = 404
    title = "unknown override"


class UnknownSilence(ControlError):
    """There is no silence of that name, or it is the configuration's."""

    status = 404
    title = "unknown silence"


class UnknownSink(ControlError):
    """No alerts go to a sink of that name."""

    status = 404
    title = "unknown sink"


class IllegalMove(ControlError):
    """The state machine has no such move from here."""

    status = 409
    title = "illegal move"


class InvalidCommand(ControlError):
    """The command's own values are impossible (a percentage over 100, a rollback that raises)."""

    status = 422
    title = "invalid command"


class RevisionConflict(ControlError):
    """The state has moved on since the caller read it."""

    status = 409
    title = "stale revision"


class StaleFence(ControlError):
    """Only the judge of the fleet may write this, and by now that is another instance, or none."""

    status = 409
    title = "no longer the judge"


class StoreUnavailable(ControlError):
    """The store cannot be reached or written; nothing that raises a weight is possible."""

    status = 503
    title = "store unavailable"


class StoreCorrupt(ControlError):
    """The store's content cannot be read as ours; it is left as it is."""

    status = 500
    title = "store content is not usable"


class ForeignFile(StoreCorrupt):
    """The file belongs to another program: nobody of us may touch it."""


class WireError(DualpathError):
    """What came from another of our processes is not what both have agreed on; nothing of it was taken in."""


class UnknownVersion(WireError):
    """What another process has sent is written in a `version` that this one does not read."""

    def __init__(self, what: str, version: int, reads: tuple[int, ...]) -> None:
        self.version = version
        known = " and ".join(map(str, reads))
        super().__init__(f"{what}: is of version {str(version)[:20]}, and this dualpath reads {known}")
