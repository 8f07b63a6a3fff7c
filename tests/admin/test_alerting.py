"""Alerts in the admin API, with the real desk: read strictly, answered in the shape that is promised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs
import pytest
import pytest_asyncio

from proxy.admin.alerting import AlertHandlers
from proxy.admin.application import Surroundings, build_admin
from proxy.admin.openapi import document
from proxy.config.schema import Config
from proxy.core.notice import Severity
from proxy.errors import DualpathError
from proxy.telemetry.alerts.desk import AlertDesk
from tests.admin.builders import OPERATOR, TOKENS, VIEWER
from tests.admin.wire import Answer, Client, client_of
from tests.controlplane.rig import Rig
from tests.telemetry.alerts.notices import FIRING, Posted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOCUMENT = document()
SINKS = [
    {"name": "ops", "kind": "webhook", "url": "http://127.0.0.1:9/ops"},
    {"name": "chat", "kind": "slack", "url": "http://127.0.0.1:9/chat"},
]
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}


@dataclass
class Desk:
    """A client, and the desk behind it."""

    client: Client
    desk: AlertDesk
    post: Posted
    rig: Rig

    async def post_to(self, target: str, body: object = None) -> Answer:
        return await self.client.post(target, body, **AS_OPERATOR)

    async def alerts(self) -> Any:
        return is_a("Alerts", await self.client.get("/api/v1/alerts", **AS_OPERATOR))


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    rig, post = await Rig.opened({}), Posted()
    made = AlertDesk("host-1", rig.clock)
    whole = {
        **rig.config.model_dump(mode="json", by_alias=True, exclude_none=True),
        "alerts": {"sinks": SINKS},
    }
    config = Config.read({**whole, "admin": {"tokens": TOKENS}})
    made.follow(made.prepare(config, post))
    around = Surroundings("p", list, rig.clock, alerting=made)
    async with client_of(build_admin(config, rig.controller, around)) as client:
        yield Desk(client, made, post, rig)
    await made.close()


def is_a(schema: str, answer: Answer) -> Any:
    """The answer, which is as the document says."""
    assert answer.status == 200, answer.body
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(wanted).validate(answer.json)
    return answer.json


async def test_what_is_active_says_why_and_whether_it_was_sent(desk: Desk) -> None:
    desk.desk.announce(FIRING)
    shown = await desk.alerts()
    (active,) = shown["active"]
    assert (active["kind"], active["subject"], active["rollout"]) == ("rule", "errors", "shop")
    assert (active["value"], active["limit"], active["sample"]) == (0.315, 0.1, 200)
    assert active["sent_at"] is not None
    assert [sink["name"] for sink in shown["sinks"]] == ["ops", "chat"]
    assert shown["sinks"][0]["sent"] == 1


async def test_a_silence_is_made_shown_and_ended(desk: Desk) -> None:
    body = {"expires_in": "2h", "alerts": ["errors"], "rollouts": ["shop"], "reason": "planned"}
    made = is_a("Silence", await desk.post_to("/api/v1/silences", body))
    assert (made["actor"], made["alerts"], made["reason"]) == ("bob", ["errors"], "planned")
    assert made["from"] == "2023-11-14T22:13:20.000Z"
    assert made["until"] == "2023-11-15T00:13:20.000Z"
    desk.desk.announce(FIRING)
    shown = await desk.alerts()
    assert shown["silences"] == [made]
    assert (shown["active"][0]["silence"], shown["active"][0]["sent_at"]) == (made["id"], None)
    ended = await desk.client.send("DELETE", f"/api/v1/silences/{made['id']}", b"", **AS_OPERATOR)
    assert is_a("Silence", ended) == made
    again = await desk.client.send("DELETE", f"/api/v1/silences/{made['id']}", b"", **AS_OPERATOR)
    assert (again.status, again.json["type"]) == (404, "urn:dualpath:problem:unknown-silence")


async def test_setting_and_ending_a_silence_stand_in_the_audit_with_actor_and_reason(desk: Desk) -> None:
    many = ["x" * 100, "y" * 100]
    made = [
        (await desk.post_to("/api/v1/silences", {"expires_in": "2h", **body})).json["id"]
        for body in (
            {"alerts": ["slow*"], "rollouts": ["def*"], "reason": "load test"},
            {"alerts": many, "rollouts": ["nobody"]},
        )
    ]
    target = f"/api/v1/silences/{made[0]}"
    ended = await desk.client.send("DELETE", f"{target}?reason=it%20is%20over", b"", **AS_OPERATOR)
    assert ended.status == 200
    told = [event.transition for event in (await desk.rig.controller.events(after=-1, limit=3))]
    assert [(one.cause, one.actor, one.changes_state) for one in told] == [
        ("silence:set", "bob", False),
        ("silence:set", "bob", False),
        ("silence:ended", "bob", False),
    ]
    until = "until 2023-11-15T00:13:20.000Z"
    assert told[0].reason == f"load test: silence {made[0]} {until}: slow* on def*"
    assert told[1].reason == f"silence {made[1]} {until}: {many[0]}, {'y' * 47}… on nobody"
    assert told[2].reason == f"it is over: silence {made[0]} of bob: slow* on def*"


async def test_only_the_rollouts_that_a_silence_covers_tell_of_it() -> None:
    rig = await Rig.opened({"name": "shop-a"}, {"name": "shop-b"}, {"name": "search"})
    made = AlertDesk("host-1", rig.clock)
    around = Surroundings("p", list, rig.clock, alerting=made)
    async with client_of(build_admin(rig.config, rig.controller, around)) as client:
        body = {"expires_in": "1h", "rollouts": ["shop-*"]}
        assert (await client.post("/api/v1/silences", body)).status == 200
    told = [event.transition for event in await rig.controller.events()]
    assert [one.after.name for one in told if one.cause == "silence:set"] == ["shop-a", "shop-b"]


@pytest.mark.parametrize("query", ["reason=a%0Ab", f"reason={'x' * 501}", "why=x", "reason=a&reason=b"])
async def test_a_reason_to_end_one_is_one_printable_line(desk: Desk, query: str) -> None:
    made = (await desk.post_to("/api/v1/silences", {"expires_in": "2h"})).json["id"]
    target = f"/api/v1/silences/{made}"
    assert (await desk.client.send("DELETE", f"{target}?{query}", b"", **AS_OPERATOR)).status == 400
    assert [one["id"] for one in (await desk.alerts())["silences"]] == [made]


async def test_the_board_has_the_newest_alerts_and_how_many_there_are(desk: Desk) -> None:
    for number in range(60):
        severity = Severity.WARNING if number else Severity.CRITICAL
        desk.desk.announce(replace(FIRING, subject=f"number-{number}", severity=severity))
    await desk.post_to("/api/v1/silences", {"expires_in": "1h", "alerts": ["number-[1-5]?"]})
    shown = AlertHandlers(desk.desk, desk.rig.controller, desk.rig.clock).document()
    assert shown is not None
    assert shown["count"] == 60
    assert (shown["loud"], shown["worst"]) == (10, "critical")  # none of which is among those that it has
    active = cast("list[dict[str, Any]]", shown["active"])
    assert [one["subject"] for one in active] == [f"number-{number}" for number in range(59, 9, -1)]


async def test_a_test_tells_what_became_of_it_at_each_sink(desk: Desk) -> None:
    body = {"severity": "critical", "reason": "does it arrive?"}
    trials = is_a("Trials", await desk.post_to("/api/v1/alerts/test", body))
    assert [(one["name"], one["taken"], one["trouble"]) for one in trials["sinks"]] == [
        ("ops", True, None),
        ("chat", True, None),
    ]
    sent = next(one for one in desk.post.documents if "kind" in one)
    assert (sent["kind"], sent["actor"], sent["reason"]) == ("test", "bob", "does it arrive?")
    desk.post.failure = DualpathError("answered 404")
    trials = is_a("Trials", await desk.post_to("/api/v1/alerts/test", {"sink": "chat"}))
    assert [(one["taken"], one["trouble"]) for one in trials["sinks"]] == [(False, "answered 404")]
    unknown = await desk.post_to("/api/v1/alerts/test", {"sink": "nobody"})
    assert (unknown.status, unknown.json["type"]) == (404, "urn:dualpath:problem:unknown-sink")


@pytest.mark.parametrize(
    ("target", "body", "path"),
    [
        ("silences", {}, "expires_in"),
        ("silences", {"expires_in": "0s"}, "expires_in"),
        ("silences", {"expires_in": "31d"}, "expires_in"),
        ("silences", {"expires_in": 60}, "expires_in"),
        ("silences", {"expires_in": "1h", "alerts": []}, "alerts"),
        ("silences", {"expires_in": "1h", "rollouts": [""]}, "rollouts"),
        ("silences", {"expires_in": "1h", "alerts": ["x", "  "]}, "alerts"),
        ("silences", {"expires_in": "1h", "until": "x"}, "until"),
        ("alerts/test", {"severity": "fatal"}, "severity"),
        ("alerts/test", {"sinks": ["ops"]}, "sinks"),
    ],
)
async def test_what_is_not_understood_is_refused(
    desk: Desk, target: str, body: dict[str, Any], path: str
) -> None:
    answer = await desk.post_to(f"/api/v1/{target}", body)
    assert answer.status == 422
    assert answer.json["problems"][0]["path"].startswith(path)


async def test_a_viewer_sees_and_changes_nothing(desk: Desk) -> None:
    as_viewer = {"Authorization": f"Bearer {VIEWER}"}
    assert (await desk.client.get("/api/v1/alerts", **as_viewer)).status == 200
    for target in ("silences", "alerts/test"):
        refused = await desk.client.post(f"/api/v1/{target}", {"expires_in": "1h"}, **as_viewer)
        assert refused.status == 403
    assert desk.post.bodies == []


async def test_where_nothing_is_alerted_it_says_so() -> None:
    rig = await Rig.opened({})
    async with client_of(
        build_admin(rig.config, rig.controller, Surroundings("p", list, rig.clock))
    ) as client:
        assert (await client.get("/api/v1/alerts")).status == 503
