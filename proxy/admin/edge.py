"""The outermost part of the admin: what every answer carries, and answers to what is no request.

Owns the security header fields, and the protocol of one connection as far as it differs from aiohttp's: what
is not HTTP at all, or expects what we do not do, is answered in our own words and without a line in the log,
because anybody can send it. It decides nothing about a request.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.admin.problems import Problem, problem_of, problem_response

if TYPE_CHECKING:
    from proxy.admin.lobby import Visit

log = logging.getLogger("dualpath.admin")

_NO_REQUEST = "this is no request of HTTP/1.1, or its head is too large"

SECURITY_HEADERS = {
    "Server": "dualpath",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, errors included. A browser is allowed nothing; the dashboard's page says what it may
load."""


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Add them to an answer of the application."""
    response.headers.update(SECURITY_HEADERS)


class Caller(web.RequestHandler):
    """One connection. `visit` is its place among the others."""

    __slots__ = ("visit",)

    def __init__(self, manager: web.Server, visit: Visit, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.visit = visit

    def connection_made(self, transport: Any) -> None:
        """aiohttp: the handshake is over."""
        self.visit.transport = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """aiohttp: it has ended, whoever wanted that."""
        self.visit.leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp: bytes that are no request (400), or a failure outside of the application."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("the admin API failed outside of a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        detail = (
            "this is no request of HTTP/1.1, or its head is too large"
            if status == HTTPStatus.BAD_REQUEST
            else ""
        )
        response = problem_response(Problem(status, HTTPStatus(status).phrase, detail), "")
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp: the answer is known. An expectation that we do not meet never reaches the application."""
        self.visit.answered_at = self._loop.time()
        if isinstance(resp, web.HTTPException):
            resp = problem_response(problem_of(resp), request.rel_url.raw_path)
            resp.force_close()
        return await super().finish_response(request, resp, start_time)
