"""The stream of events, through the whole application."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.admin import board, stream
from proxy.admin.pages import SESSION
from proxy.admin.stream import STREAM
from proxy.errors import StoreUnavailable
from tests.admin.builders import EVENT, OPERATOR, TOKENS
from tests.admin.test_application import Admin
from tests.admin.test_fleet_view import WELL
from tests.admin.wire import HOST, Client, Wire, client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiohttp import web

    from proxy.model import Event


class Growing:
    """The audit of a controller: events up to `last`."""

    def __init__(self, admin: Admin, last: int) -> None:
        self.last = last
        self.dead = False
        admin.controller.events = self.events  # type: ignore[method-assign]

    async def events(self, **query: Any) -> Sequence[Event]:
        if self.dead:
            raise StoreUnavailable("gone")
        first = self.last if query["after"] < 0 else query["after"] + 1
        return [replace(EVENT, seq=seq) for seq in range(first, self.last + 1)][: query["limit"]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "EVERY_S", 0.001)
    monkeypatch.setattr(stream, "_FRESH_S", -1.0)


@asynccontextmanager
async def listening(app: web.Application, target: str = STREAM, **headers: str) -> AsyncIterator[Listener]:
    async with client_of(app) as client, listener(client, target, **headers) as one:
        yield one


@asynccontextmanager
async def listener(client: Client, target: str = STREAM, **headers: str) -> AsyncIterator[Listener]:
    server = client._runner.server
    assert server is not None
    protocol, wire = server(), Wire("127.0.0.1")
    protocol.connection_made(wire)
    fields = {"Host": HOST, **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    protocol.data_received("\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode())
    yield Listener(wire)
    protocol.connection_lost(None)


class Listener:
    """What has come so far."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    @property
    def text(self) -> str:
        return bytes(self.wire.written).decode()

    async def until(self, text: str) -> str:
        for _ in range(5000):
            if text in self.text:
                break
            await asyncio.sleep(0.001)
        assert text in self.text
        return self.text


async def test_it_says_what_it_is_and_keeps_the_usual_fields() -> None:
    admin = Admin()
    Growing(admin, 0)
    async with listening(admin.app) as one:
        head = (await one.until("retry: 2000")).lower()
    assert "content-type: text/event-stream" in head
    assert "cache-control: no-store" in head


async def test_events_come_as_they_happen_with_their_number() -> None:
    admin = Admin()
    audit = Growing(admin, 3)
    async with listening(admin.app) as one:
        await one.until("retry")
        await asyncio.sleep(0.01)
        audit.last = 4
        text = await one.until("id: 4\nevent: audit\ndata: ")
    assert "id: 3\n" not in text
    data = text.partition("id: 4\nevent: audit\ndata: ")[2].partition("\n")[0]
    assert orjson.loads(data)["seq"] == 4


@pytest.mark.parametrize(("target", "headers"), [(STREAM, {"Last_Event_ID": "1"}), (f"{STREAM}?after=1", {})])
async def test_whoever_comes_back_gets_what_was_missed(target: str, headers: dict[str, str]) -> None:
    admin = Admin()
    Growing(admin, 450)  # more than is read at once
    async with listening(admin.app, target, **headers) as one:
        text = await one.until("id: 450\n")
    assert [line for line in text.splitlines() if line.startswith("id: ")] == [
        f"id: {seq}" for seq in range(2, 451)
    ]


async def test_the_number_that_the_browser_remembers_wins_over_the_address() -> None:
    admin = Admin()
    Growing(admin, 9)
    async with listening(admin.app, f"{STREAM}?after=2", Last_Event_ID="8") as one:
        text = await one.until("id: 9\n")
    assert "id: 3\n" not in text


async def test_the_status_comes_only_to_whom_it_is_wanted_by() -> None:
    admin = Admin()
    Growing(admin, 0)
    async with listening(admin.app, f"{STREAM}?status=true") as one:
        text = await one.until("event: status\ndata: ")
        data = orjson.loads(text.partition("event: status\ndata: ")[2].partition("\n")[0])
        assert data["rollouts"][0]["name"] == "default"
        assert data["at"]
    admin = Admin()
    audit = Growing(admin, 1)
    async with listening(admin.app) as one:
        await one.until("retry")
        await asyncio.sleep(0.01)
        audit.last = 2
        assert "event: status" not in await one.until("id: 2\n")


async def test_the_board_comes_with_the_rollout_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "EVERY_S", 0.001)
    admin = Admin()
    Growing(admin, 0)
    async with client_of(admin.app) as client:
        async with listener(client, f"{STREAM}?board=true&rollout=default") as one:
            text = await one.until("event: rollout\ndata: ")
            assert text.index("event: board\ndata: ") < text.index("event: rollout")
            text = await one.until('"rollouts":[]')  # nothing has changed since
            assert text.count('"about":{') == 1
            assert "event: status" not in text
        async with listener(client, f"{STREAM}?rollout=default") as one:
            assert "event: board" not in await one.until("event: rollout")


async def test_the_fleet_comes_with_the_board_and_what_each_serves_with_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "EVERY_S", 0.001)
    for admin, told, serving in (
        (Admin(), '"fleet":null', False),
        (Admin(fleet=lambda: WELL), '"fleet":{"instance":"a"', True),
    ):
        Growing(admin, 0)
        async with (
            client_of(admin.app) as client,
            listener(client, f"{STREAM}?board=true&rollout=default") as one,
        ):
            text = await one.until('"rollouts":[]')
            assert text.count(told) == 1  # it has not changed since
            assert ('"serving":[{"revision":3,"weight":1000}]' in text) == serving


async def test_a_rollout_that_is_not_there_is_not_found() -> None:
    admin = Admin()
    async with client_of(admin.app) as client:
        assert (await client.get(f"{STREAM}?rollout=nothing")).status == 404


async def test_a_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", -1.0)
    admin = Admin()
    Growing(admin, 0)
    async with listening(admin.app) as one:
        await one.until(": still here\n\n")


async def test_a_dead_store_stops_no_status() -> None:
    admin = Admin()
    audit = Growing(admin, 5)
    audit.dead = True
    async with listening(admin.app, f"{STREAM}?status=true&after=4") as one:
        await one.until("event: status")
        audit.dead = False
        await one.until("id: 5\n")


@pytest.mark.parametrize(
    "target", ["?after=x", "?after=-1", "?what=1", "?status=yes", "?board=1", "?limit=3", "?after=1&after=2"]
)
async def test_what_is_not_understood_is_refused(target: str) -> None:
    admin = Admin()
    async with client_of(admin.app) as client:
        assert (await client.get(STREAM + target)).status == 400


async def test_there_is_a_bound_on_how_many_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_FROM_ONE_PLACE", 1)
    admin = Admin()
    Growing(admin, 0)
    async with client_of(admin.app) as client:
        async with listener(client) as one:
            await one.until("retry")
            assert (await client.get(STREAM)).status == 503
        for _ in range(20):
            await asyncio.sleep(0.001)
        async with listener(client) as one:
            await one.until("retry")


async def test_it_ends_with_the_session_that_it_was_opened_by() -> None:
    admin = Admin(tokens=TOKENS)
    Growing(admin, 0)
    async with client_of(admin.app) as client:
        assert (await client.get(STREAM)).status == 401
        answer = await client.post(SESSION, {"token": OPERATOR})
        cookie, csrf = answer.headers["set-cookie"].partition(";")[0], answer.json["csrf"]
        async with listener(client, Cookie=cookie) as one:
            await one.until("retry")
            await client.send("DELETE", SESSION, b"", Cookie=cookie, X_CSRF_Token=csrf)
            await one.until("0\r\n\r\n")  # the last chunk


async def test_it_ends_when_the_proxy_does() -> None:
    admin = Admin()
    Growing(admin, 0)
    async with client_of(admin.app) as client, listener(client) as one:
        await one.until("retry")
        await admin.app.shutdown()
        await one.until("0\r\n\r\n")
