"""The admin's listener by itself, on real sockets: time-outs, bounds, TLS, and what is no request."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from proxy.admin import site, stream
from proxy.admin.application import Surroundings
from proxy.admin.site import AdminSite
from tests.admin.builders import EVENT, OPERATOR, TOKENS, config
from tests.admin.test_application import FakeController
from tests.certificates import Authority
from tests.e2e.raw_client import Outcome, RawClient, connected, request
from tests.e2e.waiting import eventually, stopwatch
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from proxy.controlplane.controller import Controller
    from proxy.model import Event
    from tests.e2e.raw_client import Address

HOST = (b"Host", b"localhost")
BEARER = (b"Authorization", f"Bearer {OPERATOR}".encode())
STATUS = "/api/v1/status"


class Long(FakeController):
    """One whose audit does not fit into any buffer."""

    async def events(self, **query: Any) -> Sequence[Event]:
        return [EVENT] * 10_000


class Served:
    """A site, its address, and who stands behind it."""

    def __init__(self, admin: AdminSite, address: Address) -> None:
        self.site = admin
        self.address = address

    @property
    def connections(self) -> int:
        return len(self.site._lobby)


@asynccontextmanager
async def served(controller: FakeController | None = None, **admin: Any) -> AsyncIterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        around = Surroundings("proxy-1", list, FakeClock())
        found = AdminSite(config(**admin), cast("Controller", controller or FakeController()), around)
        await found.start(sock)
        try:
            yield Served(found, sock.getsockname())
        finally:
            await found.stop()


# ... time-outs


async def test_who_says_nothing_or_only_half_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "HEAD_TIMEOUT_S", 0.2)
    async with served() as admin, connected(admin.address) as silent, connected(admin.address) as slow:
        await slow.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        for client in (silent, slow):
            assert await client.ended() is Outcome.CLOSED
        assert admin.connections == 0


async def test_who_does_not_read_the_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "ANSWER_TIMEOUT_S", 0.3)
    async with served(Long()) as admin, connected(admin.address, receive_buffer=4096, limit=1024) as client:
        await client.send(request("GET", "/api/v1/events", (HOST,)))
        await eventually(lambda: admin.connections == 1)
        assert await eventually(lambda: admin.connections == 0) > 0.2


# ... too many


async def test_one_place_has_so_many_connections_and_the_latest_are_served() -> None:
    async with served(tokens=TOKENS) as admin:
        known = await asyncio.open_connection(*admin.address)
        operator = RawClient(*known)
        assert (await operator.ask("GET", STATUS, (HOST, BEARER))).status == 200
        crowd = [await asyncio.open_connection(*admin.address) for _ in range(100)]
        await eventually(lambda: admin.connections == site._room()[1])
        async with connected(admin.address) as late:
            assert (await late.ask("GET", STATUS, (HOST, BEARER))).status == 200
        # Who has shown a token is not pushed out by those who have none.
        assert (await operator.ask("GET", STATUS, (HOST, BEARER))).status == 200
        for _, writer in (known, *crowd):
            writer.close()
        await eventually(lambda: admin.connections == 0)


@pytest.mark.parametrize(
    ("files", "room"), [(256, (8, 4)), (1024, (32, 16)), (65_536, (256, 32)), (-1, (256, 32))]
)
def test_where_files_are_few_so_are_the_connections(
    monkeypatch: pytest.MonkeyPatch, files: int, room: tuple[int, int]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))
    assert site._room() == room


# ... what is no request

NO_REQUEST = {
    "garbage": b"hello there\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "another version": b"GET / HTTP/9\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a long line": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long field": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
    "many fields": b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100 + b"\r\n",
    "two framings": b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an expectation": b"GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: a banana\r\n\r\n",
}


@pytest.mark.parametrize("case", NO_REQUEST)
async def test_what_is_no_request_is_a_problem_and_no_line_in_the_log(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as admin, connected(admin.address) as client:
        await client.send(NO_REQUEST[case])
        answer = await client.response()
        assert answer.status == (417 if case == "an expectation" else 400)
        assert answer.get(b"content-type") == b"application/problem+json"
        assert answer.get(b"server") == b"dualpath"
        assert answer.get(b"cache-control") == b"no-store"
        assert b"default-src 'none'" in (answer.get(b"content-security-policy") or b"")
        assert b"aiohttp" not in answer.body
        assert await client.ended() is Outcome.CLOSED
    assert caplog.text == ""


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with served() as admin, connected(admin.address) as client:
        fields = (HOST, (b"Content-Type", b"application/json"), (b"Content-Encoding", b"gzip"))
        answer = await client.ask(
            "POST", "/api/v1/rollouts/default/pause", fields, b"\x1f\x8b\x08" + b"\0" * 20
        )
        assert answer.status == 400


# ... other origins

PREFLIGHT = (
    (b"Origin", b"http://evil.example"),
    (b"Access-Control-Request-Method", b"POST"),
    (b"Access-Control-Request-Headers", b"authorization,content-type"),
)


@pytest.mark.parametrize("tokens", [(), TOKENS])
async def test_a_preflight_is_refused(tokens: Sequence[Any]) -> None:
    async with served(tokens=tokens) as admin, connected(admin.address) as client:
        for target in (STATUS, "/api/v1/rollouts/default/rollback", "/healthz", "*"):
            answer = await client.ask("OPTIONS", target, (HOST, *PREFLIGHT))
            assert answer.status in {400, 401, 403, 404, 405}, target
            assert not any(name.startswith(b"access-control") for name, _ in answer.head.fields)


# ... TLS


def pem(authority: Authority, *names: str) -> dict[str, Any]:
    return {"certificates": [authority.signs(names or ("localhost",)).table]}


async def shown(address: Address, context: ssl.SSLContext) -> tuple[bytes, bytes]:
    """The certificate that is shown in a handshake, and the first line of an answer."""
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
    try:
        writer.write(request("GET", "/healthz", (HOST, (b"Connection", b"close"))))
        line = await asyncio.wait_for(reader.readline(), 5)
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True), line
    finally:
        writer.close()


async def test_over_tls_it_answers_and_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.file))
    async with served(tls=pem(authority)) as admin:
        first, line = await shown(admin.address, context)
        assert line.startswith(b"HTTP/1.1 200")
        admin.site.follow(config(tls=pem(authority)))
        assert (await shown(admin.address, context))[0] != first


async def test_a_certificate_that_cannot_be_read_leaves_the_one_that_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.file))
    async with served(tls=pem(authority)) as admin:
        first, _ = await shown(admin.address, context)
        broken = pem(authority)
        (tmp_path / "broken.pem").write_text("nothing")
        broken["certificates"][0]["certificate"] = str(tmp_path / "broken.pem")
        admin.site.follow(config(tls=broken))
        assert "broken.pem" in caplog.text
        assert (await shown(admin.address, context))[0] == first


async def test_over_tls_a_client_without_its_certificate_is_not_heard(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    table = {**pem(authority), "client_ca": str(authority.file), "client_auth": "required"}
    context = ssl.create_default_context(cafile=str(authority.file))
    async with served(tls=table) as admin:
        with pytest.raises((OSError, AssertionError)):
            assert (await shown(admin.address, context))[1]
        mine = authority.signs(subject="operator")
        context.load_cert_chain(mine.certificate, mine.key)
        assert (await shown(admin.address, context))[1].startswith(b"HTTP/1.1 200")


async def test_a_handshake_that_does_not_come_is_cut_and_counts_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "HANDSHAKE_TIMEOUT_S", 0.2)
    async with (
        served(tls=pem(Authority(tmp_path))) as admin,
        connected(admin.address) as silent,
        connected(admin.address) as plain,
    ):
        await eventually(lambda: admin.connections == 2)
        await plain.send(request("GET", "/healthz", (HOST,)))
        await eventually(lambda: admin.connections == 0)
        assert await silent.ended() in {Outcome.CLOSED, Outcome.RESET}


# ... the stream of events


async def test_a_listener_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "TAKEN_WITHIN_S", 0.2)
    async with served(Long()) as admin, connected(admin.address, receive_buffer=4096, limit=1024) as client:
        await client.send(request("GET", f"{stream.STREAM}?after=0", (HOST,)))
        await eventually(lambda: admin.connections == 1)
        assert await eventually(lambda: admin.connections == 0) > 0.1


async def test_whoever_listens_does_not_keep_the_admin_from_leaving() -> None:
    async with served() as admin, connected(admin.address) as client:
        await client.send(request("GET", stream.STREAM, (HOST,)))
        assert (await client.interim()).get(b"content-type") == b"text/event-stream"
        async with stopwatch() as watch:
            await admin.site.leave()
        assert watch.own_s < 0.9, watch  # the second that others may have
