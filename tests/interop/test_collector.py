"""The collector itself: it takes what OpenTelemetry's own SDK makes, and its files say what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.test_otlp_receiver import a_server_and_its_attempt, exported
from tests.e2e.waiting import eventually
from tests.interop.collector import CONFIGURATION, collector_program
from tests.interop.programs import said

if TYPE_CHECKING:
    from tests.interop.collector import Collector


async def test_its_configuration_is_valid() -> None:
    code, output = await said(str(await collector_program()), "validate", "--config", str(CONFIGURATION))
    assert code == 0, output


async def test_what_an_sdk_sends_is_what_it_writes(collector: Collector) -> None:
    server, attempt = sent = a_server_and_its_attempt()
    assert await exported(collector.otlp_url, sent) == 200
    await eventually(lambda: len(collector.spans()) == 2)
    written_server, written_attempt = collector.spans()
    assert written_server.span_id == f"{server.context.span_id:016x}"
    assert written_attempt.parent_id == written_server.span_id
    assert written_attempt.trace_id == f"{attempt.context.trace_id:032x}"
    assert written_attempt.events[0].attributes == {"reason": "timeout", "statuses": [500, 502]}
    assert written_server.resource == {"service.name": "edge"}
