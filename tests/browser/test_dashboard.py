"""The dashboard in a real browser, in front of a real proxy with traffic: what a person sees, and what
follows when they press a button."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from proxy.demo.faults import Fault
from tests.browser.looking import accessible, chosen, press, shows
from tests.browser.scene import OPERATOR, VIEWER, WITHIN_MS
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from tests.browser.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
    await press(page, "start", "first users")
    await shows(page, ".hero h1", "Holding in canary (1 of 4)")
    await shows(page, ".rail .now", "canary")
    await shows(page, ".criteria .unmet", "time")
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
    assert await page.locator('[data-act="rollback"]').count() == 0


async def test_a_viewer_has_no_buttons_and_is_refused(stage: Scene) -> None:
    page = await chosen(stage, VIEWER)
    await shows(page, "#who", "vic (viewer)")
    assert await page.locator("[data-act]:visible").count() == 0
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


async def test_a_page_that_is_opened_shows_the_last_minutes_at_once(stage: Scene) -> None:
    async def has_run_for_long() -> bool:
        return len((await stage.get("/api/v1/rollouts/restaurants/seconds"))["at"]) > 30

    await eventually(has_run_for_long, WITHIN_MS / 1000)
    page = await chosen(stage, VIEWER)
    await page.wait_for_function(  # more than can have come since it was opened, once a second
        """() => (document.querySelector('[data-chart="rps"] path.line')?.getAttribute("d") ?? "")
            .split("L").length > performance.now() / 1000 + 10"""
    )
    await page.wait_for_selector(".spread .area.v1[d*=L]", state="attached")


async def test_another_rollout_is_a_click_away(stage: Scene) -> None:
    page = await chosen(stage, VIEWER)
    await page.click(".list a >> text=statistics")
    await shows(page, ".hero", "statistics · running")
    await shows(page, ".hero h1", "A fixed split")
    assert await page.locator("#fleet").count() == 0  # where there is none
    await page.go_back()
    await shows(page, ".hero", "restaurants ·")


async def test_a_fragment_that_names_no_rollout_does_no_harm(stage: Scene) -> None:
    page = await stage.open(OPERATOR, at="#/%")
    await shows(page, ".list", "statistics")
    await page.click(".list a")
    await page.wait_for_selector(".hero")
    before = await page.inner_text(".list tr.chosen a")
    await page.focus(".skip")
    await page.keyboard.press("Enter")
    await shows(page, "#live", "live")
    assert await page.inner_text(".list tr.chosen a") == before
    assert await page.locator(".hero").count() == 1


async def test_a_session_that_ends_leads_to_the_login_whatever_was_open(stage: Scene) -> None:
    page = await stage.open(None, at="#/restaurants")
    await page.fill("#token", OPERATOR)
    await page.keyboard.press("Enter")
    await page.click('[data-act="set"]')
    await page.evaluate(
        """async () => {
            const { csrf } = await (await fetch('/dashboard/session')).json();
            await fetch('/dashboard/session', {method: 'DELETE', headers: {'X-CSRF-Token': csrf}});
        }"""
    )
    await shows(page, "#login .error", "The session has ended")
    await page.wait_for_selector("#ask", state="hidden")
    assert await page.inner_text("#live") == ""
    await accessible(page)
    await page.keyboard.type(OPERATOR)  # where one is, without a click
    await page.keyboard.press("Enter")
    await shows(page, "#live.good", "live")
    await page.wait_for_selector(".hero")
    assert all("401" in one for one in stage.complaints)
    stage.complaints.clear()


async def test_the_list_of_rollouts_is_in_nobodys_way_at_a_keyboard(stage: Scene) -> None:
    page = await chosen(stage, OPERATOR)
    await page.focus(".list .skip")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.dataset.act") == "start"
    link = page.locator('.list tr[data-key="restaurants"] a')
    await link.focus()
    await stage.command("start")
    await page.wait_for_selector(
        '.list tbody tr:first-child[data-key="restaurants"]'
    )  # what waits comes first
    assert await link.evaluate("(one) => one === document.activeElement")
    await stage.command("rollback")
