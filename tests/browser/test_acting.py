"""What an operator does on the dashboard, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.demo.faults import Fault
from tests.browser.looking import PHONE, accessible, chosen, press, shows
from tests.browser.scene import OPERATOR, VIEWER

if TYPE_CHECKING:
    from tests.browser.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_pause_resume_and_rollback_work_by_keyboard_alone(stage: Scene) -> None:
    await stage.command("start")
    page = await chosen(stage, OPERATOR)
    for verb, head in (("pause", "Paused"), ("resume", "Holding"), ("rollback", "Rolled back")):
        await page.locator(f'[data-act="{verb}"]').focus()
        await page.keyboard.press("Enter")
        await page.keyboard.type(f"to try {verb}")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#ask", state="hidden")
        await shows(page, ".hero h1", head)
        await shows(page, ".events", f"to try {verb}")
    await page.click("#stop")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("#ask", state="hidden")


async def test_whoever_was_slower_is_told(stage: Scene) -> None:
    await stage.command("start")
    page = await chosen(stage, OPERATOR)
    await page.click('[data-act="promote"]')
    await stage.command("pause")
    await page.click("#ask-yes")
    await shows(page, "#ask-error", "revision")
    stage.complaints.clear()
    await page.click("#ask-no")
    await stage.command("rollback")


async def test_no_share_is_raised_again_that_was_taken_back_while_somebody_thought(stage: Scene) -> None:
    await stage.command("start")
    await stage.command("set", percentage=50)
    page = await chosen(stage, OPERATOR)
    await page.click('[data-act="set"]')
    await page.fill("#ask-share", "30")
    await stage.command("rollback")
    await shows(page, ".hero h1", "Rolled back")
    await page.click("#ask-yes")
    await shows(page, "#ask-error", "revision")
    stage.complaints.clear()
    await page.click("#ask-no")
    assert await page.inner_text(".hero .big") == "0 %"


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


async def test_a_share_is_set_the_rest_is_skipped_and_it_is_aborted(stage: Scene) -> None:
    await stage.command("start")
    page = await chosen(stage, OPERATOR)
    await page.click('[data-act="set"]')
    await page.fill("#ask-share", "12.5")
    await page.fill("#ask-reason", "a little more")
    await accessible(page)
    await page.click("#ask-yes")
    await shows(page, ".hero .big", "12.5 %")
    await shows(page, ".events", "a little more")
    await press(page, "promote_full", "all of it")
    await shows(page, ".hero h1", "Completed: v2 has 100 %")
    await press(page, "abort", "enough")
    await shows(page, ".hero h1", "Aborted")
    assert await page.locator('[data-act="abort"]').count() == 0


async def test_alerts_are_silenced_for_a_while_and_again_not(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    viewer = await chosen(stage, VIEWER)
    await page.click('#alerts [data-act="silence"]')
    await page.select_option("#ask-for", "30m")
    await page.fill("#ask-alerts", "latency*")
    await page.fill("#ask-reason", "load test")
    await page.click("#ask-yes")
    for one in (page, viewer):
        await shows(one, "#alerts", "latency* on restaurants")
        await shows(one, "#alerts", "load test")
        await shows(one, "#alerts", "by ada")
    assert await viewer.locator("#alerts button").count() == 0
    await shows(page, ".events", "load test: silence")
    await press(page, "unsilence", "the test is over")
    await page.locator("#alerts", has_text="load test").wait_for(state="hidden")
    for one in (page, viewer):
        await shows(one, ".events", "the test is over: silence")
        await shows(one, ".events", "silence:ended by ada")


async def test_an_alert_is_seen_wherever_one_looks(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    await stage.turn(Fault.ERRORS)
    await stage.command("start", "statistics")
    await shows(page, "#alerted", "1 alert")
    await page.click("#alerted")
    await shows(page, "#alerts li", "statistics v2-fails")
    await accessible(page)
    await page.goto(f"{stage.proxy.admin_url}/#/there-is-none-of-that-name")
    await shows(page, "main", "There is no rollout of that name")
    await page.evaluate("document.activeElement.blur()")
    await page.click("#alerted")
    assert await page.evaluate("document.activeElement.id") == "alerts"
    await shows(page, "#alerts li", "statistics v2-fails")
    await accessible(page)
