"""What can be configured of logs: the process's own lines, and a line for each request.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together. Owns the names of what
is never written out, whatever a file says, and what is wrong with the files that lines go to. It opens none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator

from proxy.config.fields import Token
from proxy.config.table import FaultyAttributeError, Table
from proxy.config.units import Duration, Flag, Percentage, PositiveDuration, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.faults import Problem
    from proxy.config.schema import Config

STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Files that are the process's own streams, whatever these are connected to."""

ALWAYS_REDACTED: Final = frozenset(
    {
        # header fields
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"),
        *("x-csrf-token", "x-amz-security-token", "x-forwarded-client-cert"),
        # query parameters
        *("access_token", "api_key", "api-key", "apikey", "authtoken", "auth_token", "client_secret"),
        *("code", "credential", "id_token", "jwt", "key", "passwd", "password", "pwd", "refresh_token"),
        *("secret", "session", "sessionid", "session_id", "jsessionid", "phpsessid", "sid"),
        *("sig", "signature", "token", "assertion", "samlresponse", "code_verifier"),
        *("x-amz-credential", "x-amz-signature", "x-goog-credential", "x-goog-signature"),
    }
)
"""Header fields and query parameters whose values stand in no log."""

COMBINED_FIELDS: Final = ("referer", "user-agent")
"""Header fields that the format "combined" has a place for."""


def parse_log_file(value: str) -> str:
    """The name of a file that lines are appended to; a relative one counts from the working directory."""
    if not value.strip() or not value.isprintable() or value.endswith("/"):
        raise ValueError(f"must be the name of a file, not {shown(value)}")
    return value


LogFile = Annotated[str, AfterValidator(parse_log_file)]
Kept = Literal["error", "fallback", "slow"]


class Access(Table):
    """`[log.access]`: a line for each request, or for some of them."""

    enabled: Flag = False
    """Whether requests are logged at all."""
    file: LogFile | None = None
    """Where the lines go; beside the others, as `log.file` says, unless given."""
    format: Literal["json", "text", "combined"] = "json"
    """JSON, a line for people, or what web servers write and others read ("combined")."""
    sample: Percentage = 100.0
    """How many of the requests are logged, in percent; 0 leaves those of `keep`."""
    keep: tuple[Kept, ...] = ("error", "fallback", "slow")
    """What is logged whatever `sample` says: 5xx and broken answers, fallbacks, requests that are slow."""
    slow_above_s: PositiveDuration = 1.0
    """From when on a request is slow."""
    headers: tuple[Token, ...] = ()
    """Header fields of the request that stand in its line."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The header fields that a line has a place for, in lower case, each once."""
        of_format = COMBINED_FIELDS if self.format == "combined" else ()
        return tuple(dict.fromkeys((*of_format, *(name.lower() for name in self.headers))))


class Log(Table):
    """`[log]`: what the process says of itself."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages that are written."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or a JSON document on each line."""
    file: LogFile | None = None
    """Where the lines go; standard error unless given. SIGUSR1 has it opened anew."""
    summary_every_s: Duration = 30.0
    """Time between two lines that sum up how all rollouts stand, of level info; "0s" writes none."""
    redact: tuple[Token, ...] = ()
    """Header fields and query parameters whose values are written as ***, beside those that always are."""
    access: Access = Access()
    """A line for each request."""


def is_on_stdout(log: Log) -> bool:
    """Whether any lines go to standard output."""
    return "/dev/stdout" in (log.file, log.access.file if log.access.enabled else None)


def redacted_names(config: Config) -> frozenset[str]:
    """The header fields and query parameters whose values stand in no log, in lower case."""
    overriding = (rollout.override.header for rollout in config.rollouts if rollout.override is not None)
    return ALWAYS_REDACTED.union(name.lower() for name in (*config.log.redact, *overriding))


def problems_of_log_files(config: Config) -> Iterator[Problem]:
    """Every file that lines cannot be appended to. `config` may be in parts."""
    with suppress(FaultyAttributeError):
        yield from _problems_of_file("log.file", config.log.file)
    with suppress(FaultyAttributeError):
        if config.log.access.enabled:
            yield from _problems_of_file("log.access.file", config.log.access.file)


def _problems_of_file(at: str, file: str | None) -> Iterator[Problem]:
    if file is None or file in STANDARD:
        return
    folder = str(PurePath(file).parent)
    if os.path.isdir(file):
        yield at, f"{file} is a directory"
    elif os.path.exists(file):
        if not os.access(file, os.W_OK):
            yield at, f"{file} may not be written"
    elif not os.path.isdir(folder):
        yield at, f"{folder} is no directory"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield at, f"{file} may not be made in {folder}"
