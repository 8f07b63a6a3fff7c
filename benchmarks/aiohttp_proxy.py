"""A plain reverse proxy of aiohttp's server and client, as one would write it first.

`python -m benchmarks.aiohttp_proxy PORT BACKEND_PORT`. Streams both ways, keeps connections, adds the same
forwarding fields as the others; on uvloop, so that the comparison is about aiohttp and not about the loop.
"""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})


class Forwarder:
    """Sends every request to one backend."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._session: ClientSession | None = None

    async def session(self, _: web.Application) -> AsyncIterator[None]:
        """The client, for as long as the server runs."""
        connector = TCPConnector(limit=0, keepalive_timeout=30)
        async with ClientSession(
            connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False
        ) as session:
            self._session = session
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """One request there, one answer back."""
        assert self._session is not None
        headers = request.headers.copy()
        for name in HOP_BY_HOP:
            headers.popall(name, None)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = request.scheme
        headers["X-Forwarded-Host"] = request.host
        headers["X-Request-Id"] = uuid.uuid4().hex
        headers["Via"] = "1.1 aiohttp"
        async with self._session.request(
            request.method,
            f"{self._backend}{request.rel_url}",
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def main(port: int, backend_port: int) -> None:
    """Serves until SIGTERM."""
    forwarder = Forwarder(f"http://127.0.0.1:{backend_port}")
    application = web.Application(client_max_size=0)
    application.cleanup_ctx.append(forwarder.session)
    application.router.add_route("*", "/{path:.*}", forwarder.forward)
    web.run_app(
        application, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
