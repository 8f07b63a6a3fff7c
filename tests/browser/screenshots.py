"""The pictures of the dashboard in docs/img: `python -m tests.browser.screenshots`.

Each is taken of a real proxy between two sample backends, at the moment that its name tells.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.demo.faults import Fault
from tests.browser.scene import OPERATOR, VIEWER, scene
from tests.demo import capture

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.scene import Scene

PICTURES = Path(__file__).parents[2] / "docs" / "img"
CALM_S, EVIDENT_S, LATER_S = 15.0, 18.0, 6.0
PHONE = {"width": 390, "height": 844}


async def take() -> None:
    """All of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        async with scene(Path(directory), lively=True) as stage:
            login = await stage.open(None)
            await login.wait_for_selector("#login")
            await _save(login, "login")
            page = await _opened(stage, OPERATOR)
            dark = await _opened(stage, VIEWER, color_scheme="dark")
            phone = await _opened(stage, VIEWER, viewport=PHONE)
            await asyncio.sleep(CALM_S)
            await stage.command("start", reason="first users")
            await asyncio.sleep(EVIDENT_S)
            await page.bring_to_front()
            await _save(page, "holding", full_page=True)
            await page.click('[data-act="promote"]')
            await _save(page, "confirming")
            await page.click("#ask-no")
            await page.click('[data-act="set"]')
            await page.fill("#ask-share", "20")
            await page.fill("#ask-reason", "it has done well so far")
            await _save(page, "set")
            await page.click("#ask-no")
            await stage.turn(Fault.ERRORS)
            await page.locator(".hero.bad").wait_for(timeout=20_000)
            await _save(page, "failing")
            await page.locator(".hero h1", has_text="Rolled back").wait_for(timeout=20_000)
            await page.click('#alerts [data-act="silence"]')
            await page.fill("#ask-alerts", "latency*")
            await page.fill("#ask-reason", "load test until noon")
            await page.click("#ask-yes")
            await page.locator("#alerts", has_text="load test").wait_for()
            await page.click("#alerted")
            await _save(page, "alerts")
            await page.evaluate("scrollTo(0, 0)")
            await asyncio.sleep(LATER_S)
            await _save(page, "rolled-back", full_page=True)
            await _save(dark, "dark")
            await _save(phone, "phone")


async def _opened(stage: Scene, token: str, **context: Any) -> Page:
    return await stage.open(token, at="#/restaurants", **context)


async def _save(page: Page, name: str, *, full_page: bool = False) -> None:
    path = PICTURES / f"dashboard-{name}.png"
    await page.bring_to_front()
    await page.wait_for_timeout(300)
    await page.screenshot(path=path, full_page=full_page)
    print(path)


if __name__ == "__main__":
    asyncio.run(take())
    capture.main()
