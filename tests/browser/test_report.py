"""A report on what has really happened, as a browser shows and prints it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.browser.looking import accessible
from tests.browser.scene import VIEWER

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

    from tests.browser.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def written(stage: Scene, file: Path) -> Page:
    """The report by a viewer, opened from the disk."""
    command = ["-m", "proxy", "report", "-o", str(file), "--name", "restaurants"]
    environment = {**os.environ, "DUALPATH_TOKEN": VIEWER, "DUALPATH_ADMIN": stage.proxy.admin_url}
    made = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment)
    assert await made.wait() == 0
    window = await stage.browser.new_context()
    page = await window.new_page()
    page.on("console", lambda said: stage.complaints.append(said.text))
    page.on("request", lambda asked: stage.complaints.append(asked.url) if asked.url[:5] != "file:" else None)
    await page.goto(f"file://{file}")
    return page


async def test_it_tells_what_happened_to_everybody_and_loads_nothing(stage: Scene, tmp_path: Path) -> None:
    await stage.command("start", reason="first users")
    await stage.command("rollback", reason="not today")
    page = await written(stage, tmp_path / "r.html")
    text = await page.inner_text("body")
    for told in ("v2 was taken back to 0%", "not today", "first users", "not reached", "command:rollback"):
        assert told in text
    await accessible(page)


async def test_it_prints_on_paper(stage: Scene, tmp_path: Path) -> None:
    page = await written(stage, tmp_path / "r.pdf-ready.html")
    printed = await page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594" in printed or b"/MediaBox [0 0 595" in printed  # A4
