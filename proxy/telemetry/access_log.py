"""The access log: a line for each request that is to have one.

Owns that a line is so short that a pipe takes it in one piece, and goes where `[log.access]` says. Must never
know which requests are to have one, nor what a line looks like.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.config.logs import redacted_names
from proxy.telemetry.access_lines import FORMS, Shown
from proxy.telemetry.log_file import PIPE_BYTES
from proxy.telemetry.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.config.schema import Config
    from proxy.core.observed import ObservedRequest
    from proxy.telemetry.access_lines import Form
    from proxy.telemetry.log_writer import Writers

_SIGNAL: Final = "access_log"
_LONGEST: Final = (2048, 512, 64)
"""Characters of one text that are kept: at first, and then, if the line is too long for a pipe."""


class AccessLog:
    """`ports.Observer`: writes what is `logged`, and nothing else. `names` are the header fields to show."""

    __slots__ = ("_form", "_put", "_shown")

    def __init__(
        self, form: Form, redaction: Redaction, names: tuple[str, ...], put: Callable[[bytes], None]
    ) -> None:
        self._form = form
        self._put = put
        self._shown = [Shown(redaction, names, longest) for longest in _LONGEST]

    def __repr__(self) -> str:
        return f"AccessLog({self._form.__name__})"

    def request_ended(self, request: ObservedRequest) -> None:
        """It is over."""
        if request.logged:
            self._put(self.line(request))

    def line(self, request: ObservedRequest) -> bytes:
        """Its line, with a newline."""
        for shown in self._shown:
            written = self._form(request, shown)
            if len(written) <= PIPE_BYTES:
                return written
        attempts = tuple([replace(attempt, detail="") for attempt in request.attempts])
        return self._form(replace(request, fields=(), attempts=attempts), self._shown[-1])


def access_log(config: Config, writers: Writers) -> AccessLog | None:
    """The access log that `config` asks for, if it does."""
    access = config.log.access
    if not access.enabled:
        return None
    writer = writers.to(access.file or config.log.file, _SIGNAL)
    return AccessLog(FORMS[access.format], Redaction(redacted_names(config)), access.wanted, writer.put)
