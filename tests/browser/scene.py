"""What the dashboard is looked at with: two sample backends, a real proxy between them, its users, and a
browser.

Owns starting and ending all of it. The browser is the system's Chromium; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from playwright.async_api import async_playwright

from proxy.clock import SystemClock
from proxy.demo.clients import ClientTally
from proxy.demo.plan import users
from proxy.demo.processes import BackendProcess
from proxy.demo.traffic import HttpSender, Traffic
from tests.e2e.proxy_process import running_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Page

    from proxy.demo.faults import Fault
    from tests.e2e.proxy_process import ProxyProcess, Table

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
OPERATOR, VIEWER = "operator-token", "viewer-token"
RATE = 120.0
"""Requests a second."""
_USERS = 400
WITHIN_MS = 90_000
"""How long anything is waited for: a machine may be busy with something else."""


@dataclass(slots=True)
class Scene:
    """All that runs. `complaints` is what the browser's console has said of errors."""

    proxy: ProxyProcess
    v1: BackendProcess
    v2: BackendProcess
    browser: Browser
    session: aiohttp.ClientSession
    complaints: list[str] = field(default_factory=list)
    _logged_in: dict[tuple[str, str | None], Any] = field(default_factory=dict)

    async def turn(self, fault: Fault) -> None:
        """From now on v2 fails like that."""
        await self.v2.turn(fault, self.session)

    async def command(self, verb: str, name: str = "restaurants", **body: object) -> None:
        """An operator's command, past the page."""
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        url = f"{self.proxy.admin_url}/api/v1/rollouts/{name}/{verb}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def get(self, target: str) -> Any:
        """A document of the admin API."""
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        async with self.session.get(f"{self.proxy.admin_url}{target}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def open(
        self, token: str | None, *, at: str = "", of: ProxyProcess | None = None, **context: Any
    ) -> Page:
        """The dashboard, of another proxy if one is given, in a window of its own, logged in if there is a
        token."""
        url = (of or self.proxy).admin_url
        known = self._logged_in.get((url, token))
        window = await self.browser.new_context(
            **{"viewport": {"width": 1360, "height": 900}, "storage_state": known, **context}
        )
        window.set_default_timeout(WITHIN_MS)
        page = await window.new_page()
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(f"{url}/{at}")
        if token is not None and known is None:
            await page.fill("#token", token)
            await page.click("#login button")
            await page.wait_for_selector("#live.good")
            self._logged_in[url, token] = await window.storage_state()
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)


@asynccontextmanager
async def scene(directory: Path, *, lively: bool = False) -> AsyncIterator[Scene]:
    """The whole of it, with traffic under way, `lively` as of `configuration`."""
    async with AsyncExitStack() as stack:
        v1, v2 = BackendProcess("v1"), BackendProcess("v2")
        await stack.enter_async_context(v1)
        await stack.enter_async_context(v2)
        proxy = await stack.enter_async_context(
            running_proxy(configuration(v1.url, v2.url, lively=lively), directory)
        )
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS), timeout=WITHIN_MS
        )
        stack.push_async_callback(browser.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await stack.enter_async_context(traffic(proxy, RATE))
        yield Scene(proxy, v1, v2, browser, session)


@asynccontextmanager
async def traffic(proxy: ProxyProcess, rate: float) -> AsyncIterator[None]:
    """So many requests a second, for a while."""
    async with HttpSender("http://{}:{}".format(*proxy.listen)) as sender:
        rng = random.Random(7)
        traffic = Traffic(users(_USERS), rate, sender.send, tally=ClientTally(), clock=SystemClock(), rng=rng)
        task = asyncio.create_task(traffic.run())
        try:
            yield
        finally:
            traffic.stop()
            await task


def configuration(v1_url: str, v2_url: str, *, lively: bool = False) -> Table:
    """Four phases with limits, and beside them a fixed split. Unless it is to be `lively`, nothing moves by
    itself but for v2's errors, however slow the machine is."""
    require = {"error_rate_below": 0.02, "latency_p95_below": "250ms"}
    rollout = {
        "key": ["header:X-User-Id", "client_ip"],
        "timeout": "4s" if lively else "60s",
        "judge": {"tick": "250ms"},
    }
    guards = [
        {"metric": "error_rate", "above": 0.10, "window": "10s", "for": "2s", "action": "rollback"},
        {"metric": "fallback_rate", "above": 0.25, "window": "10s", "for": "2s", "action": "rollback"},
        {"metric": "client_error_rate", "above": 0.02, "window": "30s", "for": "1s", "action": "rollback"},
        {
            "metric": "latency_p95",
            "above": "400ms" if lively else "40s",
            "window": "10s",
            "for": "2s",
            "action": "rollback",
        },
        {"metric": "error_rate", "above": 0.05, "window": "30s", "action": "alert"},
    ]
    shares = (
        ("canary", 10, 5 if lively else 3600, 40),
        ("early", 30, 3600, 20_000),
        ("half", 50, 3600, 0),
        ("full", 100, 0, 300),
    )
    phases = [
        {
            "name": name,
            "percentage": share,
            "min_duration": f"{least}s",
            "min_requests": requests,
            "require": require,
        }
        for name, share, least, requests in shares
    ]
    probe = {"path": "/health", "interval": "1s"}
    tokens = [
        {"name": name, "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, role, token in (("ada", "operator", OPERATOR), ("vic", "viewer", VIEWER))
    ]
    return {
        "listen": {"address": "127.0.0.1:0", "expose_path": True},
        "admin": {"address": "127.0.0.1:0", "tokens": tokens},
        "store": {"url": "sqlite:///board.db"},
        "log": {"level": "error"},
        "alerts": {
            "rules": [
                {
                    "name": "v2-fails",
                    "metric": "error_rate",
                    "above": 0.02,
                    "window": "30s",
                    "min_requests": 5,
                }
            ]
        },
        "backends": {
            "v1": {"endpoints": [v1_url], "health": probe},
            "v2": {"endpoints": [v2_url], "health": probe, "response_timeout": "500ms" if lively else "50s"},
        },
        "rollouts": [
            {**rollout, "name": "restaurants", "phases": phases, "guards": guards},
            {**rollout, "name": "statistics", "routes": [{"prefix": "/statistics"}], "percentage": 25},
        ],
    }
