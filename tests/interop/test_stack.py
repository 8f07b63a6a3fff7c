"""What deploy/compose.yaml starts, as processes here: the same files, with the addresses exchanged."""

from __future__ import annotations

import hashlib
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from proxy.demo.faults import Fault
from proxy.demo.processes import BackendProcess
from tests.e2e.proxy_process import REPOSITORY
from tests.e2e.waiting import eventually
from tests.interop.programs import free_ports, running
from tests.interop.prometheus import running_prometheus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.interop.collector import Collector

CONFIGURATION = REPOSITORY / "deploy/compose/proxy.toml"
TOKEN = "a token of nobody"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
SEEN_S = 15.0


@dataclass(frozen=True, slots=True)
class Stack:
    """The proxy among its backends; host and port of both its doors."""

    listen: str
    admin: str
    v2: BackendProcess


@asynccontextmanager
async def running_stack(directory: Path, collector: Collector) -> AsyncIterator[Stack]:
    """The proxy by compose's file, in front of sample backends."""
    listen, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
    async with BackendProcess("v1") as v1, BackendProcess("v2") as v2:
        environment = {
            "DUALPATH__ADMIN__TOKENS__0__SHA256": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "DUALPATH__LISTEN__ADDRESS": listen,
            "DUALPATH__ADMIN__ADDRESS": admin,
            "DUALPATH__STORE__URL": f"sqlite:///{directory / 'dualpath.db'}",
            "DUALPATH__TELEMETRY__OTLP_ENDPOINT": collector.otlp_url,
            "DUALPATH__BACKENDS__V1__ENDPOINTS": f'["{v1.url}"]',
            "DUALPATH__BACKENDS__V2__ENDPOINTS": f'["{v2.url}"]',
        }
        command = (sys.executable, "-m", "proxy", "serve", "-c", str(CONFIGURATION))
        async with running(command, f"http://{admin}/readyz", directory / "proxy.log", environment):
            yield Stack(listen, admin, v2)


async def test_v2_breaks_and_everybody_sees_it(collector: Collector, tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, collector) as stack,
        running_prometheus(
            tmp_path, {"dualpath": stack.admin, "collector": collector.own_metrics}
        ) as prometheus,
        aiohttp.ClientSession() as session,
    ):
        await check_doors(stack, session)
        asked = 0

        async def ask() -> None:
            nonlocal asked
            asked += 1
            user = {"X-User-Id": f"user-{asked % 50}"}
            async with session.get(f"http://{stack.listen}/restaurants", headers=user) as answer:
                assert answer.status == 200

        for _ in range(60):
            await ask()
        await stack.v2.turn(Fault.ERRORS, session)

        async def rolled_back() -> bool:
            for _ in range(10):
                await ask()
            return await prometheus.value('dualpath_rollout_state{state="rolled_back"} == 1') is not None

        await eventually(rolled_back, SEEN_S)
        answers = 'sum(dualpath_client_answers_total{outcome="ok"})'

        async def all_counted() -> bool:
            return await prometheus.value(answers) == asked

        await eventually(all_counted, SEEN_S)
        fallbacks = await prometheus.value("sum(dualpath_fallbacks_total)")
        assert fallbacks
        await eventually(lambda: told_of_fallbacks(collector) == fallbacks, SEEN_S)
        await eventually(lambda: "rollback default" in {span.name for span in collector.spans()}, SEEN_S)
    assert "Traceback" not in (tmp_path / "proxy.log").read_text()


def told_of_fallbacks(collector: Collector) -> int:
    """How many requests that fell back the collector has heard of: all, though one in ten is sampled."""
    return len([span for span in collector.spans() if span.event("dualpath.fallback")])


async def check_doors(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Prometheus reads without a token, by the name that it has for the proxy; to act takes the token."""
    async with session.get(f"http://{stack.admin}/metrics", headers={"Host": "proxy:9900"}) as answer:
        assert answer.status == 200
    act = f"http://{stack.admin}/api/v1/rollouts/default/set"
    async with session.post(act, json={"percentage": 40}) as answer:
        assert answer.status == 401
    async with session.post(act, json={"percentage": 40}, headers=OPERATOR) as answer:
        assert answer.status == 200
