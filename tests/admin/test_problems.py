from __future__ import annotations

import orjson
import pytest
from aiohttp import web

from proxy import errors
from proxy.admin.problems import MEDIA_TYPE, Problem, RefusedError, problem_of, problem_response


def test_a_refusal_keeps_its_detail_headers_and_members() -> None:
    problem = problem_of(
        RefusedError(
            401, "a token is needed", headers={"WWW-Authenticate": "Bearer"}, members={"missing": ["x"]}
        )
    )
    assert problem.document("/api/v1/status") == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "a token is needed",
        "instance": "/api/v1/status",
        "missing": ["x"],
    }
    assert problem.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.UnknownRollout("no such"), 404, "urn:dualpath:problem:unknown-rollout"),
        (errors.IllegalMove("no such"), 409, "urn:dualpath:problem:illegal-move"),
        (errors.RevisionConflict("no such"), 409, "urn:dualpath:problem:stale-revision"),
        (errors.InvalidCommand("no such"), 422, "urn:dualpath:problem:invalid-command"),
        (errors.StoreUnavailable("no such"), 503, "urn:dualpath:problem:store-unavailable"),
    ],
)
def test_a_control_error_has_a_type_of_its_own(error: errors.ControlError, status: int, kind: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.kind, problem.title, problem.detail) == (
        status,
        kind,
        error.title,
        "no such",
    )


def test_a_method_that_is_not_allowed_says_which_are() -> None:
    problem = problem_of(web.HTTPMethodNotAllowed("PUT", ["HEAD", "GET"]))
    assert (problem.status, problem.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (web.HTTPNotFound(), 404),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413),
        (web.HTTPBadRequest(text="internals"), 400),
    ],
)
def test_the_frameworks_own_errors_are_about_nothing_but_their_status(
    error: web.HTTPException, status: int
) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.kind) == (status, "about:blank")
    assert "internals" not in problem.detail


def test_anything_else_is_a_bare_500() -> None:
    problem = problem_of(RuntimeError("password=hunter2"))
    assert problem.status == 500
    assert "hunter2" not in str(problem.document("/"))


def test_members_never_hide_the_registered_ones() -> None:
    assert Problem(503, "Service Unavailable", members={"status": 200}).document("/")["status"] == 503


def test_a_response_is_a_problem_document() -> None:
    response = problem_response(Problem(404, "Not Found", headers={"X-A": "b"}), "/%0A")
    assert (response.status, response.content_type, response.headers["X-A"]) == (404, MEDIA_TYPE, "b")
    assert isinstance(response.body, bytes)
    assert orjson.loads(response.body)["instance"] == "/%0A"
