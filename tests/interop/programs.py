"""Programs of others, started for a while on ports of their own.

Owns starting, waiting until one answers, and its end. It must not know what they are for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.proxy_process import end_with_us
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

READY_WITHIN_S = 30.0
END_WITHIN_S = 15.0


def found(name: str, come_by: str) -> str:
    """The program's path. Without it the test is skipped and says so; in CI it fails."""
    path = shutil.which(name)
    if path is None:
        reason = f"no {name} here: {come_by}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, for now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def said(*command: str) -> tuple[int, str]:
    """The exit code of a command that ends by itself, and all that it has printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), READY_WITHIN_S)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def scraped(address: str, metric: str) -> float:
    """The sum of all series of a metric in Prometheus' text format; 0 if there is none."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    samples = [sample for family in families for sample in family.samples]
    return sum(one.value for one in samples if one.name in {metric, f"{metric}_total"})


@asynccontextmanager
async def running(
    command: Sequence[str], ready_url: str, log: Path, environment: Mapping[str, str]
) -> AsyncIterator[None]:
    """The program from the moment at which its `ready_url` answers 200, until it has ended on SIGTERM."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            preexec_fn=end_with_us,
        )
    try:
        async with aiohttp.ClientSession() as session:

            async def ready() -> bool:
                assert process.returncode is None, f"{command[0]} has ended:\n{_end_of(log)}"
                try:
                    async with session.get(ready_url) as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await eventually(ready, READY_WITHIN_S)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_of(log: Path) -> str:
    return log.read_text()[-4000:]
