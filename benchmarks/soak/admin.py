"""The admin API as a stranger calls it: one connection per call."""

from __future__ import annotations

from typing import Any

import aiohttp

_WITHIN = aiohttp.ClientTimeout(total=15)


async def status(port: int) -> dict[str, Any]:
    """`GET /api/v1/status`."""
    url = f"http://127.0.0.1:{port}/api/v1/status"
    async with aiohttp.ClientSession(timeout=_WITHIN) as session, session.get(url) as answer:
        answer.raise_for_status()
        document: dict[str, Any] = await answer.json()
        return document


async def command(port: int, verb: str, **body: object) -> int:
    """POSTs one verb to the only rollout; the status."""
    url = f"http://127.0.0.1:{port}/api/v1/rollouts/default/{verb}"
    async with aiohttp.ClientSession(timeout=_WITHIN) as session, session.post(url, json=body) as answer:
        return answer.status
