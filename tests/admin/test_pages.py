"""The dashboard's files and its login, through the whole application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from proxy.admin.application import follow
from proxy.admin.pages import FILES, SESSION
from tests.admin.builders import OPERATOR, TOKENS, VIEWER, config
from tests.admin.test_application import Admin
from tests.admin.wire import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.admin.wire import Answer, Client

CHANGE = "/api/v1/rollouts/default/pause"


@pytest_asyncio.fixture
async def guarded() -> AsyncIterator[tuple[Admin, Client]]:
    admin = Admin(tokens=TOKENS)
    async with client_of(admin.app) as client:
        yield admin, client


async def logged_in(client: Client, token: str) -> tuple[str, str]:
    """The cookie and what goes with changes."""
    answer = await client.post(SESSION, {"token": token})
    assert answer.status == 200
    return answer.headers["set-cookie"].partition(";")[0], answer.json["csrf"]


@pytest.mark.parametrize("place", FILES)
async def test_files_need_no_token(guarded: tuple[Admin, Client], place: str) -> None:
    answer = await guarded[1].get(place)
    assert answer.status == 200
    assert answer.body == FILES[place].read_bytes()


async def test_the_page_may_load_only_what_is_ours(guarded: tuple[Admin, Client]) -> None:
    page = await guarded[1].get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in (await guarded[1].get("/healthz")).headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


async def test_the_page_names_files_that_are_there(guarded: tuple[Admin, Client]) -> None:
    texts = [path.read_text("utf-8") for path in FILES.values()]
    named = {name for text in texts for name in re.findall(r'["(](/dashboard/[a-z]+\.[a-z]+)["#)]', text)}
    assert {"/dashboard/main.js", "/dashboard/charts.js", "/dashboard/style.css"} <= named
    assert named <= set(FILES)


def test_nothing_is_written_into_the_page_as_markup_or_fetched_from_elsewhere() -> None:
    for path in FILES.values():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|https?://|eval\(", text), path
        assert path.suffix != ".html" or not re.search(
            r"<script(?! type=\"module\" src)| style=| on[a-z]+=", text
        )


async def test_the_host_must_be_ours_for_files_too(guarded: tuple[Admin, Client]) -> None:
    assert (await guarded[1].get("/", Host="evil.example")).status == 403
    assert (await guarded[1].get(SESSION, Host="evil.example")).status == 403


async def test_a_cookie_is_as_good_as_the_token_it_was_given_for(guarded: tuple[Admin, Client]) -> None:
    _, client = guarded
    assert (await client.get("/api/v1/status")).status == 401
    assert (await client.get(SESSION)).json == {"name": None, "operator": False, "login": True, "csrf": None}
    cookie, csrf = await logged_in(client, OPERATOR)
    assert (await client.get("/api/v1/status", Cookie=cookie)).status == 200
    seen = (await client.get(SESSION, Cookie=cookie)).json
    assert seen == {"name": "bob", "operator": True, "login": True, "csrf": csrf}


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(guarded: tuple[Admin, Client]) -> None:
    answer = await guarded[1].post(SESSION, {"token": VIEWER})
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert VIEWER not in answer.headers["set-cookie"]


async def test_a_change_by_cookie_needs_the_csrf_token(guarded: tuple[Admin, Client]) -> None:
    admin, client = guarded
    cookie, csrf = await logged_in(client, OPERATOR)
    assert (await client.post(CHANGE, {}, Cookie=cookie)).status == 403
    assert (await client.post(CHANGE, {}, Cookie=cookie, X_CSRF_Token="x" * 43)).status == 403
    assert not admin.controller.commands
    assert (await client.post(CHANGE, {}, Cookie=cookie, X_CSRF_Token=csrf)).status == 200
    assert [command.actor for command in admin.controller.commands] == ["bob"]


async def test_a_viewer_stays_a_viewer(guarded: tuple[Admin, Client]) -> None:
    admin, client = guarded
    cookie, csrf = await logged_in(client, VIEWER)
    assert (await client.post(CHANGE, {}, Cookie=cookie, X_CSRF_Token=csrf)).status == 403
    assert not admin.controller.commands


async def test_logging_out_ends_the_session(guarded: tuple[Admin, Client]) -> None:
    _, client = guarded
    cookie, csrf = await logged_in(client, VIEWER)
    assert (await client.send("DELETE", SESSION, b"", Cookie=cookie)).status == 403
    assert (await client.send("DELETE", SESSION, b"", Cookie=cookie, X_CSRF_Token=csrf)).status == 200
    assert (await client.get("/api/v1/status", Cookie=cookie)).status == 401


async def test_a_session_ends_with_its_token(guarded: tuple[Admin, Client]) -> None:
    admin, client = guarded
    cookie, _ = await logged_in(client, OPERATOR)
    follow(admin.app, config(tokens=TOKENS[:1]))
    assert (await client.get("/api/v1/status", Cookie=cookie)).status == 401
    assert (await client.get(SESSION, Cookie=cookie)).json["name"] is None


@pytest.mark.parametrize("body", [{}, {"token": 1}, {"token": "x" * 2000}, {"token": OPERATOR, "more": 1}])
async def test_a_login_has_a_token_and_nothing_else(guarded: tuple[Admin, Client], body: object) -> None:
    assert (await guarded[1].post(SESSION, body)).status == 422


async def test_failed_logins_are_limited_as_tokens_are(guarded: tuple[Admin, Client]) -> None:
    answers: list[Answer] = [await guarded[1].post(SESSION, {"token": f"guess-{n}"}) for n in range(12)]
    assert answers[0].status == 401
    assert answers[-1].status == 429
    assert (await guarded[1].post(SESSION, {"token": OPERATOR})).status == 429


async def test_a_link_on_another_page_may_lead_here_and_nowhere_else(guarded: tuple[Admin, Client]) -> None:
    client = guarded[1]
    assert (await client.get("/", Sec_Fetch_Site="cross-site")).status == 200
    assert (await client.get(SESSION, Sec_Fetch_Site="cross-site")).status == 403
    assert (await client.get("/api/v1/status", Sec_Fetch_Site="cross-site")).status == 403


async def test_another_page_cannot_log_anybody_in(guarded: tuple[Admin, Client]) -> None:
    answer = await guarded[1].post(SESSION, {"token": VIEWER}, Origin="http://evil.example")
    assert answer.status == 403


async def test_without_tokens_everybody_is_the_operator() -> None:
    admin = Admin()
    async with client_of(admin.app) as client:
        seen = (await client.get(SESSION)).json
        assert seen == {"name": "local", "operator": True, "login": False, "csrf": None}
        assert (await client.post(CHANGE, {})).status == 200
