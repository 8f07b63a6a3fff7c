"""A running OpenTelemetry Collector, by deploy/otel/collector.yaml, and what it has written down.

Owns where it listens and how its files are read. It must not know what was sent.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e.otlp import metrics_message, points_of, spans_of, trace_message
from tests.e2e.proxy_process import REPOSITORY
from tests.interop.building import built_collector
from tests.interop.programs import found, free_ports, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.e2e.otlp import Point, Span

CONFIGURATION = REPOSITORY / "deploy/otel/collector.yaml"
RESTING_S = 1.0
"""The batch processor waits for so long, and the file exporter as long again."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where it listens, and where it writes."""

    otlp_url: str
    own_metrics: str  # host and port of what it says of itself
    directory: Path

    def spans(self) -> list[Span]:
        """All spans that it has written so far."""
        return [span for one in self._documents("traces.jsonl") for span in spans_of(trace_message(one))]

    def points(self) -> list[Point]:
        """All points of metrics that it has written so far, the oldest first."""
        return [
            point for one in self._documents("metrics.jsonl") for point in points_of(metrics_message(one))
        ]

    def _documents(self, name: str) -> list[Any]:
        """The whole lines of a file; the last one may still be in the making."""
        file = self.directory / name
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


async def collector_program() -> Path:
    """Its path, built first if need be."""
    go = found("go", "the collector is built by Go's toolchain, 1.26 or newer")
    return await asyncio.to_thread(built_collector, go)


@asynccontextmanager
async def running_collector(directory: Path, ports: Sequence[int] = ()) -> AsyncIterator[Collector]:
    """One that writes into the directory, and listens on these four ports or on free ones."""
    program = await collector_program()
    http, grpc, health, own = ports or free_ports(4)
    environment = {
        "OTELCOL_HTTP": f"127.0.0.1:{http}",
        "OTELCOL_GRPC": f"127.0.0.1:{grpc}",
        "OTELCOL_HEALTH": f"127.0.0.1:{health}",
        "OTELCOL_METRICS_PORT": str(own),
        "OTELCOL_DIRECTORY": str(directory),
    }
    command = (str(program), "--config", str(CONFIGURATION))
    ready_url = f"http://127.0.0.1:{health}/"
    async with running(command, ready_url, directory / "collector.log", environment):
        yield Collector(f"http://127.0.0.1:{http}", f"127.0.0.1:{own}", directory)
