"""Workers that a killed supervisor has left make way without taking from others what these need."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.e2e.proxy_process import config, start_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.succession import dynasty
from tests.e2e.test_workers import serves
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend


async def test_orphans_leave_the_sockets_that_a_successor_has_inherited_as_they_are(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, listen={"workers": 2})
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        old, orphans = line.present, line.present.children()
        line.signal(signal.SIGUSR2)
        heir = await line.heir()
        await eventually(lambda: len(heir.children()) == 2)
        old.kill()
        await eventually(lambda: line.proxy.process.returncode is not None)
        await line.ready_line()
        line.adopt(heir)
        await eventually(lambda: not any(map(serves, orphans)))
        async with stopwatch([line.present, *line.present.children()]) as watch:
            answers = await asyncio.gather(*(fetch(line.proxy.listen) for _ in range(16)))
        assert {answer.status for answer in answers} == {200}
        assert watch.own_s < 0.9, watch  # who is heard by nobody asks again after a second
