"""The way to an OpenTelemetry collector: OTLP over HTTP, compressed, sent again for a while if it does not
arrive.

Owns the requests, what an answer means, and the attributes of who sends. Used by threads of their own: it
waits, and nothing else has to. Must never know what is in a body.
"""

from __future__ import annotations

import gzip
import os
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from proxy import __version__
from proxy.config.tls import ClientTls
from proxy.errors import DualpathError
from proxy.tls import client_context

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from threading import Event

    from proxy.config.schema import Telemetry

_LATER: Final = frozenset({429, 502, 503, 504})
"""Statuses after which OTLP has a client come again."""
_MOST_ANSWER_BYTES: Final = 64 << 10
_LEVEL: Final = 1  # a fifth of the time of the usual one, for a tenth more bytes
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 10.0


class ExportError(DualpathError):
    """It has not arrived, and will not; the message says why."""


class _PassingError(ExportError):
    """It may be otherwise in a moment, or in `after_s`."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Collector:
    """The way of one signal, "traces" or "metrics". For one thread; only `abort` is for others.

    Raises `ConfigError` if a file of its TLS cannot be used.
    """

    def __init__(self, telemetry: Telemetry, signal: str) -> None:
        url = f"{telemetry.otlp_endpoint}/v1/{signal}"
        parts = urlsplit(url)
        self.url = url
        self._path = parts.path
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = None
        if parts.scheme == "https":
            self._tls = client_context(telemetry.tls or ClientTls(), "telemetry.tls")
        self._fields = {
            "User-Agent": f"dualpath/{__version__}",
            **telemetry.otlp_headers,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._timeout_s = telemetry.otlp_timeout_s
        self._retry_for_s = telemetry.otlp_retry_for_s
        self._connection: HTTPConnection | None = None

    def __repr__(self) -> str:
        return f"<Collector {self.url}>"

    def send(self, body: bytes, ending: Event) -> bytes:
        """Sends a message, again while that may help; once `ending` is set, only once. Returns the answer's
        body. Raises `ExportError`."""
        packed = gzip.compress(body, _LEVEL, mtime=0)
        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError),
            wait=_wait,
            stop=stop_before_delay(self._retry_for_s) | stop_when_event_set(ending),
            sleep=sleep_using_event(ending),
            reraise=True,
        )
        return retrying(self._post, packed)

    def abort(self) -> None:
        """Ends a request that is under way, in another thread."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, packed: bytes) -> bytes:
        is_fresh = self._connection is None or self._connection.sock is None
        try:
            return self._ask(packed)
        except (OSError, HTTPException) as error:
            self.close()
            if is_fresh or isinstance(error, TimeoutError):
                raise _PassingError(_said(error)) from error
        # It was kept since the last message, and the collector has closed it meanwhile.
        try:
            return self._ask(packed)
        except (OSError, HTTPException) as error:
            self.close()
            raise _PassingError(_said(error)) from error

    def _ask(self, packed: bytes) -> bytes:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connected()
        connection.request("POST", self._path, packed, self._fields)
        answer = connection.getresponse()
        body = answer.read(_MOST_ANSWER_BYTES)
        if answer.will_close or not answer.isclosed():
            self.close()
        if answer.status in _LATER:
            raise _PassingError(f"was answered {answer.status}", _after(answer))
        if not 200 <= answer.status < 300:
            raise ExportError(f"was answered {answer.status}")
        return body

    def _connected(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)


_backoff: Final = wait_random_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S)


def _wait(state: RetryCallState) -> float:
    """Ever longer, by chance, and not before the collector wants to be asked again."""
    error = state.outcome.exception() if state.outcome is not None else None
    return max(_backoff(state), error.after_s if isinstance(error, _PassingError) else 0.0)


def _after(answer: HTTPResponse) -> float:
    """What Retry-After says in seconds; a date is not looked at."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


def _said(error: Exception) -> str:
    return f"cannot be reached: {str(error) or type(error).__name__}"


# ... who sends


def resource(telemetry: Telemetry) -> dict[str, str | int]:
    """The attributes of this process, by OpenTelemetry's conventions; those that people give win."""
    host = socket.gethostname()
    return {
        "service.name": telemetry.service_name,
        "service.version": __version__,
        "service.instance.id": f"{host}/{os.getpid()}",
        "host.name": host,
        "process.pid": os.getpid(),
        "telemetry.sdk.name": "dualpath",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
        **telemetry.resource,
    }
