from __future__ import annotations

from typing import Any

import pytest

from proxy.config.schema import Backends, Rollout, Smoke
from proxy.deploy_smoke import Answer, NoAnswerError, Place, differences, missing_endpoints, smoke
from proxy.model import Path

V1, OTHER, V2 = Place(Path.V1, "http://a:1"), Place(Path.V1, "http://b:1"), Place(Path.V2, "http://c:1")
FINE = Answer(200, 5, "abc")


def backends(**v2: Any) -> Backends:
    table = {"v1": {"endpoints": ["http://a:1", "http://b:1"]}, "v2": {"endpoints": ["http://c:1"], **v2}}
    return Backends.model_validate(table)


class Scripted:
    """Answers by place."""

    def __init__(self, **answers: Answer | str) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str, float]] = []

    async def ask(self, place: Place, smoke: Smoke, timeout_s: float) -> Answer:
        self.asked.append((place.url, smoke.method, smoke.path, timeout_s))
        answer = self.answers.get(place.url[7], FINE)
        if isinstance(answer, str):
            raise NoAnswerError(answer)
        return answer


@pytest.mark.parametrize(
    ("request_", "v2", "problem"),
    [
        ({}, FINE, None),
        ({}, Answer(200, 9, "xyz"), None),
        ({}, Answer(500), "v2 http://c:1 answers 500, v1 200"),
        ({"expect_status": 200}, Answer(404), "v2 http://c:1 answers 404, expected 200"),
        ({"compare": "body"}, FINE, None),
        (
            {"compare": "body"},
            Answer(200, 5, "xyz"),
            "v2 http://c:1 answers another body (5 bytes, sha256 xyz) than v1 (5 bytes, abc)",
        ),
        ({}, NoAnswerError("cannot be reached: refused"), "v2 http://c:1: cannot be reached: refused"),
    ],
)
def test_both_must_answer_alike(
    request_: dict[str, Any], v2: Answer | NoAnswerError, problem: str | None
) -> None:
    found = differences(Smoke(path="/", **request_), {V1: FINE, OTHER: FINE, V2: v2})
    assert found == ([] if problem is None else [problem])


def test_what_is_expected_is_expected_of_both() -> None:
    found = differences(Smoke(path="/", expect_status=200), {V1: Answer(500), V2: Answer(500)})
    assert found == [f"{place} answers 500, expected 200" for place in (V1, V2)]


def test_a_second_endpoint_of_v1_is_held_against_the_first() -> None:
    assert differences(Smoke(path="/"), {V1: FINE, OTHER: Answer(302), V2: FINE}) == [
        "v1 http://b:1 answers 302, v1 200"
    ]


async def test_each_request_goes_to_every_endpoint() -> None:
    asker = Scripted(c=Answer(503))
    rollout = Rollout(name="r", smoke=(Smoke(path="/a?b=1"), Smoke(path="/c", method="POST")))
    told = await smoke(asker, backends(), rollout)
    assert [(request.path, problems) for request, problems in told] == [
        ("/a?b=1", ["v2 http://c:1 answers 503, v1 200"]),
        ("/c", ["v2 http://c:1 answers 503, v1 200"]),
    ]
    assert asker.asked[:3] == [(f"http://{host}:1", "GET", "/a?b=1", 30.0) for host in "abc"]
    assert {method for _, method, _, _ in asker.asked[3:]} == {"POST"}


async def test_an_endpoint_is_asked_by_its_probe_or_for_any_answer() -> None:
    probe = {"path": "/up", "timeout": "3s"}
    asker = Scripted(b="cannot be reached", a=Answer(500), c=Answer(500))
    assert await missing_endpoints(asker, backends(health=probe)) == {
        OTHER: "cannot be reached",
        V2: "answers 500 to its probe /up",
    }
    assert asker.asked[2] == ("http://c:1", "GET", "/up", 3.0)
    assert asker.asked[0] == ("http://a:1", "GET", "/", 10.0)
