"""A collector behind TLS: it is sent to only where it proves who it is, and learns who we are."""

from __future__ import annotations

import asyncio
import ssl
from threading import Event
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider

from proxy.config.schema import Telemetry
from proxy.telemetry.otlp import Collector, ExportError
from tests.certificates import Authority
from tests.e2e.otlp_receiver import otlp_receiver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def body() -> bytes:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("GET")
    span.end()
    message: bytes = encode_spans([span]).SerializeToString()  # type: ignore[list-item]
    return message


async def sent(url: str, tls: Mapping[str, object]) -> None:
    """One message; in a thread, as always. One attempt."""
    collector, once = Collector(Telemetry.read({"otlp_endpoint": url, "tls": dict(tls)}), "traces"), Event()
    once.set()
    try:
        await asyncio.to_thread(collector.send, body(), once)
    finally:
        collector.close()


async def test_a_collector_that_is_believed_gets_spans_and_knows_who_sends_them(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    server, client = ours.signs(["127.0.0.1"]), ours.signs(subject="proxy")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ours.file))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    believed = {"ca_file": str(ours.file)}
    async with otlp_receiver(context) as receiver:
        await sent(receiver.url, {**believed, **client.table})
        assert [span.name for span in receiver.spans] == ["GET"]
        with pytest.raises(ExportError):  # nobody vouches for us
            await sent(receiver.url, believed)
        assert len(receiver.spans) == 1


async def test_a_collector_that_is_not_believed_gets_nothing(tmp_path: Path) -> None:
    ours, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "stranger")
    pair = stranger.signs(["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    async with otlp_receiver(context) as receiver:
        with pytest.raises(ExportError, match="certificate"):
            await sent(receiver.url, {"ca_file": str(ours.file)})
        assert receiver.exports == []
