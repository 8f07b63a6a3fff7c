"""Webhooks on real sockets: what counts as an answer, how long it may take, and where nobody is sent."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from aiohttp.abc import AbstractResolver

from proxy.controlplane import webhook
from proxy.controlplane.webhook import WebhookError, Webhooks
from tests.certificates import Authority
from tests.e2e import answers
from tests.e2e.waiting import stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.abc import ResolveResult

    from tests.e2e.raw_backend import RawBackend

BODY = b'{"rollout":"default"}'


async def test_a_2xx_opens_and_the_body_arrives(v1: RawBackend) -> None:
    v1.answer = answers.echo
    await Webhooks().post(f"{v1.url}/gate?token=x", BODY, 5.0)
    (received,) = v1.received
    assert (received.method, received.target) == ("POST", "/gate?token=x")
    assert received.get(b"content-type") == b"application/json"
    assert received.body.length == len(BODY)


async def test_over_tls_those_are_believed_whom_the_system_believes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    believed, stranger = Authority(tmp_path, "believed"), Authority(tmp_path, "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(believed.file))
    webhook._context.cache_clear()
    for authority in (believed, stranger):
        pair = authority.signs(["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}/gate"
            within_s = 30.0 if authority is believed else 2.0
            asked = Webhooks(resolver=lambda: Leads("127.0.0.1")).post(url, BODY, within_s)
            if authority is believed:
                await asked
            else:
                with pytest.raises(WebhookError, match="cannot be reached"):
                    await asked
    webhook._context.cache_clear()


@pytest.mark.parametrize("line", ["204 No Content", "202 Accepted"])
async def test_any_2xx_will_do(v1: RawBackend, line: str) -> None:
    v1.answer = answers.status(line, b"")
    await Webhooks().post(v1.url, BODY, 5.0)


@pytest.mark.parametrize("line", ["403 Forbidden", "404 Not Found", "304 Not Modified"])
async def test_a_no_is_a_no(v1: RawBackend, line: str) -> None:
    v1.answer = answers.status(line)
    with pytest.raises(WebhookError, match=f"answered {line[:3]}"):
        await Webhooks().post(v1.url, BODY, 5.0)
    assert v1.count() == 1, "it is not asked again at once"


async def test_a_redirect_is_not_followed(v1: RawBackend, v2: RawBackend) -> None:
    v1.answer = answers.status("307 Temporary Redirect", b"", (b"Location", v2.url.encode()))
    with pytest.raises(WebhookError, match="answered 307"):
        await Webhooks().post(v1.url, BODY, 5.0)
    assert v2.count() == 0


async def test_what_may_pass_is_tried_again(v1: RawBackend) -> None:
    v1.answer = answers.in_turn(
        answers.status("503 Service Unavailable"), answers.RESET, answers.status("200 OK")
    )
    await Webhooks().post(v1.url, BODY, 10.0)
    assert v1.count() == 3


async def test_all_attempts_together_take_no_longer_than_they_may(v1: RawBackend) -> None:
    v1.answer = answers.status("500 Internal Server Error")
    async with stopwatch() as watch:
        with pytest.raises(WebhookError, match="answered 500"):
            await Webhooks().post(v1.url, BODY, 0.5)
    assert watch.own_s < 2.0, watch


async def test_one_that_hangs_is_given_up(v1: RawBackend) -> None:
    v1.answer = answers.held(asyncio.Event())
    with pytest.raises(WebhookError, match=r"did not answer within 0\.2 s"):
        await Webhooks().post(v1.url, BODY, 0.2)


async def test_one_that_is_not_there(v1: RawBackend) -> None:
    with socket.socket() as taken:  # nobody else gets the port, and nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(WebhookError, match="cannot be reached"):
            await Webhooks().post(f"http://127.0.0.1:{taken.getsockname()[1]}/", BODY, 0.3)


async def test_an_answer_without_an_end_is_read_no_further_than_needed(v1: RawBackend) -> None:
    v1.answer = answers.large(64 << 20)
    await Webhooks().post(v1.url, BODY, 5.0)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "224.0.0.1",
        "[ff02::1]",
        "0.0.0.0",
        "[::]",
        "2852039166",  # 169.254.169.254, as some resolvers read it
        "168.63.129.16",
        "192.0.0.192",
        "[fd00:ec2::23]",
        "[::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
    ],
)
async def test_where_secrets_are_kept_nobody_is_sent(host: str) -> None:
    with pytest.raises(WebhookError, match=r"may not be asked|is no URL"):
        await Webhooks().post(f"http://{host}:9/latest", BODY, 0.5)


async def test_what_a_name_leads_to_counts_and_not_the_name() -> None:
    with pytest.raises(WebhookError, match=r"may not be asked: 169\.254\.169\.254 is not in webhooks"):
        await Webhooks(resolver=lambda: Leads("169.254.169.254")).post("http://gate.test/", BODY, 2.0)


async def test_a_name_is_looked_up(v1: RawBackend) -> None:
    port = v1.address[1]
    await Webhooks(resolver=lambda: Leads("127.0.0.1")).post(f"http://gate.test:{port}/", BODY, 5.0)
    await Webhooks().post(f"http://localhost:{port}/", BODY, 5.0)
    assert v1.count() == 2


async def test_a_network_that_is_listed_is_dialled(v1: RawBackend) -> None:
    """0.0.0.0 is this machine, and forbidden unless it is listed."""
    url = f"http://0.0.0.0:{v1.address[1]}/"
    with pytest.raises(WebhookError, match="may not be asked"):
        await Webhooks().post(url, BODY, 1.0)
    assert v1.count() == 0
    await Webhooks([ipaddress.ip_network("0.0.0.0/32")]).post(url, BODY, 5.0)
    assert v1.count() == 1


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "unix:/run/x", "127.0.0.1:80"])
async def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(WebhookError, match="neither http"):
        await Webhooks().post(url, BODY, 1.0)


class Leads(AbstractResolver):
    """Every name leads to one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            {
                "hostname": host,
                "host": self._address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        """Nothing is open."""
