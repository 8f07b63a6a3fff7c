"""Backends that speak TLS: verified unless that is switched off, by the name that is asked for."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.certificates import Authority
from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy
from tests.e2e.raw_backend import RawBackend
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.test_reload import reloaded
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.certificates import Pair
    from tests.e2e.raw_backend import Answer, Exchange

USER = (b"X-User-Id", b"a")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for the backends."""
    return Authority(tmp_path_factory.mktemp("authority"))


def shows(pair: Pair) -> ssl.SSLContext:
    """A server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secure(authority: Authority) -> AsyncIterator[RawBackend]:
    """v2 over TLS, as api.internal; it wants to see a client's certificate."""
    backend = RawBackend("v2")
    backend.tls = shows(authority.signs(["api.internal"]))
    backend.tls.verify_mode = ssl.CERT_REQUIRED
    backend.tls.load_verify_locations(authority.file)
    await backend.listen()
    yield backend
    await backend.refuse()


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Table:
    """What the proxy needs to know to be served by `secure`."""
    ours = authority.signs(subject="proxy")
    return {"ca_file": str(authority.file), "server_name": "api.internal", **ours.table}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend],
    secure: RawBackend,
    tls: Table,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ProxyProcess]:
    """v2 over TLS, with a probe; v1 without."""
    probe = {"path": "/healthz", "interval": "50ms", "unhealthy_after": 1}
    v2 = {"tls": tls, "health": probe, "idle_timeout": "2s"}
    document = config(backends[0].url, secure.url, v2=v2)
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest.fixture
def v2(secure: RawBackend) -> RawBackend:
    """As it is at first."""
    secure.forget()
    return secure


async def test_requests_bodies_and_kept_connections_work_as_without(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.echo
    async with connected(proxy.listen) as client:
        for body in (b"x", answers.PATTERN * 10, b"y" * 70_000):
            answer = await client.ask("POST", "/", (USER,), body)
            assert (answer.status, answer.backend, answer.length) == (200, b"v2", len(body))
    assert len({one.connection for one in v2.received if one.method == "POST"}) == 1
    v2.answer = answers.large(8 << 20, chunks=True)
    assert (await fetch(proxy.listen, "GET", "/", (USER,))).length == 8 << 20


async def test_probes_speak_tls_too(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    await eventually(lambda: any(one.target == "/healthz" for one in v2.received))
    assert all(one["healthy"] for one in (await proxy.status())["endpoints"])


@pytest.mark.parametrize("fault", [answers.BODY_SHORT, answers.CHUNKS_RESET, answers.UNTIL_RESET])
async def test_a_break_in_the_body_is_seen(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: Answer
) -> None:
    v2.answer = fault
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert answer.outcome in {Outcome.SHORT, Outcome.RESET}


async def test_a_body_up_to_the_end_is_whole_only_if_the_end_was_said(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """RFC 9112 section 9.8: without a closing alert, whoever cuts the connection cuts the answer."""
    v2.answer = answers.UNTIL_CLOSE
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.complete, answer.body) == (True, b"to the end")

    async def cut(exchange: Exchange) -> None:
        await exchange.send(answers.UNSIZED + b"to the e")
        exchange.ended = True
        exchange.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)  # FIN beneath TLS

    v2.answer = cut
    assert not (await fetch(proxy.listen, "GET", "/", (USER,))).complete


async def test_a_client_that_leaves_takes_its_connection_along(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.HANG
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/gone", (USER,)))
        await eventually(lambda: any(one.target == "/gone" for one in v2.received))
    async with stopwatch(proxy.tree()) as watch:
        await eventually(lambda: v2.open_connections <= 1)  # a probe may hang as well
    assert watch.own_s < 0.5, watch


UNSOUND: dict[str, tuple[Table, str]] = {
    "another authority": ({"ca_file": None}, "local issuer certificate|self-signed"),
    "no name in it": ({"server_name": None}, "IP address mismatch"),
    "another name": ({"server_name": "other.internal"}, "Hostname mismatch"),
    "too old a version": ({"min_version": "1.3"}, "(?i)version|reset|closed|aborted"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def changing(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """A proxy that each test gives another v2."""
    document = config(backends[0].url, backends[1].url)
    async with running_proxy(document, tmp_path_factory.mktemp("changing")) as process:
        yield process


async def connect_errors(proxy: ProxyProcess) -> int:
    """How many of v2 have been counted so far."""
    told: int = (await proxy.settled())["paths"]["v2"]["errors_by_class"].get("connect", 0)
    return told


async def is_v1s(proxy: ProxyProcess) -> bool:
    """Whether v1 answers in place of v2, whatever the method: v2 has not seen a byte of HTTP."""
    for method in ("GET", "POST"):
        async with stopwatch(proxy.tree()) as watch:
            answer = await fetch(proxy.listen, method, "/", (USER,), b"content")
        assert answer.status == 200
        assert watch.own_s < 0.9, watch
        if answer.backend != b"v1":
            return False
    return True


async def test_what_cannot_be_verified_is_a_connect_error_that_the_log_explains_once(
    changing: ProxyProcess, authority: Authority, v1: RawBackend
) -> None:
    backend = RawBackend("v2")
    backend.tls = shows(authority.signs(["api.internal"]))
    backend.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    await backend.listen()
    sound: Table = {"ca_file": str(authority.file), "server_name": "api.internal"}
    await reloaded(changing, config(v1.url, backend.url, v2={"tls": sound}))
    assert not await is_v1s(changing)
    before = await connect_errors(changing)
    for change, reason in UNSOUND.values():
        told = len(changing.log.read_text())
        tls = {key: value for key, value in {**sound, **change}.items() if value is not None}
        await reloaded(changing, config(v1.url, backend.url, v2={"tls": tls}))
        assert await is_v1s(changing)
        [line] = changing.log.read_text()[told:].splitlines()
        assert "TLS handshake failed" in line
        assert re.search(reason, line), line
    assert await connect_errors(changing) == before + 2 * len(UNSOUND)
    assert backend.count() == 1
    await backend.refuse()


async def test_garbage_and_silence_in_place_of_a_handshake(changing: ProxyProcess, v1: RawBackend) -> None:
    """A backend that speaks no TLS takes the hello for a request, and answers or waits for the rest of it."""
    hellos: list[bytes] = []

    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(garble, "127.0.0.1", 0)
    garbling = "https://{}:{}".format(*server.sockets[0].getsockname())
    waits = RawBackend("waits")
    await waits.listen()
    silent = waits.url.replace("http:", "https:")
    before = await connect_errors(changing)
    for url in (garbling, silent):
        v2 = {"tls": {"verify": False}, "connect_timeout": "300ms"}
        await reloaded(changing, config(v1.url, url, v2=v2))
        assert await is_v1s(changing)
    assert await connect_errors(changing) == before + 4
    await eventually(lambda: waits.open_connections == 0)
    assert len(hellos) == 2
    server.close()
    await server.wait_closed()
    await waits.refuse()


async def test_a_reload_reads_the_files_again(
    changing: ProxyProcess, authority: Authority, v1: RawBackend, tmp_path: Path
) -> None:
    """The configuration is the same; the authority that signs has changed."""
    other = Authority(tmp_path, "other")
    believed = tmp_path / "believed.pem"
    believed.write_bytes(other.file.read_bytes())
    backend = RawBackend("v2")
    backend.tls = shows(authority.signs(["127.0.0.1"]))
    await backend.listen()
    document = config(v1.url, backend.url, v2={"tls": {"ca_file": str(believed)}})
    await reloaded(changing, document)
    assert await is_v1s(changing)
    believed.write_bytes(authority.file.read_bytes())
    await reloaded(changing, document)
    assert not await is_v1s(changing)
    await backend.refuse()
