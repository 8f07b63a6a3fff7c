"""TLS towards clients, as strangers find it: versions, ciphers, names, resumption, client certificates.

What matters is asked through Python's ssl; where there is an `openssl`, it is asked the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority, Pair
from tests.e2e import answers
from tests.e2e.raw_client import LIMIT_S, Outcome, connected, request
from tests.e2e.tls_client import OPENSSL, s_client, secured, shown, subject_of, trusting
from tests.e2e.waiting import standstill, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend
    from tests.e2e.raw_client import Address

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="asked through Python's ssl already")

CLOSING = (b"Connection", b"close")


@dataclass(frozen=True, slots=True)
class Office:
    """The certificates of this module. `named` and `named_rsa` hold the same names."""

    authority: Authority
    first: Pair
    named: Pair
    named_rsa: Pair
    client: Pair


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    authority = Authority(tmp_path_factory.mktemp("office"))
    return Office(
        authority,
        authority.signs(["localhost", "127.0.0.1"], subject="first"),
        authority.signs(["named.example", "*.wild.example"], subject="named"),
        authority.signs(["named.example", "*.wild.example"], subject="named-rsa", with_rsa=True),
        authority.signs(subject="client", uri="spiffe://example/client"),
    )


@pytest.fixture(scope="module")
def settings(office: Office) -> dict[str, Table]:
    return {
        "listen": {
            "header_timeout": "1s",
            "tls": {
                "certificates": [office.first.table, office.named.table, office.named_rsa.table],
                "client_ca": str(office.authority.file),
                "client_auth": "optional",
            },
        }
    }


async def refused(proxy: ProxyProcess) -> dict[str, int]:
    found: dict[str, int] = (await proxy.get("/api/v1/status"))["refused"]
    return found


# ... requests


async def test_requests_and_answers_of_any_size_come_through_on_one_session(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    v1.answer = answers.echo
    body = answers.PATTERN * 12
    async with secured(proxy.listen, trusting(office.authority.file)) as client:
        assert (await client.ask("POST", "/a", body=b"small")).body == b"small"
        assert (await client.ask("POST", "/b", body=body)).body == body
        v1.answer = answers.large(3 << 20, chunks=True)
        answer = await client.ask("GET", "/c")
        assert (answer.complete, answer.length) == (True, 3 << 20)
        assert shown(client).selected_alpn_protocol() is None
    assert v1.received[0].get(b"x-forwarded-proto") == b"https"
    assert b"proto=https" in (v1.received[0].get(b"forwarded") or b"")


async def test_http_1_1_is_what_is_agreed_on(proxy: ProxyProcess, office: Office) -> None:
    context = trusting(office.authority.file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with secured(proxy.listen, context) as client:
        assert shown(client).selected_alpn_protocol() == "http/1.1"


async def test_a_slow_reader_gets_all_of_a_long_answer(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    sent = 0

    async def large(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (96 << 16))
        for _ in range(96):
            await exchange.send(answers.PATTERN)
            sent += 1

    v1.answer = large
    async with secured(proxy.listen, trusting(office.authority.file)) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request("GET", "/"))
        await standstill(lambda: sent)  # the buffers between are full
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.response()
        assert (answer.complete, answer.length) == (True, 6 << 20)


async def test_idle_sessions_keep_no_memory_of_what_they_have_carried(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    v1.answer = answers.large(256 << 10)
    sessions, body = 50, answers.PATTERN * 4
    async with contextlib.AsyncExitStack() as stack:

        async def carry() -> None:
            client = await stack.enter_async_context(secured(proxy.listen, trusting(office.authority.file)))
            assert (await client.ask("POST", "/", body=body)).complete

        await carry()
        [root, *_] = proxy.tree()
        before = root.memory_info().rss
        for _ in range(sessions):
            await carry()
        assert (root.memory_info().rss - before) / sessions < 100 << 10


async def test_an_end_that_is_announced_is_told_in_tls_too(proxy: ProxyProcess, office: Office) -> None:
    """close_notify, so that nobody can cut an answer short unnoticed (RFC 8446 section 6.1)."""
    async with secured(proxy.listen, trusting(office.authority.file)) as client:
        assert (await client.ask("GET", "/", (CLOSING,))).status == 200
        assert await client.ended() is Outcome.CLOSED
        assert shown(client).version() == "TLSv1.3"


async def test_a_refused_request_is_answered_and_the_session_ended(
    proxy: ProxyProcess, office: Office
) -> None:
    async with secured(proxy.listen, trusting(office.authority.file)) as client:
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.response()).status == 400
        assert await client.ended() is Outcome.CLOSED


# ... versions and ciphers


@dataclass(frozen=True, slots=True)
class Spoken:
    """A session that is over."""

    version: str | None
    reused: bool | None
    session: ssl.SSLSession | None  # resumes it


def handshake(
    address: Address, context: ssl.SSLContext, name: str = "localhost", session: ssl.SSLSession | None = None
) -> Spoken:
    """One request on a session of its own. Raises `ssl.SSLError`."""
    with socket.create_connection(address, LIMIT_S) as plain:
        secure = context.wrap_socket(plain, server_hostname=name, session=session)
        try:
            secure.sendall(request("GET", "/", (CLOSING,)))
            while secure.recv(4096):
                pass
            return Spoken(secure.version(), secure.session_reused, secure.session)
        finally:
            secure.close()


def speaking(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    context = trusting(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    return context


@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1"])
async def test_an_old_version_is_refused(proxy: ProxyProcess, name: str) -> None:
    context = speaking(getattr(ssl.TLSVersion, name))
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        await asyncio.to_thread(handshake, proxy.listen, context)


@pytest.mark.parametrize("name", ["TLSv1_2", "TLSv1_3"])
async def test_a_present_version_is_spoken(proxy: ProxyProcess, name: str) -> None:
    context = speaking(getattr(ssl.TLSVersion, name))
    assert (await asyncio.to_thread(handshake, proxy.listen, context)).version == name.replace("_", ".")


WEAK = [
    *("AES128-SHA", "AES256-SHA256", "AES128-GCM-SHA256"),  # no forward secrecy
    *("ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256"),  # CBC
    *("DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA"),
    *("ADH-AES128-SHA", "AECDH-AES128-SHA", "NULL-SHA256", "ECDHE-RSA-NULL-SHA", "PSK-AES128-CBC-SHA"),
    *("DES-CBC3-SHA", "RC4-SHA", "EXP-DES-CBC-SHA", "CAMELLIA128-SHA", "SEED-SHA"),
]
STRONG = [
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    *("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"),
]


async def test_weak_ciphers_are_refused_one_by_one_and_strong_ones_spoken(proxy: ProxyProcess) -> None:
    def spoken(cipher: str) -> bool | None:
        try:
            context = speaking(ssl.TLSVersion.TLSv1_2, f"{cipher}:@SECLEVEL=0")
        except ssl.SSLError:
            return None  # our own library no longer knows it
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            handshake(proxy.listen, context, "named.example")
            return True
        return False

    found = await asyncio.to_thread(lambda: {cipher: spoken(cipher) for cipher in (*WEAK, *STRONG)})
    assert [cipher for cipher in WEAK if found[cipher]] == []
    assert len([cipher for cipher in WEAK if found[cipher] is False]) >= 8
    assert [cipher for cipher in STRONG if found[cipher] is not True] == []


@needs_openssl
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("-tls1",), "alert protocol version"),
        (("-tls1_1",), "alert protocol version"),
        (("-tls1_2",), "Protocol version: TLSv1.2"),
        (("-tls1_3",), "Protocol version: TLSv1.3"),
        (("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"), "handshake failure"),
        (("-tls1_2", "-comp"), "Protocol version: TLSv1.2"),
    ],
)
async def test_openssl_finds_the_same(proxy: ProxyProcess, arguments: tuple[str, ...], word: str) -> None:
    ciphers = () if "-cipher" in arguments or "-tls1_3" in arguments else ("-cipher", "ALL:@SECLEVEL=0")
    code, told = await s_client(proxy.listen, "-brief", *arguments, *ciphers)
    assert word in told
    assert (code == 0) is word.startswith("Protocol")


# ... names


@pytest.mark.parametrize(
    ("asked", "subject"),
    [
        ("localhost", "first"),
        ("named.example", "named"),
        ("NAMED.example", "named"),
        ("a.wild.example", "named"),
        ("wild.example", "first"),
        ("a.b.wild.example", "first"),
        ("nobody.example", "first"),
        (None, "first"),
    ],
)
async def test_the_certificate_is_chosen_by_name(
    proxy: ProxyProcess, office: Office, asked: str | None, subject: str
) -> None:
    context = trusting(office.authority.file)
    context.check_hostname = False
    async with secured(proxy.listen, context, asked) as client:
        assert subject_of(shown(client)) == subject
        assert (await client.ask()).status == 200


@pytest.mark.parametrize(("kind", "subject"), [("RSA", "named-rsa"), ("ECDSA", "named")])
async def test_a_name_with_two_kinds_of_key_shows_the_one_that_the_client_knows(
    proxy: ProxyProcess, office: Office, kind: str, subject: str
) -> None:
    context = trusting(office.authority.file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
    async with secured(proxy.listen, context, "named.example") as client:
        assert subject_of(shown(client)) == subject


@needs_openssl
async def test_openssl_is_shown_the_certificate_of_the_name(proxy: ProxyProcess) -> None:
    _, told = await s_client(
        proxy.listen, "-brief", "-servername", "x.wild.example", "-sigalgs", "ECDSA+SHA256"
    )
    assert "Peer certificate: CN = named\n" in told
    _, told = await s_client(proxy.listen, "-brief", "-noservername")
    assert "Peer certificate: CN = first\n" in told


# ... resumption


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", ["localhost", "named.example"])
async def test_a_session_is_resumed(proxy: ProxyProcess, office: Office, version: str, name: str) -> None:
    context = trusting(office.authority.file)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)

    first = await asyncio.to_thread(handshake, proxy.listen, context, name)
    second = await asyncio.to_thread(handshake, proxy.listen, context, name, first.session)
    assert (first.reused, second.reused) == (False, True)


@needs_openssl
async def test_openssl_resumes_a_session(proxy: ProxyProcess, tmp_path: Path) -> None:
    _, told = await s_client(proxy.listen, "-tls1_2", "-reconnect")
    assert told.count("\nReused, ") == 5
    kept, says = str(tmp_path / "session"), request("GET", "/", (CLOSING,))
    await s_client(proxy.listen, "-tls1_3", "-sess_out", kept, "-ign_eof", says=says)
    _, told = await s_client(proxy.listen, "-tls1_3", "-sess_in", kept, "-ign_eof", says=says)
    assert "\nReused, TLSv1.3" in told


# ... clients' certificates

CERT = b"x-forwarded-client-cert"
FORGED = (b"X-Forwarded-Client-Cert", b'Hash=00;Subject="CN=root"')


async def test_a_verified_client_is_told_to_the_backend(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    context = trusting(office.authority.file, office.client)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(office.client.certificate.read_text())).hexdigest()
    async with secured(proxy.listen, context) as client:
        assert (await client.ask("GET", "/", (FORGED,))).status == 200
        assert (await client.ask("GET", "/")).status == 200
    told = f'Hash={digest};Subject="CN=client";URI=spiffe://example/client'.encode()
    assert [one.get(CERT) for one in v1.received] == [told, told]


async def test_a_client_without_a_certificate_cannot_claim_one(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    async with secured(proxy.listen, trusting(office.authority.file)) as client:
        assert (await client.ask("GET", "/", (FORGED,))).status == 200
        assert (await client.ask("GET", "/", ((b"X_Forwarded_Client_Cert", b"x"),))).status in {200, 400}
    assert [one.get(CERT) for one in v1.received] == [None] * len(v1.received)
    assert all(b"x_forwarded_client_cert" not in dict(one.head.fields) for one in v1.received)


async def test_a_certificate_of_somebody_else_ends_the_handshake(
    proxy: ProxyProcess, v1: RawBackend, office: Office, tmp_path: Path
) -> None:
    v1.forget()
    before = (await refused(proxy))["tls"]
    expired = office.authority.signs(subject="late", expired=True)
    for identity in (Authority(tmp_path, "other").signs(subject="client"), expired):
        with contextlib.suppress(OSError):  # in TLS 1.3 the client learns of it when it reads
            async with secured(proxy.listen, trusting(office.authority.file, identity)) as client:
                assert not (await client.ask()).complete
    assert v1.count() == 0
    assert (await refused(proxy))["tls"] == before + 2


# ... what is no TLS


async def test_plain_http_is_told_so(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.forget()
    before = (await refused(proxy))["malformed"]
    async with connected(proxy.listen) as client:
        answer = await client.ask()
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.ended() is Outcome.CLOSED
    assert v1.count() == 0
    assert (await refused(proxy))["malformed"] == before + 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\x05garbage-of-a-length",
        b"\x16\x03\x01\xff\xff" + b"x" * 100_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x2e\x01\x00\x02" + bytes(50),  # SSL 2
        bytes(1000),
    ],
)
async def test_garbage_is_ended_and_counted(proxy: ProxyProcess, garbage: bytes) -> None:
    before = (await refused(proxy))["tls"]
    async with connected(proxy.listen) as client:
        with contextlib.suppress(OSError):
            await client.send(garbage)
            await asyncio.wait_for(client.reader.read(), LIMIT_S)
    assert (await refused(proxy))["tls"] == before + 1


async def test_a_name_that_is_no_text_is_refused_and_leaves_no_traceback(proxy: ProxyProcess) -> None:
    hello = client_hello("abcdefg.example").replace(b"abcdefg", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9")
    async with connected(proxy.listen) as client:
        await client.send(hello)
        assert (await asyncio.wait_for(client.reader.read(), LIMIT_S))[:1] == b"\x15"
    assert proxy.log.read_text() == ""


async def test_a_handshake_that_stands_still_is_ended(proxy: ProxyProcess) -> None:
    before = (await refused(proxy))["timeout"]

    async def begins(part: int) -> None:
        async with connected(proxy.listen) as client, stopwatch(proxy.tree()) as watch:
            await client.send(client_hello("localhost")[:part])
            assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert watch.total_s > 0.9, watch
        assert watch.own_s < 4, watch

    await asyncio.gather(*map(begins, (0, 1, 40)))
    assert (await refused(proxy))["timeout"] == before + 3


async def test_a_handshake_that_is_sent_slowly_takes_less_than_10_kib(proxy: ProxyProcess) -> None:
    half = client_hello("localhost")[:40]
    async with contextlib.AsyncExitStack() as stack:

        async def resident_with(more: int) -> int:
            for _ in range(more):
                await (await stack.enter_async_context(connected(proxy.listen))).send(half)
            assert (await asyncio.to_thread(handshake, proxy.listen, trusting(None))).version
            return int(proxy.tree()[0].memory_info().rss)

        before = await resident_with(50)
        assert (await resident_with(150) - before) / 150 < 10 << 10


async def test_a_record_that_was_tampered_with_ends_the_connection(
    proxy: ProxyProcess, v1: RawBackend, office: Office
) -> None:
    v1.forget()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = trusting(office.authority.file).wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with connected(proxy.listen) as client:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send(outgoing.read())
                incoming.write(await asyncio.wait_for(client.reader.read(1 << 16), LIMIT_S))
        session.write(request("GET", "/"))
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        await client.send(bytes(record))
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(client.reader.read(), LIMIT_S)
    assert v1.count() == 0


def client_hello(name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = trusting(None).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()
