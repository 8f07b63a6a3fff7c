from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import orjson
import pytest

from proxy.admin_client import (
    AdminApiError,
    AdminClient,
    TlsFiles,
    open_admin,
    parse_admin_token,
    parse_admin_url,
    request_headers,
)
from proxy.model import Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from yarl import URL

URL_ = "http://127.0.0.1:9900"


class FakeResponse:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def read(self) -> bytes:
        return self._body


class FakeSession:
    """Answers requests from a script of responses and failures, and keeps what was asked."""

    def __init__(self, *script: tuple[int, object] | Exception) -> None:
        self._script = list(script)
        self.asked: list[tuple[str, str, bytes | None]] = []
        self.settings: dict[str, Any] = {}

    @asynccontextmanager
    async def request(
        self, method: str, target: URL, *, data: bytes | None, **settings: Any
    ) -> AsyncIterator[FakeResponse]:
        self.asked.append((method, str(target), data))
        self.settings = settings
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        status, body = step
        yield FakeResponse(status, body if isinstance(body, bytes) else orjson.dumps(body))


def client(session: FakeSession) -> AdminClient:
    return AdminClient(URL_, cast("aiohttp.ClientSession", session), retry_wait_s=0)


async def failure(question: Awaitable[object]) -> str:
    with pytest.raises(AdminApiError) as caught:
        await question
    return str(caught.value)


def refused_connection() -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(
        cast("Any", None), ConnectionRefusedError(errno.ECONNREFUSED, "raw words")
    )


# ... what is asked ...


async def test_status_is_asked_for() -> None:
    session = FakeSession((200, {"rollouts": []}))
    assert await client(session).status() == {"rollouts": []}
    assert session.asked == [("GET", f"{URL_}/api/v1/status", None)]


async def test_configuration_and_store_are_asked_for() -> None:
    session = FakeSession((200, {"rollouts": []}), (200, {"writable": True}))
    assert await client(session).config() == {"rollouts": []}
    assert await client(session).store() == {"writable": True}
    assert [url for _, url, _ in session.asked] == [f"{URL_}/api/v1/config", f"{URL_}/api/v1/store"]


async def test_the_newest_events_are_asked_for() -> None:
    session = FakeSession((200, {"events": []}))
    await client(session).events(limit=7)
    assert session.asked[0][1] == f"{URL_}/api/v1/events?after=-1&limit=7"


async def test_what_a_report_is_made_from_is_asked_for() -> None:
    session = FakeSession((200, {"events": []}), (200, {"minutes": []}))
    await client(session).events_after(7, limit=3, rollout="a&b")
    await client(session).minutes("a/b", start="1.5", end="2.5", limit=9)
    assert [url for _, url, _ in session.asked] == [
        f"{URL_}/api/v1/events?after=7&limit=3&rollout=a%26b",
        f"{URL_}/api/v1/rollouts/a%2Fb/minutes?from=1.5&to=2.5&limit=9",
    ]


async def test_an_explanation_is_asked_for_with_its_query_quoted() -> None:
    session = FakeSession((200, {"rule": "no key"}))
    await client(session).explain({"key": "a&b c", "path": "/x?y#z"})
    assert session.asked[0][1] == f"{URL_}/api/v1/explain?key=a%26b+c&path=%2Fx%3Fy%23z"


async def test_a_command_is_posted_as_json_and_follows_no_redirect() -> None:
    session = FakeSession((200, {"state": "paused"}))
    assert await client(session).command("a%b", Verb.PAUSE, {"reason": "lunch"}) == {"state": "paused"}
    assert session.asked == [("POST", f"{URL_}/api/v1/rollouts/a%25b/pause", b'{"reason":"lunch"}')]
    assert session.settings == {"headers": {"Content-Type": "application/json"}, "allow_redirects": False}


# ... what is repeated ...


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), refused_connection()])
async def test_a_get_is_tried_twice_when_the_connection_fails(error: Exception) -> None:
    session = FakeSession(error, (200, {"rollouts": []}))
    assert await client(session).status() == {"rollouts": []}
    assert len(session.asked) == 2


async def test_a_get_is_not_tried_a_third_time() -> None:
    session = FakeSession(*[aiohttp.ServerDisconnectedError()] * 3)
    assert "broke off its answer: Server disconnected" in await failure(client(session).status())
    assert len(session.asked) == 2


@pytest.mark.parametrize(
    "error",
    [
        refused_connection(),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        aiohttp.ConnectionTimeoutError(),
    ],
)
async def test_a_post_is_never_repeated(error: Exception) -> None:
    session = FakeSession(error, (200, {"state": "paused"}))
    await failure(client(session).command("default", Verb.PAUSE, {}))
    assert len(session.asked) == 1


@pytest.mark.parametrize(
    "error", [TimeoutError(), aiohttp.ConnectionTimeoutError(), aiohttp.SocketTimeoutError()]
)
async def test_a_timeout_is_not_doubled_by_another_try(error: Exception) -> None:
    session = FakeSession(error, (200, {"rollouts": []}))
    assert "did not answer in time" in await failure(client(session).status())
    assert len(session.asked) == 1


async def test_an_error_status_is_an_answer_and_not_asked_for_again() -> None:
    session = FakeSession((503, {"title": "store unavailable", "detail": "the disk is full"}))
    assert await failure(client(session).status()) == "the disk is full"
    assert len(session.asked) == 1


# ... what is said ...


async def test_a_refused_connection_is_said_in_the_systems_words() -> None:
    session = FakeSession(refused_connection(), refused_connection())
    words = await failure(client(session).status())
    assert words == f"cannot reach the admin API at {URL_}: Connection refused"


async def test_a_failure_without_a_number_is_said_in_its_own_words() -> None:
    error = aiohttp.ClientConnectorError(cast("Any", None), OSError("no such name"))
    words = await failure(client(FakeSession(error, error)).status())
    assert words == f"cannot reach the admin API at {URL_}: no such name"


async def test_a_failure_without_words_is_said_by_its_name() -> None:
    words = await failure(client(FakeSession(aiohttp.ClientPayloadError())).status())
    assert words.endswith("broke off its answer: ClientPayloadError")


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), TimeoutError()])
async def test_a_command_without_an_answer_may_have_been_carried_out(error: Exception) -> None:
    assert "may have been carried out" in await failure(
        client(FakeSession(error)).command("a", Verb.ABORT, {})
    )


@pytest.mark.parametrize("error", [refused_connection(), aiohttp.ConnectionTimeoutError()])
async def test_a_command_that_was_never_sent_was_not_carried_out(error: Exception) -> None:
    words = await failure(client(FakeSession(error)).command("a", Verb.ABORT, {}))
    assert "may have been carried out" not in words


async def test_what_is_no_text_is_said_and_not_sent() -> None:
    session, odd = FakeSession(), "a\udcff"  # as a byte of an argument that is not UTF-8 comes
    admin = client(session)
    for question in (
        admin.events(limit=1, rollout=odd),
        admin.unsilence(odd, ""),
        admin.unsilence("5f3a", odd),
        admin.silence({"expires_in": "1h", "reason": odd}),
    ):
        assert await failure(question) == "what is said must be UTF-8"
    assert session.asked == []


async def test_a_missing_token_is_said_with_how_to_give_it() -> None:
    problem = {"title": "Unauthorized", "detail": "a bearer token is needed"}
    words = await failure(client(FakeSession((401, problem))).status())
    assert words == f"{URL_}: a bearer token is needed (--token or DUALPATH_TOKEN)"


async def test_a_problem_without_detail_is_said_by_its_title() -> None:
    assert await failure(client(FakeSession((409, {"title": "illegal move"}))).status()) == "illegal move"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, []),
        (200, {"something": "else"}),
        (404, b"not here"),
        (404, {"error": "x"}),
        (204, b""),
        (302, {"rollouts": []}),
    ],
)
async def test_what_is_not_the_admin_api_is_said_to_be_none(status: int, body: object) -> None:
    words = await failure(client(FakeSession((status, body))).status())
    assert words == f"what answers at {URL_} is not the admin API (status {status})"


def test_a_client_shows_where_it_goes() -> None:
    assert repr(client(FakeSession())) == f"<AdminClient {URL_}>"


# ... the session ...


def test_the_token_goes_into_a_header_field() -> None:
    assert request_headers("secret")["Authorization"] == "Bearer secret"
    assert "Authorization" not in request_headers(None)


async def test_an_open_client_is_one_of_the_given_address() -> None:
    async with open_admin(URL_, "secret", TlsFiles()) as admin:
        assert repr(admin) == f"<AdminClient {URL_}>"


# ... what is typed ...


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
        ("https://proxy.example/admin/", "https://proxy.example/admin"),
        ("127.0.0.1:9900", "http://127.0.0.1:9900"),
        ("localhost", "http://localhost"),
        ("http://[::1]:9900/", "http://[::1]:9900"),
    ],
)
def test_an_address_may_be_short(value: str, url: str) -> None:
    assert parse_admin_url(value) == url


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "http://a b",
        "http://a\nb",
        "http://user:password@host",
        "http://host?token=x",
        "http://host#x",
    ],
)
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_admin_url(value)


def test_a_token_is_what_fits_a_header_field() -> None:
    assert parse_admin_token("abc.DEF-123_~+/=") == "abc.DEF-123_~+/="


@pytest.mark.parametrize("value", ["", "a b", "a\r\nX-Evil: 1", "tökən", "\x7f"])
def test_what_is_no_token_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(ValueError, match="must be printable") as caught:
        parse_admin_token(value)
    assert not value or value not in str(caught.value)
