"""Two instances on a real Redis: what the page says of them, and of the loss of one and of the store."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.browser.looking import accessible, press, shows
from tests.browser.scene import OPERATOR, configuration, traffic
from tests.e2e.proxy_process import ended, start_proxy
from tests.redis_server import RedisServer, free_port, kind_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.scene import Scene
    from tests.e2e.proxy_process import ProxyProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Pair:
    """Two instances of one fleet; the one is asked three times as often as the other."""

    store: RedisServer
    a: ProxyProcess
    b: ProxyProcess


@pytest_asyncio.fixture(loop_scope="session")
async def pair(stage: Scene, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        store = RedisServer(kind_here(), port=free_port())
        stack.callback(store.end)
        store.start()

        async def begun(name: str) -> ProxyProcess:
            document = configuration(stage.v1.url, stage.v2.url)
            document |= {"store": {"url": store.url}, "fleet": {"instance": name, "lease": "2s"}}
            proxy = await start_proxy(document, tmp_path_factory.mktemp(name))
            stack.push_async_callback(ended, proxy.mark)
            return proxy

        a, b = await asyncio.gather(begun("a"), begun("b"))
        await stack.enter_async_context(traffic(a, 30.0))
        async with traffic(b, 10.0):
            yield Pair(store, a, b)


async def test_the_page_tells_of_every_instance_and_of_the_store(stage: Scene, pair: Pair) -> None:
    page = await stage.open(OPERATOR, at="#/restaurants", of=pair.a)
    a, b = (f'#fleet tbody tr[data-key="{name}"]' for name in ("a", "b"))
    await shows(page, "#fleet", "2 instances; ")
    await shows(page, "#fleet", "judges. The shared store answers; the copy here has all of it")
    await shows(page, a, "this page")
    await press(page, "start", "everywhere")
    for one in (a, b):
        await shows(page, one, "10 %")
        await page.locator(f"{one} td", has_text=re.compile("^(here|now)$")).wait_for()
        await shows(page, one, "%")
        await page.locator(one, has_text="behind").wait_for(state="detached")
    await page.locator(f"{a} .number", has_text=re.compile(r"^[5-9]\d\.\d %$")).wait_for()
    await accessible(page)

    await pair.b.kill()
    await shows(page, '#fleet tbody tr[data-key="gone b"]', "gone")
    await shows(page, "#fleet", "1 instance, 1 gone; a judges")
    await accessible(page)

    pair.store.kill()
    await shows(page, "#banner", "The shared store is gone")
    await shows(page, f"{a} .pill.bad", "alone")
    await shows(page, "#fleet", "served by the copy here")
    await accessible(page)
    await press(page, "rollback", "alone or not")
    await shows(page, ".hero h1", "Rolled back to 0 %")
    assert all("503" in one for one in stage.complaints)  # what only the store knows
    await page.context.close()
    stage.complaints.clear()
