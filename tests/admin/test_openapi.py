"""The document and the application say the same, because both come from one table."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs
import orjson
import pytest

from proxy.admin import views
from proxy.admin.application import PROBES, Surroundings, build_admin
from proxy.admin.inputs import read_command
from proxy.admin.openapi import document
from proxy.admin.operations import OPERATIONS
from proxy.admin.pages import FILES, SESSION
from proxy.admin.problems import RefusedError
from proxy.admin.seconds import Seconds
from proxy.core.histogram import Histogram
from proxy.model import Explanation, KeyOverride, Path, PathSummary, Snapshot, Verb
from tests.admin.builders import EMPTY_REPORT, ENDPOINTS, EVENT, REPORT, config
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from proxy.controlplane.controller import Controller

DOCUMENT = document()


def valid(schema: str, value: object) -> None:
    """Raises unless the value, as JSON, is what the document says of it."""
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(wanted).validate(orjson.loads(orjson.dumps(value)))


def test_every_route_is_described_and_nothing_else_is() -> None:
    around = Surroundings("proxy-1", list, FakeClock())
    app = build_admin(config(), cast("Controller", None), around)
    routed = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"  # which is GET without the content
    }
    described = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    beside = {("get", path) for path in FILES}
    assert routed - beside == described
    assert beside <= routed
    assert len(described) == len(OPERATIONS)


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_only_the_probes_and_the_login_need_no_token() -> None:
    open_to_all = {
        path for path, methods in DOCUMENT["paths"].items() if methods.get("get", {}).get("security") == []
    }
    assert open_to_all == PROBES | {SESSION}
    assert {"/healthz", "/readyz"} == PROBES


def test_metrics_come_in_either_form() -> None:
    answer = DOCUMENT["paths"]["/metrics"]["get"]["responses"]["200"]
    assert set(answer["content"]) == {"text/plain", "application/openmetrics-text"}


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            found = [value["$ref"]] if "$ref" in value else []
            return found + [one for child in value.values() for one in references(child)]
        return [one for child in value for one in references(child)] if isinstance(value, list) else []

    schemas = DOCUMENT["components"]["schemas"]
    assert {one.removeprefix("#/components/schemas/") for one in references(DOCUMENT)} == set(schemas)


@pytest.mark.parametrize("report", [REPORT, EMPTY_REPORT])
def test_a_rollout_is_what_the_document_says(report: Any) -> None:
    valid("Rollout", views.rollout_view(report))
    valid("Moved", {**views.rollout_view(report), "stored": True, "local_only": False})


def test_the_other_answers_are_what_the_document_says() -> None:
    valid("Events", views.events_view([EVENT]))
    valid("Events", views.events_view([]))
    valid("Explanation", views.explanation_view(Explanation(None, Path.V1, "no route", None)))
    sent = KeyOverride("default", "ada", Path.V2, "tess", 1.0)
    overridden = Explanation("default", Path.V2, "override v2", "ada", override=sent)
    valid("Explanation", views.explanation_view(overridden))
    valid("Seconds", Seconds().document("default"))
    spread = PathSummary(latency=Histogram.of([(40, 7), (41, 2), (200, 1)], 0).reading())
    valid("LatenciesNow", {"rollout": "default", **views.latencies_view(Snapshot(v1=spread))})
    valid("Ready", {"status": "ready", "missing": [], "backends": views.backends_view(ENDPOINTS)})


def test_an_answer_with_a_key_that_nobody_described_is_not() -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        valid("Rollout", {**views.rollout_view(REPORT), "colour": "red"})


BODIES: dict[Verb, list[tuple[dict[str, Any], bool]]] = {
    Verb.SET: [
        ({"percentage": 12.5}, True),
        ({"percentage": 100, "reason": "why", "revision": 4}, True),
        ({}, False),
        ({"percentage": 101}, False),
        ({"percentage": "5"}, False),
        ({"percentage": None}, False),
        ({"percentage": 5, "full": True}, False),
    ],
    Verb.ROLLBACK: [({}, True), ({"percentage": 5}, True), ({"percentage": -1}, False)],
    Verb.PROMOTE: [({"full": True}, True), ({"full": 1}, False), ({"percentage": 5}, False)],
    Verb.PAUSE: [({"reason": "x" * 500}, True), ({"reason": "x" * 501}, False), ({"revision": -1}, False)],
}


@pytest.mark.parametrize(
    ("verb", "body", "good"), [(verb, *one) for verb, bodies in BODIES.items() for one in bodies]
)
def test_a_body_is_taken_where_the_document_allows_it(verb: Verb, body: dict[str, Any], good: bool) -> None:
    described = DOCUMENT["paths"][f"/api/v1/rollouts/{{name}}/{verb}"]["post"]["requestBody"]
    schema = described["content"]["application/json"]["schema"]
    assert jsonschema_rs.validator_for(schema).is_valid(body) is good
    assert described["required"] is (verb is Verb.SET)
    with nullcontext() if good else pytest.raises(RefusedError, match="422"):
        read_command(orjson.dumps(body), "application/json", rollout="default", verb=verb, actor="bob")
