"""An OTLP/HTTP receiver on loopback that keeps what it gets, and can be as bad as a collector in trouble.

Owns listening and the answers; what is sent stands in `otlp.py`. A test sets `receiver.mood` and reads
`receiver.spans` and `receiver.points`, which hold only what was accepted: what a sender may call delivered.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from aiohttp import web
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.e2e.otlp import Point, Span, points_of, spans_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

PROTOBUF = "application/x-protobuf"
MOST_BYTES = 64 << 20


class Mood(Enum):
    """How exports are answered."""

    ACCEPT = "accept"
    HANG = "hang"  # the request is read and nothing is said, until `let_go`
    UNAVAILABLE = "unavailable"  # 503: to be tried again
    REJECT = "reject"  # 400: not to be tried again


@dataclass(frozen=True, slots=True)
class Export:
    """One request, noted as it came, answered or not; names of headers in lower case."""

    target: str
    headers: dict[str, str]
    body_bytes: int  # without its Content-Encoding
    mood: Mood


class OtlpReceiver:
    """A collector's front, on one port of the loopback interface."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.mood = Mood.ACCEPT
        self.retry_after_s: int | None = None  # sent with 503
        self.exports: list[Export] = []
        self.spans: list[Span] = []
        self.points: list[Point] = []
        self._port = 0
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._released = asyncio.Event()

    def __repr__(self) -> str:
        return f"<OtlpReceiver {self.url} {self.mood.value} exports={len(self.exports)}>"

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        """Starts to accept; after `refuse`, on the same port as before."""
        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_post("/v1/traces", self._traces)
        application.router.add_post("/v1/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Stops to listen and drops every connection: from now on connecting is refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def let_go(self) -> None:
        """Those that hang are answered, by the mood that it has now."""
        self._released.set()
        self._released = asyncio.Event()

    def forget(self) -> None:
        """Accepting, with empty records, for the next test."""
        self.mood = Mood.ACCEPT
        self.retry_after_s = None
        self.let_go()
        self.exports.clear()
        self.spans.clear()
        self.points.clear()

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace, by their start."""
        return sorted((one for one in self.spans if one.trace_id == trace_id), key=lambda one: one.start_ns)

    def latest(self, metric: str) -> list[Point]:
        """The last point of each series of a metric, whoever sent it."""
        series = {
            repr((sorted(point.attributes.items()), sorted(point.resource.items()))): point
            for point in self.points
            if point.metric == metric
        }
        return list(series.values())

    async def _traces(self, request: web.Request) -> web.Response:
        body = await request.read()
        if (refusal := await self._refusal(request, body)) is not None:
            return refusal
        try:
            self.spans += spans_of(ExportTraceServiceRequest.FromString(body))
        except DecodeError as error:
            return web.Response(status=400, text=str(error))
        return _taken(ExportTraceServiceResponse().SerializeToString())

    async def _metrics(self, request: web.Request) -> web.Response:
        body = await request.read()
        if (refusal := await self._refusal(request, body)) is not None:
            return refusal
        try:
            self.points += points_of(ExportMetricsServiceRequest.FromString(body))
        except DecodeError as error:
            return web.Response(status=400, text=str(error))
        return _taken(ExportMetricsServiceResponse().SerializeToString())

    async def _refusal(self, request: web.Request, body: bytes) -> web.Response | None:
        """Notes the export; nothing if it is to be accepted."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.exports.append(Export(request.path, headers, len(body), self.mood))
        while self.mood is Mood.HANG:
            await self._released.wait()
        if self.mood is Mood.UNAVAILABLE:
            after = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
            return web.Response(status=503, headers=after)
        if self.mood is Mood.REJECT:
            return web.Response(status=400)
        return None if request.content_type == PROTOBUF else web.Response(status=415)


@asynccontextmanager
async def otlp_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[OtlpReceiver]:
    """A receiver that listens for a while."""
    receiver = OtlpReceiver(tls)
    await receiver.listen()
    try:
        yield receiver
    finally:
        await receiver.refuse()


def _taken(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=PROTOBUF)
