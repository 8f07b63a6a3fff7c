"""What every handler needs of a request and of an answer: who asks, the body in time, JSON.

Owns these alone. It must never know an operation.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from aiohttp import web

from proxy.admin.auth import Identity
from proxy.admin.problems import RefusedError

BODY_TIMEOUT_S: Final = 10.0

IDENTITY = web.RequestKey("identity", Identity)
"""Who asks, once that is known."""


async def body_of(request: web.Request) -> bytes:
    """The whole body. Raises `RefusedError` 408."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None


def content_type_of(request: web.Request) -> str:
    """The media type that was given, "" for none."""
    return request.content_type if "Content-Type" in request.headers else ""


def json_answer(payload: object) -> web.Response:
    """A 200 with this."""
    body = orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, content_type="application/json")
