"""The OpenAPI 3.1 document of the admin API, made from the table of operations.

Owns the document's form alone.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from proxy import __version__
from proxy.admin.operations import OPERATIONS
from proxy.admin.problems import MEDIA_TYPE
from proxy.admin.schemas import SCHEMAS, TEXT, ref

if TYPE_CHECKING:
    from proxy.admin.operations import Operation

_ALWAYS = (400, 417, 500)
_GUARDED = (401, 403, 429)
_PLACE = re.compile(r"{(\w+)}")


def document() -> dict[str, Any]:
    """All operations, their inputs and their answers."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dualpath admin API",
            "version": __version__,
            "description": "Rates are 0 to 1, percentages 0 to 100, latencies milliseconds, instants UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.meaning,
        # Without admin.tokens nobody needs one.
        "security": [{"token": []}, {}] if operation.guarded else [],
        "responses": {"200": _answer(operation.media_types, operation.answer, "Done.")}
        | {
            str(status): _answer((MEDIA_TYPE,), "Problem", HTTPStatus(status).phrase)
            for status in sorted({*_ALWAYS, *(_GUARDED if operation.guarded else ()), *operation.refusals})
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": TEXT}
        for name in _PLACE.findall(operation.path)
    ] + [
        {"name": query.name, "in": "query", "schema": query.schema, "description": query.meaning}
        for query in operation.query
    ]
    if parameters:
        described["parameters"] = parameters
    body = operation.body
    if body is not None:
        described["requestBody"] = {
            "required": bool(body.get("required")),
            "content": {"application/json": {"schema": body}},
        }
    return described


def _answer(media_types: tuple[str, ...], schema: str, meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {one: {"schema": ref(schema)} for one in media_types}}
