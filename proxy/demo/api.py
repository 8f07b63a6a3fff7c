"""The sample service's HTTP API as a function from request to answer.

Owns which path and method mean what, the status codes, the problem documents (RFC 9457) and the memory
of `Idempotency-Key`. Must never know a socket, a version or a fault: both versions answer with this.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from pydantic import ValidationError

from proxy.demo.inputs import RestaurantChange, RestaurantDraft, ReviewDraft, Search, Window
from proxy.demo.restaurants import UnknownRestaurant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.demo.restaurants import RestaurantStore

KEYS_REMEMBERED = 10_000
_REPEATABLE = frozenset({"POST", "PATCH"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. `path` starts with "/", `query` has one value per name."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets. `allow` are the methods of the path, where the answer is about them."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    location: str | None = None
    allow: tuple[str, ...] = ()


class RestaurantApi:
    """The API over one store. `answer` never raises for anything a client sent."""

    def __init__(self, store: RestaurantStore) -> None:
        self._store = store
        self._remembered: OrderedDict[tuple[str, str, str], Answer] = OrderedDict()

    def __repr__(self) -> str:
        return f"<RestaurantApi {self._store!r} keys={len(self._remembered)}>"

    def answer(self, request: Request) -> Answer:
        """The answer; a POST or PATCH whose `Idempotency-Key` was seen before gets its first answer again."""
        if request.idempotency_key is None or request.method not in _REPEATABLE:
            return self._fresh(request)
        identity = (request.method, request.path, request.idempotency_key)
        if identity not in self._remembered:
            self._remembered[identity] = self._fresh(request)
            if len(self._remembered) > KEYS_REMEMBERED:
                self._remembered.popitem(last=False)
        return self._remembered[identity]

    def _fresh(self, request: Request) -> Answer:
        methods, restaurant_id = self._resource(request.path)
        if not methods:
            return problem(HTTPStatus.NOT_FOUND, f"nothing is at {request.path}")
        operation = methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            return _not_allowed(request.method, tuple(sorted({*methods, "HEAD", "OPTIONS"})))
        try:
            return operation(request, restaurant_id)
        except UnknownRestaurant as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except orjson.JSONDecodeError:
            return problem(HTTPStatus.BAD_REQUEST, "the body is not JSON")
        except ValidationError as error:
            return _invalid(error)

    def _resource(self, path: str) -> tuple[Mapping[str, _Operation], int]:
        """The operations of a path, none for an unknown one, and the id in it (0 if there is none)."""
        match path.strip("/").split("/"):
            case ["restaurants"]:
                return {"GET": self._search, "POST": self._create}, 0
            case ["restaurants", number] if _is_id(number):
                single = {
                    "GET": self._get,
                    "PUT": self._replace,
                    "PATCH": self._change,
                    "DELETE": self._remove,
                }
                return single, int(number)
            case ["restaurants", number, "reviews"] if _is_id(number):
                return {"GET": self._reviews, "POST": self._add_review}, int(number)
            case ["statistics"]:
                return {"GET": self._statistics}, 0
            case ["health"]:
                return {"GET": self._health}, 0
        return {}, 0

    # ... One method per operation ...

    def _search(self, request: Request, _: int) -> Answer:
        return _json(self._store.search(Search.model_validate(dict(request.query))))

    def _create(self, request: Request, _: int) -> Answer:
        created = self._store.create(RestaurantDraft.model_validate(orjson.loads(request.body)))
        return _json(created, HTTPStatus.CREATED, location=f"/restaurants/{created.id}")

    def _get(self, _: Request, restaurant_id: int) -> Answer:
        return _json(self._store.get(restaurant_id))

    def _replace(self, request: Request, restaurant_id: int) -> Answer:
        draft = RestaurantDraft.model_validate(orjson.loads(request.body))
        return _json(self._store.update(restaurant_id, draft))

    def _change(self, request: Request, restaurant_id: int) -> Answer:
        change = RestaurantChange.model_validate(orjson.loads(request.body))
        return _json(self._store.update(restaurant_id, change))

    def _remove(self, _: Request, restaurant_id: int) -> Answer:
        self._store.remove(restaurant_id)
        return Answer(HTTPStatus.NO_CONTENT)

    def _reviews(self, request: Request, restaurant_id: int) -> Answer:
        return _json(self._store.reviews(restaurant_id, Window.model_validate(dict(request.query))))

    def _add_review(self, request: Request, restaurant_id: int) -> Answer:
        draft = ReviewDraft.model_validate(orjson.loads(request.body))
        return _json(self._store.add_review(restaurant_id, draft), HTTPStatus.CREATED)

    def _statistics(self, _: Request, __: int) -> Answer:
        return _json(self._store.statistics())

    def _health(self, _: Request, __: int) -> Answer:
        return _json({"status": "ok"})


if TYPE_CHECKING:
    _Operation = Callable[[Request, int], Answer]


def problem(status: HTTPStatus, detail: str, errors: list[dict[str, str]] | None = None) -> Answer:
    """A problem document (RFC 9457); `errors` adds one entry per invalid field."""
    document: dict[str, object] = {"title": status.phrase, "status": status.value, "detail": detail}
    if errors is not None:
        document["errors"] = errors
    return Answer(status, orjson.dumps(document), "application/problem+json")


def _invalid(error: ValidationError) -> Answer:
    errors = [
        {"field": ".".join(map(str, fault["loc"])), "message": fault["msg"].removeprefix("Value error, ")}
        for fault in error.errors()
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the input is not valid", errors)


def _not_allowed(method: str, allow: tuple[str, ...]) -> Answer:
    if method == "OPTIONS":
        return Answer(HTTPStatus.NO_CONTENT, allow=allow)
    refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here")
    return Answer(refusal.status, refusal.body, refusal.content_type, allow=allow)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK, location: str | None = None) -> Answer:
    return Answer(status, orjson.dumps(value), location=location)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
