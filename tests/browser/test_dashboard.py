"""The dashboard in a real browser, in front of a real proxy with traffic: what a person sees, and what
follows when they press a button."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe

from proxy.demo.faults import Fault
from tests.browser.scene import OPERATOR, VIEWER, scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.browser.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_MS = 20_000
PHONE = {"width": 390, "height": 844}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("board")) as one:
        yield one


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_complained_about(stage: Scene) -> AsyncIterator[None]:
    stage.complaints.clear()
    yield
    await stage.turn(Fault.NONE)
    assert stage.complaints == []


async def chosen(stage: Scene, token: str, **context: object) -> Page:
    """The page of the rollout with phases."""
    page = await stage.open(token, **context)
    await page.goto(f"{stage.proxy.admin_url}/#/restaurants")
    await page.wait_for_selector(".hero")
    return page


async def press(page: Page, verb: str, reason: str) -> None:
    """The two clicks."""
    await page.click(f'[data-verb="{verb}"]')
    await page.fill("#ask-reason", reason)
    await page.click("#ask-yes")
    await page.wait_for_selector("#ask", state="hidden")


async def shows(page: Page, selector: str, text: str) -> None:
    await page.locator(selector, has_text=text).first.wait_for(timeout=WITHIN_MS)


async def accessible(page: Page) -> None:
    """No issue that axe-core calls serious or critical."""
    found = (await Axe().run(page)).response["violations"]
    serious = [one for one in found if one["impact"] in {"serious", "critical"}]
    told = [(one["id"], [node["target"] for node in one["nodes"]], one["help"]) for one in serious]
    assert told == []


async def test_a_wrong_token_is_told_and_the_right_one_lets_in(stage: Scene) -> None:
    page = await stage.open(None)
    await page.wait_for_selector("#login")
    await accessible(page)
    await page.fill("#token", "a wrong one")
    await page.keyboard.press("Enter")
    await shows(page, "#login .error", "this token is not known")
    assert all("401" in one for one in stage.complaints)  # which the browser itself says
    stage.complaints.clear()
    await page.fill("#token", OPERATOR)
    await page.keyboard.press("Enter")
    await shows(page, "#who", "ada (operator)")
    await shows(page, "#live", "live")
    await page.click("#logout")
    await page.wait_for_selector("#login")
    assert await page.evaluate("fetch('/api/v1/status').then((answer) => answer.status)") == 401
    stage.complaints.clear()


async def test_a_rollout_is_started_fails_and_is_taken_back_before_the_eyes(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    await shows(page, ".hero h1", "Not started")
    await press(page, "start", "first users")
    await shows(page, ".hero h1", "Holding in canary (1 of 4)")
    await shows(page, ".rail .now", "canary")
    await shows(page, ".criteria .unmet", "requests on v2")
    await shows(page, ".events", "command:start by ada")
    await shows(page, ".events", "first users")
    await shows(page, ".criteria .met", "requests on v2")
    await accessible(page)
    await stage.turn(Fault.ERRORS)
    fallbacks = page.locator('[data-key="clients"] .key.fallback b', has_text=re.compile("[1-9]"))
    await fallbacks.wait_for(timeout=WITHIN_MS)
    await shows(page, ".hero.bad h1", "Rolled back to 0 %")
    await shows(page, ".hero .why", "error")
    await shows(page, ".rail .failed", "canary")
    await shows(page, ".events .bad", "running canary 10 % → rolled back 0 %")
    await shows(page, "#said", "rolled back at 0 %")
    await accessible(page)
    assert await page.locator('[data-verb="rollback"]').count() == 0


async def test_a_viewer_has_no_buttons_and_is_refused(stage: Scene) -> None:
    page = await chosen(stage, VIEWER)
    await shows(page, "#who", "vic (viewer)")
    assert await page.locator("[data-verb]:visible").count() == 0
    asked = """async (csrf) => (await fetch('/api/v1/rollouts/restaurants/start', {method: 'POST', body: '{}',
        headers: {'Content-Type': 'application/json', 'X-CSRF-Token': csrf}})).status"""
    session = await page.evaluate("fetch('/dashboard/session').then((answer) => answer.json())")
    assert await page.evaluate(asked, session["csrf"]) == 403
    stage.complaints.clear()


async def test_a_change_without_the_pages_secret_is_refused(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    asked = """async () => (await fetch('/api/v1/rollouts/restaurants/start', {method: 'POST', body: '{}',
        headers: {'Content-Type': 'application/json'}})).status"""
    assert await page.evaluate(asked) == 403
    assert await page.evaluate("document.cookie") == ""
    stage.complaints.clear()


async def test_pause_resume_and_rollback_work_by_keyboard_alone(stage: Scene) -> None:
    await stage.command("start")
    page = await chosen(stage, OPERATOR)
    for verb, head in (("pause", "Paused"), ("resume", "Holding"), ("rollback", "Rolled back")):
        await page.locator(f'[data-verb="{verb}"]').focus()
        await page.keyboard.press("Enter")
        await page.keyboard.type(f"to try {verb}")
        await page.keyboard.press("Enter")
        await shows(page, ".hero h1", head)
        await shows(page, ".events", f"to try {verb}")
    await page.click("#stop")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("#ask", state="hidden")


async def test_whoever_was_slower_is_told(stage: Scene) -> None:
    await stage.command("start")
    page = await chosen(stage, OPERATOR)
    await page.click('[data-verb="promote"]')
    await stage.command("pause")
    await page.click("#ask-yes")
    await shows(page, "#ask-error", "revision")
    stage.complaints.clear()
    await page.click("#ask-no")
    await stage.command("rollback")


async def test_the_emergency_stop_works_on_a_phone(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR, viewport=PHONE, color_scheme="dark")
    await accessible(page)
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    await press(page, "emergency_stop", "smoke")
    await page.goto(f"{stage.proxy.admin_url}/#/statistics")
    await shows(page, ".hero h1", "Rolled back")
    await shows(page, ".events", "command:emergency_stop by ada")
    await stage.command("start", "statistics")


async def test_silence_is_shown_and_nothing_is_missed_after_it(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    await shows(page, "#live", "live")
    for process in stage.proxy.tree():
        process.send_signal(signal.SIGSTOP)
    try:
        await shows(page, "#live.bad", "stale: nothing for")
    finally:
        for process in stage.proxy.tree():
            process.send_signal(signal.SIGCONT)
    await stage.command("start", reason="after the silence")
    await shows(page, "#live.good", "live")
    await shows(page, ".events", "after the silence")
    await stage.command("rollback")


async def test_a_moment_is_read_off_a_chart_by_arrow_keys(stage: Scene) -> None:
    page = await chosen(stage, VIEWER)
    await page.wait_for_selector('[data-chart="rps"] path.line[d*=L]')
    chart = page.locator('svg[data-chart="rps"]')
    await chart.focus()
    await page.keyboard.press("ArrowLeft")
    await page.wait_for_selector('[data-chart="rps"] .cursor', state="attached")
    assert await chart.evaluate("(one) => one === document.activeElement")
    await page.keyboard.press("Escape")
    await page.wait_for_selector('[data-chart="rps"] .cursor', state="detached")
