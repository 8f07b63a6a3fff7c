from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio

from proxy import __version__
from proxy.admin import wire
from proxy.admin.application import Loaded, Surroundings, build_admin, follow
from proxy.config.schema import Telemetry
from proxy.errors import IllegalMove, StoreUnavailable, UnknownRollout
from proxy.model import Command, Event, Explanation, Path, Pulse, RolloutReport, RolloutState, State, Verb
from tests.admin.builders import EVENT, OPERATOR, REPORT, RUNNING, TOKENS, VIEWER, config
from tests.admin.wire import Answer, Client, client_of
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from aiohttp import web

    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller
    from proxy.core.members import FleetReport
    from proxy.judgment import Judgment

PROBLEM = "application/problem+json"


class FakeController:
    """Carries commands out at once, and keeps what it was asked."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.asked: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.waiting = 0
        self.store_trouble = ""

    def is_shared(self) -> bool:
        return True

    def is_stored(self, name: str) -> bool:
        assert name == "default"
        return self.waiting == 0

    def report(self, name: str) -> RolloutReport:
        if name != "default":
            raise UnknownRollout(f"there is no rollout {name!r}")
        return REPORT

    def reports(self) -> Sequence[RolloutReport]:
        return [REPORT]

    def pulses(self) -> Iterator[Pulse]:
        yield Pulse(RUNNING, REPORT.total, REPORT.recent)

    def judgment(self, name: str) -> Judgment:
        return self.report(name).judgment

    async def command(self, command: Command) -> RolloutState:
        self.commands.append(command)
        if self.failure is not None:
            raise self.failure
        return replace(RUNNING, state=State.PAUSED, revision=RUNNING.revision + 1)

    async def events(self, **query: Any) -> Sequence[Event]:
        self.asked.append(query)
        return [EVENT]

    def explain(self, **query: Any) -> Explanation:
        self.asked.append(query)
        return Explanation("default", Path.V2, "bucket < weight", query["key"], 7, 30_000)


class Admin:
    """The application under test and what stands around it."""

    def __init__(self, *, fleet: Callable[[], FleetReport] | None = None, **settings: Any) -> None:
        self.controller = FakeController()
        self.clock = FakeClock()
        self.missing: list[str] = []
        self.workers = 1
        self.loaded = Loaded(1_767_225_600.0)
        around = Surroundings(
            "proxy-1",
            lambda: self.missing,
            self.clock,
            workers=lambda: self.workers,
            loaded=lambda: self.loaded,
            fleet=fleet,
        )
        self.app: web.Application = build_admin(
            config(**settings), cast("Controller", self.controller), around
        )


@pytest.fixture
def admin() -> Admin:
    return Admin()


@pytest_asyncio.fixture
async def client(admin: Admin) -> AsyncIterator[Client]:
    async with client_of(admin.app) as client:
        yield client


def is_problem(answer: Answer, status: int) -> None:
    """Every error is a problem document that names its status and path, and lets no traceback out."""
    assert (answer.status, answer.headers["content-type"]) == (status, PROBLEM)
    document = answer.json
    assert {"type", "title", "status", "detail", "instance"} <= set(document)
    assert document["status"] == status
    assert b"Traceback" not in answer.body


# ... probes ...


async def test_healthz_says_that_the_process_answers(client: Client) -> None:
    answer = await client.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_readyz_waits_for_what_is_missing(client: Client, admin: Admin) -> None:
    admin.missing = ["store", "listener"]
    answer = await client.get("/readyz")
    is_problem(answer, 503)
    assert answer.json["missing"] == ["store", "listener"]
    assert answer.headers["retry-after"] == "1"


async def test_readyz_is_ready_while_v2_is_away(client: Client) -> None:
    answer = await client.get("/readyz")
    assert answer.status == 200
    assert answer.json["backends"] == {
        "v1": {"endpoints": 1, "healthy": 1},
        "v2": {"endpoints": 1, "healthy": 0},
    }


async def test_probes_need_neither_a_token_nor_a_known_host() -> None:
    async with client_of(Admin(tokens=TOKENS).app) as client:
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path, Host="pod-7.cluster")).status == 200


# ... what can be read ...


async def test_status_shows_the_instance_and_every_rollout(client: Client, admin: Admin) -> None:
    admin.clock.advance(12.5)
    document = (await client.get("/api/v1/status")).json
    assert {name: document[name] for name in ("instance", "version", "uptime_s", "workers")} == {
        "instance": "proxy-1",
        "version": __version__,
        "uptime_s": 12.5,
        "workers": 1,
    }
    assert document["store"] == {"waiting": 0, "trouble": None}
    assert document["tunnels"] == {"v1": 0, "v2": 0}
    assert document["summary"]["total"] == 1
    assert [rollout["name"] for rollout in document["rollouts"]] == ["default"]


async def test_status_shows_how_many_processes_serve_and_when_the_configuration_was_read(
    client: Client, admin: Admin
) -> None:
    document = (await client.get("/api/v1/status")).json
    assert document["config"] == {"loaded_at": "2026-01-01T00:00:00.000Z", "error": None}
    admin.workers = 3
    admin.loaded = Loaded(admin.loaded.at, "listen.colour: unknown key")
    document = (await client.get("/api/v1/status")).json
    assert document["workers"] == 3
    assert document["config"]["error"] == "listen.colour: unknown key"


async def test_after_a_reload_tokens_names_and_what_is_shown_are_the_new_ones(
    client: Client, admin: Admin
) -> None:
    assert (await client.get("/api/v1/config", Host="admin.example")).status == 403
    follow(admin.app, config(tokens=TOKENS, hosts=["admin.example"]))
    assert (await client.get("/api/v1/config")).status == 401
    bearer = {"Authorization": f"Bearer {VIEWER}", "Host": "admin.example"}
    shown = (await client.get("/api/v1/config", **bearer)).json
    assert [token["name"] for token in shown["admin"]["tokens"]] == ["eve", "bob"]
    follow(admin.app, config())
    assert (await client.get("/api/v1/config")).status == 200


async def test_who_guessed_tokens_is_not_forgotten_by_a_reload() -> None:
    admin = Admin(tokens=TOKENS)
    async with client_of(admin.app) as client:
        for number in range(11):
            await client.get("/api/v1/status", Authorization=f"Bearer guess-{number}")
        follow(admin.app, config(tokens=TOKENS[:1]))
        assert (await client.get("/api/v1/status", Authorization=f"Bearer {VIEWER}")).status == 429


async def test_rollouts_are_listed_and_found_by_name(client: Client) -> None:
    listed = (await client.get("/api/v1/rollouts")).json["rollouts"]
    assert listed == [(await client.get("/api/v1/rollouts/default")).json]


async def test_a_rollout_that_does_not_exist_is_a_problem(client: Client) -> None:
    answer = await client.get("/api/v1/rollouts/checkout")
    is_problem(answer, 404)
    assert answer.json["type"] == "urn:dualpath:problem:unknown-rollout"
    assert "checkout" in answer.json["detail"]


async def test_events_are_paged(client: Client, admin: Admin) -> None:
    answer = await client.get("/api/v1/events?after=8&limit=5&rollout=default")
    assert (answer.json["last"], answer.json["events"][0]["seq"]) == (9, 9)
    assert admin.controller.asked == [{"after": 8, "limit": 5, "rollout": "default"}]


async def test_an_explanation_is_given_without_sending_anything(client: Client, admin: Admin) -> None:
    answer = await client.get(
        "/api/v1/explain?key=alice%20b&path=/menu&host=A.example&method=post&rollout=default"
    )
    assert (answer.json["path"], answer.json["key"], answer.json["bucket"]) == ("v2", "alice b", 7)
    assert admin.controller.asked == [
        {"key": "alice b", "host": "a.example", "path": "/menu", "method": "POST", "rollout": "default"}
    ]


async def test_an_explanation_may_leave_the_choice_of_rollout_to_the_routes(
    client: Client, admin: Admin
) -> None:
    assert (await client.get("/api/v1/explain?key=alice")).status == 200
    assert admin.controller.asked[0]["rollout"] is None


async def test_an_explanation_for_an_unknown_rollout_is_a_problem(client: Client) -> None:
    is_problem(await client.get("/api/v1/explain?key=a&rollout=checkout"), 404)


async def test_the_configuration_is_shown_without_secrets() -> None:
    async with client_of(Admin(tokens=TOKENS).app) as client:
        answer = await client.get("/api/v1/config", Authorization=f"Bearer {VIEWER}")
    assert answer.json["backends"]["v1"]["endpoints"] == ["http://127.0.0.1:9001"]
    assert all(token["sha256"].encode() not in answer.body for token in TOKENS)


async def test_head_is_get_without_a_body(client: Client) -> None:
    answer = await client.send("HEAD", "/api/v1/status", b"")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/status?x=1",
        "/api/v1/rollouts?x=1",
        "/api/v1/rollouts/default?x=1",
        "/api/v1/config?x=1",
        "/api/v1/events?limit=0",
        "/api/v1/explain?key=a&key=b",
    ],
)
async def test_a_query_that_is_not_understood_is_a_problem(client: Client, target: str) -> None:
    is_problem(await client.get(target), 400)


# ... commands ...


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.SET])
async def test_a_verb_without_a_body_is_carried_out(client: Client, admin: Admin, verb: Verb) -> None:
    answer = await client.post(f"/api/v1/rollouts/default/{verb}", Content_Type="")
    assert answer.status == 200
    assert admin.controller.commands == [Command("default", verb, "local")]


async def test_a_command_answers_with_the_rollout_as_it_is_then(client: Client) -> None:
    answer = await client.post("/api/v1/rollouts/default/pause", {"reason": "lunch"})
    assert (answer.json["state"], answer.json["revision"]) == ("paused", RUNNING.revision + 1)
    assert answer.json["paths"]["v1"]["requests"] == 700


async def test_what_is_in_force_and_not_stored_is_said(client: Client, admin: Admin) -> None:
    assert (await client.post("/api/v1/rollouts/default/pause")).json["stored"] is True
    admin.controller.waiting = 2
    assert (await client.post("/api/v1/rollouts/default/pause")).json["stored"] is False
    admin.controller.store_trouble = "disk is full"
    store = {"waiting": 2, "trouble": "disk is full"}
    assert (await client.get("/api/v1/status")).json["store"] == store


async def test_a_set_carries_what_the_body_says(client: Client, admin: Admin) -> None:
    body = {"percentage": 12.5, "reason": "more", "revision": 4}
    await client.post("/api/v1/rollouts/default/set", body)
    assert admin.controller.commands == [
        Command("default", Verb.SET, "local", "more", weight=12_500, revision=4)
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"percentage": 101}', 422),
        (b"{", 400),
        (b"[]", 400),
        (b'{"percentage": 5, "x": 1}', 422),
        (b"", 422),
    ],
)
async def test_a_body_that_says_nothing_possible_is_a_problem(
    client: Client, admin: Admin, body: bytes, status: int
) -> None:
    answer = await client.send("POST", "/api/v1/rollouts/default/set", body, Content_Type="application/json")
    is_problem(answer, status)
    assert admin.controller.commands == []


async def test_a_body_of_another_type_is_a_problem(client: Client, admin: Admin) -> None:
    answer = await client.send(
        "POST", "/api/v1/rollouts/default/set", b"percentage=5", Content_Type="text/plain"
    )
    is_problem(answer, 415)
    assert admin.controller.commands == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_refused_even_without_a_body(
    client: Client, admin: Admin, content_type: str
) -> None:
    is_problem(await client.post("/api/v1/rollouts/default/pause", Content_Type=content_type), 415)
    assert admin.controller.commands == []


async def test_a_body_that_is_too_large_is_a_problem(client: Client, admin: Admin) -> None:
    answer = await client.post("/api/v1/rollouts/default/set", {"reason": "x" * 20_000})
    is_problem(answer, 413)
    assert admin.controller.commands == []


async def test_a_body_that_does_not_arrive_is_a_problem(
    client: Client, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BODY_TIMEOUT_S", 0.01)
    head = b"POST /api/v1/rollouts/default/set HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    exchange = client.exchange(head + b"Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{")
    is_problem(await asyncio.wait_for(exchange, 5), 408)
    assert admin.controller.commands == []


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (IllegalMove("cannot resume what is running"), 409, "urn:dualpath:problem:illegal-move"),
        (StoreUnavailable("the disk is full"), 503, "urn:dualpath:problem:store-unavailable"),
    ],
)
async def test_what_the_controller_refuses_is_a_problem_of_its_own_type(
    client: Client, admin: Admin, failure: Exception, status: int, kind: str
) -> None:
    admin.controller.failure = failure
    answer = await client.post("/api/v1/rollouts/default/resume")
    is_problem(answer, status)
    assert (answer.json["type"], answer.json["detail"]) == (kind, str(failure))


async def test_a_command_to_an_unknown_rollout_is_a_problem(client: Client, admin: Admin) -> None:
    is_problem(await client.post("/api/v1/rollouts/checkout/pause"), 404)
    assert admin.controller.commands == []


async def test_an_unforeseen_failure_is_a_bare_500_and_is_logged(
    client: Client, admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    admin.controller.failure = RuntimeError("password=hunter2")
    with caplog.at_level(logging.ERROR):
        answer = await client.post("/api/v1/rollouts/default/pause")
    is_problem(answer, 500)
    assert b"hunter2" not in answer.body
    assert "hunter2" in caplog.text


# ... what is not there ...


@pytest.mark.parametrize(
    "target", ["/dashboard", "/api/v1", "/api/v1/rollouts/default/explode", "/api/v2/status", "/%0a"]
)
async def test_what_is_not_there_is_a_problem(client: Client, target: str) -> None:
    answer = await client.get(target)
    is_problem(answer, 404)
    assert answer.json["instance"].lower() == target


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("DELETE", "/api/v1/status", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/api/v1/rollouts/default/set", "POST"),
    ],
)
async def test_another_method_is_a_problem_that_names_the_right_ones(
    client: Client, method: str, target: str, allow: str
) -> None:
    answer = await client.send(method, target, b"")
    is_problem(answer, 405)
    assert answer.headers["allow"] == allow


# ... who may ask ...


@pytest_asyncio.fixture
async def guarded() -> AsyncIterator[tuple[Client, Admin]]:
    admin = Admin(tokens=TOKENS)
    async with client_of(admin.app) as client:
        yield client, admin


async def test_without_a_token_nothing_is_told(guarded: tuple[Client, Admin]) -> None:
    client, admin = guarded
    for target in ("/api/v1/status", "/api/v1/config", "/nowhere"):
        answer = await client.get(target)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    is_problem(await client.post("/api/v1/rollouts/default/rollback", peer="192.0.2.1"), 401)
    assert admin.controller.commands == []


async def test_a_viewer_may_look_and_not_act(guarded: tuple[Client, Admin]) -> None:
    client, admin = guarded
    assert (await client.get("/api/v1/status", Authorization=f"Bearer {VIEWER}")).status == 200
    answer = await client.post("/api/v1/rollouts/default/pause", Authorization=f"Bearer {VIEWER}")
    is_problem(answer, 403)
    assert admin.controller.commands == []


async def test_an_operator_acts_under_the_name_of_the_token(guarded: tuple[Client, Admin]) -> None:
    client, admin = guarded
    answer = await client.post("/api/v1/rollouts/default/pause", Authorization=f"Bearer {OPERATOR}")
    assert answer.status == 200
    assert admin.controller.commands[0].actor == "bob"


async def test_a_token_in_the_query_is_none(guarded: tuple[Client, Admin]) -> None:
    client, _ = guarded
    is_problem(await client.get(f"/api/v1/status?token={OPERATOR}"), 401)


async def test_who_guesses_is_told_to_wait(guarded: tuple[Client, Admin]) -> None:
    client, admin = guarded
    for guess in range(10):
        is_problem(await client.get("/api/v1/status", Authorization=f"Bearer guess-{guess}"), 401)
    answer = await client.get("/api/v1/status", Authorization=f"Bearer {OPERATOR}")
    is_problem(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    other = await client.get("/api/v1/status", peer="192.0.2.2", Authorization=f"Bearer {OPERATOR}")
    assert other.status == 200
    admin.clock.advance(60)
    assert (await client.get("/api/v1/status", Authorization=f"Bearer {OPERATOR}")).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9900", ""])
async def test_a_host_that_is_not_ours_is_refused(client: Client, admin: Admin, host: str) -> None:
    answer = await client.send("GET", "/api/v1/status", b"", Host=host)
    assert answer.status in {400, 403}
    is_problem(await client.post("/api/v1/rollouts/default/pause", Host=host or "x"), 403)
    assert admin.controller.commands == []


async def test_a_page_of_another_origin_may_not_act(client: Client, admin: Admin) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        is_problem(await client.post("/api/v1/rollouts/default/pause", **headers), 403)
    assert admin.controller.commands == []


# ... what every answer carries ...


@pytest.mark.parametrize("target", ["/healthz", "/api/v1/status", "/nowhere", "/api/v1/rollouts/checkout"])
async def test_every_answer_carries_the_security_headers(client: Client, target: str) -> None:
    headers = (await client.get(target, Origin=f"http://{'127.0.0.1:9900'}")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["server"] == "dualpath"


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_no_answer_opens_itself_to_other_origins(client: Client, method: str) -> None:
    answer = await client.send(
        method, "/api/v1/status", b"", Origin="http://evil.example", Access_Control_Request_Method="POST"
    )
    assert not any(name.startswith("access-control") for name in answer.headers)


# ... metrics ...


async def written(accept: str) -> tuple[bytes, str]:
    return f"a 1 # {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"


def with_metrics(**metrics: Any) -> web.Application:
    """An application with tokens, and metrics to show."""
    around = Surroundings("proxy-1", list, FakeClock(), metrics=written)
    return build_admin(metered(**metrics), cast("Controller", FakeController()), around)


def metered(**metrics: Any) -> Config:
    return config(tokens=TOKENS).model_copy(update={"telemetry": Telemetry.read({"metrics": metrics})})


async def test_metrics_are_shown_to_viewers_as_they_were_written() -> None:
    async with client_of(with_metrics()) as client:
        assert (await client.get("/metrics")).status == 401
        answer = await client.get("/metrics", Authorization=f"Bearer {VIEWER}", Accept="text/plain")
    assert (answer.status, answer.body) == (200, b"a 1 # text/plain\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_open_metrics_need_no_token_and_nothing_else_is_open_with_them() -> None:
    app = with_metrics(open=True)
    async with client_of(app) as client:
        assert (await client.get("/metrics", Host="10.0.0.7:9900")).status == 200
        assert (await client.get("/api/v1/status")).status == 401
        assert (await client.get("/metrics?x=1")).status == 400
        follow(app, metered(open=False))
        assert (await client.get("/metrics")).status == 401


async def test_without_a_source_there_are_no_metrics(client: Client) -> None:
    is_problem(await client.get("/metrics"), 404)


# ... what the dashboard asks for ...


async def test_the_last_seconds_of_a_rollout(client: Client) -> None:
    answer = await client.get("/api/v1/rollouts/default/seconds")
    assert (answer.status, answer.json["rollout"]) == (200, "default")
    assert answer.json["percentage"] == [30.0] * len(answer.json["at"])
    is_problem(await client.get("/api/v1/rollouts/nothing/seconds"), 404)


async def test_how_latencies_spread(client: Client) -> None:
    answer = await client.get("/api/v1/rollouts/default/latencies")
    assert answer.json == {"rollout": "default", "window_s": 60.0, "v1": [], "v2": []}
    is_problem(await client.get("/api/v1/rollouts/nothing/latencies"), 404)
