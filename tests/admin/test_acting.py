"""What changes something, from the bytes of a request to the real controller and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import pytest_asyncio

from proxy.admin.application import Surroundings, build_admin
from proxy.admin.openapi import document
from proxy.config.schema import Config
from proxy.errors import StoreUnavailable
from proxy.model import State, Verb
from tests.admin.builders import OPERATOR, TOKENS, VIEWER
from tests.admin.wire import Answer, Client, client_of
from tests.controlplane.rig import CANARY, HALF, Rig, config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PLAN = {"phases": [CANARY, HALF], "autostart": True}
ROLLOUTS = [
    {"name": name, "routes": [{"prefix": f"/{name}"}], **PLAN}
    for name in ("checkout-a", "checkout-b", "search")
]
DOCUMENT = document()
BODIES = {Verb.SET: {"percentage": 1}}


@pytest_asyncio.fixture
async def rig() -> Rig:
    return await Rig.opened(*ROLLOUTS)


@pytest_asyncio.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with client_of(
        build_admin(rig.config, rig.controller, Surroundings("p", list, rig.clock))
    ) as client:
        yield client


def is_a(schema: str, answer: Answer) -> Any:
    """The answer, which is as the document says."""
    assert answer.status == 200, answer.body
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(wanted).validate(answer.json)
    return answer.json


# ... one rollout


@pytest.mark.parametrize("verb", Verb)
async def test_every_verb_may_be_repeated(verb: Verb, client: Client, rig: Rig) -> None:
    if verb is Verb.START:
        await rig.ask(Verb.ABORT, rollout="search")
    target = f"/api/v1/rollouts/search/{verb}"
    first = is_a("Moved", await client.post(target, BODIES.get(verb, {})))
    again = await client.post(target, BODIES.get(verb, {}))
    if verb is Verb.PROMOTE:
        assert is_a("Moved", again)["state"] == "completed"
        assert is_a("Moved", await client.post(target))["revision"] == again.json["revision"]
    else:
        assert is_a("Moved", again)["revision"] == first["revision"]


@pytest.mark.parametrize("verb", Verb)
async def test_a_stale_revision_is_a_conflict_of_its_own_type(verb: Verb, client: Client, rig: Rig) -> None:
    before = rig.state("search")
    body = {**BODIES.get(verb, {}), "revision": before.revision + 1}
    answer = await client.post(f"/api/v1/rollouts/search/{verb}", body)
    assert answer.status == 409
    assert answer.json["type"] == "urn:dualpath:problem:stale-revision"
    assert rig.state("search") == before


async def test_one_step_down(client: Client, rig: Rig) -> None:
    await rig.ask(Verb.PROMOTE, rollout="search")
    stepped = is_a("Moved", await client.post("/api/v1/rollouts/search/step_down", {"reason": "slow"}))
    assert (stepped["phase"], stepped["stage"], stepped["reason"]) == ("canary", "testing", "slow")
    stepped = is_a("Moved", await client.post("/api/v1/rollouts/search/step_down"))
    assert (stepped["state"], stepped["stage"]) == ("rolled_back", "disabled")


# ... many


async def test_a_pattern_names_rollouts(client: Client, rig: Rig) -> None:
    answer = is_a("Bulk", await client.post("/api/v1/bulk/rollback", {"name": "checkout-*", "reason": "x"}))
    assert [(one["name"], one["state"], one["stored"]) for one in answer["rollouts"]] == [
        ("checkout-a", "rolled_back", True),
        ("checkout-b", "rolled_back", True),
    ]
    assert rig.state("search").state is State.RUNNING


async def test_without_a_pattern_it_is_all_and_who_refuses_says_why(client: Client, rig: Rig) -> None:
    await rig.ask(Verb.ABORT, rollout="checkout-b")
    answer = is_a("Bulk", await client.post("/api/v1/bulk/pause"))
    assert [one["state"] for one in answer["rollouts"]] == ["paused", "aborted", "paused"]
    refused = answer["rollouts"][1]["error"]
    assert (refused["type"], refused["status"]) == ("urn:dualpath:problem:illegal-move", 409)
    assert answer["rollouts"][0]["error"] is None


async def test_a_pattern_that_names_nobody_is_not_found(client: Client) -> None:
    answer = await client.post("/api/v1/bulk/rollback", {"name": "chekout-*"})
    assert (answer.status, answer.json["title"]) == (404, "unknown rollout")


async def test_an_emergency_stop_names_what_it_stopped(client: Client, rig: Rig) -> None:
    await rig.ask(Verb.ABORT, rollout="checkout-b")
    rig.store.failure = StoreUnavailable("disk is full")
    answer = is_a("Stopped", await client.post("/api/v1/emergency_stop", {"reason": "fire"}))
    assert [(one["name"], one["percentage"]) for one in answer["stopped"]] == [
        ("checkout-a", 0),
        ("search", 0),
    ]
    assert answer["stored"] is False
    assert [rig.sink.weight(str(plan["name"])) for plan in ROLLOUTS] == [0, 0, 0]
    assert rig.state("search").reason == "fire"
    answer = is_a("Stopped", await client.post("/api/v1/emergency_stop"))
    assert answer == {"stopped": [], "stored": False, "local_only": False, "reason_dropped": None}
    rig.store.failure = None
    answer = is_a("Stopped", await client.post("/api/v1/emergency_stop"))
    assert answer == {"stopped": [], "stored": True, "local_only": False, "reason_dropped": None}


@pytest.mark.parametrize(
    ("body", "fields", "says"),
    [
        (b'{"reason": "' + b"x" * 501 + b'"}', {}, "reason: String should have at most 500 characters"),
        (b'{"reason": 7}', {}, "reason: "),
        (b'{"reason": "two\\nlines"}', {}, "reason: must hold no control characters"),
        (b'{"reasn": "fire"}', {}, "reasn: is not known"),
        (b'{"reason": "a", "reason": "b"}', {}, "the body has a key twice"),
        (b"fire!", {}, "the body is not JSON"),
        (b"[]", {}, "the body must be a JSON object"),
        (b'"' + b"x" * 20_000 + b'"', {}, "the body is larger than a command can be"),
        (b'{"reason": "fire"}', {"Content_Type": "text/plain"}, "a command's body is application/json"),
        (b'{"rea', {"Content_Length": "90"}, "the body did not arrive within 0.3 s"),
    ],
)
async def test_nothing_that_is_wrong_with_its_body_keeps_an_emergency_stop_from_stopping(
    body: bytes, fields: dict[str, str], says: str, client: Client, rig: Rig
) -> None:
    answer = is_a(
        "Stopped",
        await client.send(
            "POST", "/api/v1/emergency_stop", body, **{"Content_Type": "application/json", **fields}
        ),
    )
    assert [one["percentage"] for one in answer["stopped"]] == [0, 0, 0]
    assert answer["reason_dropped"].startswith(says)
    assert [rig.sink.weight(str(plan["name"])) for plan in ROLLOUTS] == [0, 0, 0]
    assert rig.state("search").reason == "emergency stop by local"


async def test_who_hangs_up_in_the_middle_has_stopped_everything(
    client: Client, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /api/v1/emergency_stop HTTP/1.1\r\nHost: 127.0.0.1:9900\r\nContent-Length: 9\r\n\r\n"
    await client.say_and_leave(head)
    assert [rig.sink.weight(str(plan["name"])) for plan in ROLLOUTS] == [0, 0, 0]
    assert "its reason was dropped: the body is broken" in caplog.text


async def test_a_query_that_nobody_knows_keeps_an_emergency_stop_from_nothing(client: Client) -> None:
    answer = is_a("Stopped", await client.post("/api/v1/emergency_stop?now=1", {"reason": "fire"}))
    assert len(answer["stopped"]) == 3
    assert answer["reason_dropped"] == "query parameter 'now' is not known"


async def test_a_page_of_somebody_else_stops_nothing(client: Client, rig: Rig) -> None:
    answer = await client.send("POST", "/api/v1/emergency_stop", b"", Origin="https://evil.example")
    assert answer.status == 403
    assert rig.state("search").state is State.RUNNING


# ... overrides


@pytest.mark.parametrize("key", ["ada", "a/b", "50%", "a b", "ünï", "..", "%2F", "*"])
async def test_an_override_is_set_shown_and_taken_back(key: str, client: Client, rig: Rig) -> None:
    target = "/api/v1/rollouts/search/overrides"
    asked = {"key": key, "path": "v2", "expires_in": "1h", "reason": "to look"}
    override = is_a("Override", await client.post(target, asked))
    assert (override["key"], override["path"], override["actor"], override["stored"]) == (
        key,
        "v2",
        "local",
        True,
    )
    assert override["expires_at"] == "2023-11-14T23:13:20.000Z"
    assert is_a("Overrides", await client.get(target)) == {"overrides": [override]}
    gone = await client.send("DELETE", f"{target}/{quote(key, safe='').replace('.', '%2E')}", b"")
    assert is_a("Override", gone)["key"] == key
    assert is_a("Overrides", await client.get(target)) == {"overrides": []}
    again = await client.send("DELETE", f"{target}/{quote(key, safe='').replace('.', '%2E')}", b"")
    assert (again.status, again.json["type"]) == (404, "urn:dualpath:problem:unknown-override")


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.ABORT])
async def test_an_override_to_v2_says_that_it_is_suspended(verb: Verb, client: Client, rig: Rig) -> None:
    target = "/api/v1/rollouts/search/overrides"
    assert is_a("Override", await client.post(target, {"key": "ada", "path": "v2"}))["suspended"] is False
    await rig.ask(verb, rollout="search")
    assert is_a("Override", await client.post(target, {"key": "bob", "path": "v2"}))["suspended"] is True
    assert is_a("Override", await client.post(target, {"key": "eve", "path": "v1"}))["suspended"] is False
    shown = is_a("Overrides", await client.get(target))["overrides"]
    assert [one["suspended"] for one in shown] == [True, True, False]
    await rig.ask(Verb.START, rollout="search")
    assert not any(one["suspended"] for one in is_a("Overrides", await client.get(target))["overrides"])


async def test_an_override_of_what_is_not_there(client: Client) -> None:
    for answer in (
        await client.get("/api/v1/rollouts/nobody/overrides"),
        await client.post("/api/v1/rollouts/nobody/overrides", {"key": "ada", "path": "v1"}),
        await client.send("DELETE", "/api/v1/rollouts/nobody/overrides/ada", b""),
    ):
        assert (answer.status, answer.json["title"]) == (404, "unknown rollout")


async def test_an_override_to_v2_needs_the_store(client: Client, rig: Rig) -> None:
    rig.store.failure = StoreUnavailable("disk is full")
    target = "/api/v1/rollouts/search/overrides"
    assert (await client.post(target, {"key": "ada", "path": "v2"})).status == 503
    assert is_a("Override", await client.post(target, {"key": "ada", "path": "v1"}))["stored"] is False


# ... who may


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/api/v1/emergency_stop"),
        ("POST", "/api/v1/bulk/rollback"),
        ("POST", "/api/v1/rollouts/search/step_down"),
        ("POST", "/api/v1/rollouts/search/overrides"),
        ("DELETE", "/api/v1/rollouts/search/overrides/ada"),
    ],
)
async def test_viewers_may_change_nothing(method: str, target: str) -> None:
    rig = Rig(Config.read({**_file(), "admin": {"tokens": TOKENS}}))
    await rig.controller.open()
    app = build_admin(rig.config, rig.controller, Surroundings("p", list, rig.clock))
    async with client_of(app) as client:
        for token, status in ((VIEWER, 403), ("", 401)):
            answer = await client.send(method, target, b"", Authorization=f"Bearer {token}" if token else "")
            assert answer.status == status
        assert rig.state("search").state is State.RUNNING
        stop = await client.send("POST", "/api/v1/emergency_stop", b"", Authorization=f"Bearer {OPERATOR}")
        assert len(is_a("Stopped", stop)["stopped"]) == 3
        assert (await rig.store.transitions())[-1].actor != "local"


def _file() -> dict[str, Any]:
    plain: dict[str, Any] = config(*ROLLOUTS).model_dump(mode="json", by_alias=True, include={"backends"})
    return {
        "backends": {path: {"endpoints": plain["backends"][path]["endpoints"]} for path in ("v1", "v2")},
        "rollouts": ROLLOUTS,
    }
