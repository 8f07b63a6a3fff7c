"""The running admin API does what its own document says, whatever is sent: schemathesis makes the requests.

Half of them are made to break the rules. The document is the one that the process serves.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from proxy.admin.openapi import document
from proxy.admin.operations import EVENT_STREAM, OPERATIONS
from tests.e2e.raw_client import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.admin.operations import Operation
    from tests.e2e.proxy_process import ProxyProcess, Table

load_all_checks()

TOKEN = "operator-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 10
"""Requests to each operation."""


API = schemathesis.openapi.from_dict(deepcopy(document()))


@pytest.fixture(scope="module", name="settings")
def _settings() -> dict[str, Table]:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return {"admin": {"tokens": [{"name": "fuzz", "role": "operator", "sha256": digest}]}}


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


ENDING = [one for one in OPERATIONS if one.media_types != (EVENT_STREAM,)]
"""A stream has no answer that could be waited for; tests/admin/test_stream.py has its own."""
TAKES_ANYTHING = [one for one in ENDING if one.query or one.body]


def test_the_document_is_served_as_it_was_checked(proxy: ProxyProcess, session: requests.Session) -> None:
    answer = session.get(f"{proxy.admin_url}/api/v1/openapi.json", headers=BEARER, timeout=LIMIT_S)
    assert answer.json() == document()
    assert session.get(f"{proxy.admin_url}/api/v1/openapi.json", timeout=LIMIT_S).status_code == 401


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        *((one, GenerationMode.POSITIVE) for one in ENDING),
        *((one, GenerationMode.NEGATIVE) for one in TAKES_ANYTHING),  # who asks nothing breaks no rule
    ],
    ids=lambda one: one.name.lower(),
)
def test_it_answers_as_it_says(
    proxy: ProxyProcess, session: requests.Session, operation: Operation, mode: GenerationMode
) -> None:
    described = API[operation.path][operation.method]
    statuses = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy(generation_mode=mode), known=st.booleans())
    def ask(case: schemathesis.Case[Any], known: bool) -> None:
        if known and "name" in case.path_parameters:
            case.path_parameters["name"] = "default"
        response = case.call(base_url=proxy.admin_url, session=session, headers=BEARER, timeout=LIMIT_S)
        case.validate_response(response, checks=CHECKS, headers=BEARER)
        assert response.headers["cache-control"] == ["no-store"]
        statuses.add(response.status_code)

    ask()
    assert statuses
