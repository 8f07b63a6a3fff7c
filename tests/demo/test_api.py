"""Requests in, answers out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo import api as api_module
from proxy.demo.api import Answer, Request, RestaurantApi
from proxy.demo.seed import seeded_store

NORI = {"name": "Nori", "cuisine": "japanese", "city": "Oslo", "price": 3}


@pytest.fixture
def api() -> RestaurantApi:
    return RestaurantApi(seeded_store())


def _request(method: str, target: str, body: object = None, key: str | None = None) -> Request:
    path, _, query = target.partition("?")
    pairs = tuple(
        (name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)
    )
    return Request(method, path, pairs, b"" if body is None else orjson.dumps(body), key)


def _json(answer: Answer) -> Any:
    return orjson.loads(answer.body)


def test_the_list_is_filtered_and_sliced(api: RestaurantApi) -> None:
    answer = api.answer(_request("GET", "/restaurants?cuisine=thai&limit=2&offset=1"))
    page = _json(answer)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert (page["total"], page["limit"], page["offset"]) == (6, 2, 1)
    assert [item["name"] for item in page["items"]] == ["Chili and Lime", "Lemongrass"]


def test_a_created_restaurant_can_be_read_where_its_location_says(api: RestaurantApi) -> None:
    created = api.answer(_request("POST", "/restaurants", NORI))
    assert (created.status, created.location) == (201, "/restaurants/61")
    assert _json(api.answer(_request("GET", "/restaurants/61"))) == _json(created) | NORI


def test_put_replaces_patch_changes_delete_removes(api: RestaurantApi) -> None:
    assert _json(api.answer(_request("PUT", "/restaurants/7", NORI)))["name"] == "Nori"
    changed = _json(api.answer(_request("PATCH", "/restaurants/7", {"price": 1})))
    assert (changed["name"], changed["price"]) == ("Nori", 1)
    assert api.answer(_request("DELETE", "/restaurants/7")) == Answer(204)
    assert api.answer(_request("GET", "/restaurants/7")).status == 404


def test_reviews_are_added_and_listed(api: RestaurantApi) -> None:
    review = {"author": "Alma", "stars": 5, "text": "again"}
    assert api.answer(_request("POST", "/restaurants/7/reviews", review)).status == 201
    listed = _json(api.answer(_request("GET", "/restaurants/7/reviews?limit=1")))
    assert listed["items"] == [{"id": 211, **review}]


def test_statistics_and_health(api: RestaurantApi) -> None:
    assert _json(api.answer(_request("GET", "/statistics")))["restaurants"] == 60
    assert _json(api.answer(_request("GET", "/health"))) == {"status": "ok"}


def test_invalid_fields_are_named_in_a_problem_document(api: RestaurantApi) -> None:
    answer = api.answer(_request("POST", "/restaurants", {"name": "", "cuisine": "thai", "price": 9}))
    assert (answer.status, answer.content_type) == (422, "application/problem+json")
    assert [error["field"] for error in _json(answer)["errors"]] == ["name", "city", "price"]


def test_an_empty_change_says_what_is_missing(api: RestaurantApi) -> None:
    answer = api.answer(_request("PATCH", "/restaurants/7", {}))
    assert _json(answer)["errors"] == [{"field": "", "message": "at least one field must be given"}]


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/restaurants?limit=many", b"", 422),
        ("GET", "/restaurants/7/reviews?sort=id", b"", 422),
        ("POST", "/restaurants", b"{", 400),
        ("POST", "/restaurants", b"", 400),
        ("POST", "/restaurants", b"[]", 422),
        ("PUT", "/restaurants/999", orjson.dumps(NORI), 404),
        ("PATCH", "/restaurants/999", b'{"price": 1}', 404),
        ("DELETE", "/restaurants/999", b"", 404),
        ("POST", "/restaurants/999/reviews", b'{"author": "Alma", "stars": 1}', 404),
        ("GET", "/restaurants/seven", b"", 404),
        ("GET", "/restaurants/1234567890", b"", 404),
        ("GET", "/restaurants/7/menu", b"", 404),
        ("GET", "/", b"", 404),
    ],
)
def test_refusals_are_problem_documents(
    api: RestaurantApi, method: str, target: str, body: bytes, status: int
) -> None:
    request = _request(method, target)
    answer = api.answer(Request(request.method, request.path, request.query, body))
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert _json(answer)["status"] == status


def test_another_method_is_told_which_ones_there_are(api: RestaurantApi) -> None:
    answer = api.answer(_request("DELETE", "/restaurants"))
    assert (answer.status, answer.allow) == (405, ("GET", "HEAD", "OPTIONS", "POST"))


def test_options_tells_the_methods_too(api: RestaurantApi) -> None:
    answer = api.answer(_request("OPTIONS", "/statistics"))
    assert (answer.status, answer.allow, answer.body) == (204, ("GET", "HEAD", "OPTIONS"), b"")


def test_head_is_answered_like_get(api: RestaurantApi) -> None:
    assert api.answer(_request("HEAD", "/statistics")) == api.answer(_request("GET", "/statistics"))


# ... Idempotency-Key ...


def test_a_repeated_key_creates_once_and_answers_the_same(api: RestaurantApi) -> None:
    first = api.answer(_request("POST", "/restaurants", NORI, key="a"))
    assert api.answer(_request("POST", "/restaurants", NORI, key="a")) == first
    assert _json(api.answer(_request("GET", "/statistics")))["restaurants"] == 61


def test_a_key_belongs_to_one_path(api: RestaurantApi) -> None:
    review = {"author": "Alma", "stars": 5}
    first = api.answer(_request("POST", "/restaurants/1/reviews", review, key="a"))
    second = api.answer(_request("POST", "/restaurants/2/reviews", review, key="a"))
    assert _json(first)["id"] != _json(second)["id"]


def test_an_idempotent_method_needs_no_memory(api: RestaurantApi) -> None:
    api.answer(_request("DELETE", "/restaurants/7", key="a"))
    assert api.answer(_request("DELETE", "/restaurants/7", key="a")).status == 404


def test_the_oldest_key_is_forgotten(api: RestaurantApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "KEYS_REMEMBERED", 2)
    for key in "abc":
        api.answer(_request("POST", "/restaurants", NORI, key=key))
    assert api.answer(_request("POST", "/restaurants", NORI, key="c")).location == "/restaurants/63"
    assert api.answer(_request("POST", "/restaurants", NORI, key="a")).location == "/restaurants/64"


# ... Equality of versions ...

_targets = st.sampled_from(
    [
        "/restaurants",
        "/restaurants?sort=-rating",
        "/restaurants/1",
        "/restaurants/61",
        "/restaurants/1/reviews",
    ]
)
_bodies = st.sampled_from([None, NORI, {"price": 2}, {"author": "Alma", "stars": 4}, {"price": "two"}])
_requests = st.builds(
    _request,
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    _targets,
    _bodies,
    st.sampled_from([None, "a", "b"]),
)


@given(st.lists(_requests, max_size=20))
def test_the_same_requests_in_the_same_order_get_the_same_answers(requests: list[Request]) -> None:
    v1, v2 = RestaurantApi(seeded_store()), RestaurantApi(seeded_store())
    assert [v1.answer(request) for request in requests] == [v2.answer(request) for request in requests]


@given(st.text(max_size=8), st.text(max_size=20), st.binary(max_size=20))
def test_no_request_makes_it_raise(method: str, path: str, body: bytes) -> None:
    api = RestaurantApi(seeded_store())
    assert api.answer(Request(method, path, body=body)).status in {200, 204, 400, 404, 405}
    assert api.answer(Request("POST", "/restaurants", ((path, method),), body)).status in {400, 422}


def test_repr_shows_the_store_and_the_keys(api: RestaurantApi) -> None:
    assert repr(api) == "<RestaurantApi <RestaurantStore restaurants=60 reviews=210> keys=0>"
