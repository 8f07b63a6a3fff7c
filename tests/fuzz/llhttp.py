"""What Node's parser makes of the same bytes: a third opinion, because many a backend reads with it.

Owns driving it (httptools, strict). It is asked only about what the proxy has written.
"""

from __future__ import annotations

from typing import Any

import httptools


class _Reader:
    """Its callbacks; `bodies` has one entry per message that was whole."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.bodies: list[bytes] = []
        self._body = b""

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        if not self._is_interim():
            self.bodies.append(self._body)

    def _is_interim(self) -> bool:
        return isinstance(self.parser, httptools.HttpResponseParser) and self.parser.get_status_code() < 200


def request_bodies(data: bytes) -> list[bytes] | None:
    """The bodies of the whole requests in `data`; None where it stops for an upgrade."""
    return _bodies(httptools.HttpRequestParser, data)


def response_bodies(data: bytes) -> list[bytes]:
    """The same for responses, of which none answers HEAD; interim ones do not count."""
    return _bodies(httptools.HttpResponseParser, data) or []


def _bodies(parser: Any, data: bytes) -> list[bytes] | None:
    reader = _Reader()
    reader.parser = parser(reader)
    try:
        reader.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return None
    except httptools.HttpParserError:
        pass
    return reader.bodies
