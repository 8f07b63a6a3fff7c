"""What tests of the dashboard say: to be on a page, to press, to see, and that everybody can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from axe_playwright_python.async_playwright import Axe

from tests.browser.scene import WITHIN_MS

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.scene import Scene

PHONE: Final = {"width": 390, "height": 844}


async def chosen(stage: Scene, token: str, **context: Any) -> Page:
    """The page of the rollout with phases."""
    page = await stage.open(token, at="#/restaurants", **context)
    await page.wait_for_selector(".hero")
    return page


async def press(page: Page, act: str, reason: str) -> None:
    """The two clicks."""
    await page.click(f'[data-act="{act}"]')
    await page.fill("#ask-reason", reason)
    await page.click("#ask-yes")
    await page.wait_for_selector("#ask", state="hidden")


async def shows(page: Page, selector: str, text: str) -> None:
    """Before long."""
    await page.locator(selector, has_text=text).first.wait_for(timeout=WITHIN_MS)


async def accessible(page: Page) -> None:
    """No issue that axe-core calls serious or critical."""
    found = (await Axe().run(page)).response["violations"]
    serious = [one for one in found if one["impact"] in {"serious", "critical"}]
    told = [(one["id"], [node["target"] for node in one["nodes"]], one["help"]) for one in serious]
    assert told == []
