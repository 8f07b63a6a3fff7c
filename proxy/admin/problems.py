"""Errors as RFC 9457 problem documents.

Owns the mapping from an exception to what a caller of the admin API may read of it. It must never let a
traceback, a token or an internal message out: what is not one of our own errors becomes a bare 500.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from proxy.errors import ControlError, DualpathError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"


class RefusedError(DualpathError):
    """The admin API will not do this; `members` are the document's extensions (RFC 9457 section 3.2)."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        super().__init__(f"{status} {detail}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document and the header fields that go with it."""

    status: int
    title: str
    detail: str = ""
    kind: str = "about:blank"
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, instance: str) -> dict[str, object]:
        """The JSON object; extension members never hide the registered ones."""
        return {
            **self.members,
            "type": self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }


def problem_of(error: Exception) -> Problem:
    """What a caller may read of an exception.

    `about:blank` has the status phrase as its title (RFC 9457 section 4.2.1); our own errors have types.
    """
    if isinstance(error, RefusedError):
        phrase = HTTPStatus(error.status).phrase
        return Problem(error.status, phrase, error.detail, members=error.members, headers=error.headers)
    if isinstance(error, ControlError):
        kind = f"urn:dualpath:problem:{error.title.replace(' ', '-')}"
        return Problem(error.status, error.title, str(error), kind)
    if isinstance(error, web.HTTPException):
        return _of_http_exception(error)
    return Problem(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase, "the proxy's log has the cause")


def problem_response(problem: Problem, instance: str) -> web.Response:
    """The problem as a response; `instance` is the path that was asked for, percent-encoded."""
    return web.Response(
        status=problem.status,
        body=orjson.dumps(problem.document(instance), option=orjson.OPT_APPEND_NEWLINE),
        content_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def _of_http_exception(error: web.HTTPException) -> Problem:
    phrase = HTTPStatus(error.status).phrase
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(error.status, phrase, f"only {allowed} here", headers={"Allow": allowed})
    return Problem(error.status, phrase, _DETAILS.get(error.status, ""))


_DETAILS = {404: "there is nothing at this path", 413: "the body is larger than a command can be"}
