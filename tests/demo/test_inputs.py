"""What is accepted, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from proxy.demo.inputs import Input, RestaurantChange, RestaurantDraft, ReviewDraft, Search

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD = {"name": "Nori", "cuisine": "japanese", "city": "Oslo", "price": 3}


@pytest.mark.parametrize(
    ("model", "value", "field"),
    [
        (RestaurantDraft, {**GOOD, "name": "   "}, "name"),
        (RestaurantDraft, {**GOOD, "name": "x" * 81}, "name"),
        (RestaurantDraft, {**GOOD, "price": 5}, "price"),
        (RestaurantDraft, {**GOOD, "price": "3"}, "price"),
        (RestaurantDraft, {**GOOD, "stars": 3}, "stars"),
        (RestaurantDraft, {"name": "Nori", "cuisine": "japanese", "price": 3}, "city"),
        (RestaurantChange, {"city": None}, "city"),
        (RestaurantChange, {"price": 0}, "price"),
        (RestaurantChange, {}, ""),
        (ReviewDraft, {"author": "Alma", "stars": 6}, "stars"),
        (ReviewDraft, {"author": "Alma", "stars": 5, "text": "x" * 501}, "text"),
        (Search, {"limit": "0"}, "limit"),
        (Search, {"limit": "101"}, "limit"),
        (Search, {"offset": "-1"}, "offset"),
        (Search, {"min_rating": "nan"}, "min_rating"),
        (Search, {"sort": "colour"}, "sort"),
        (Search, {"colour": "red"}, "colour"),
    ],
)
def test_refused_with_the_name_of_the_field(model: type[Input], value: Mapping[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]


def test_text_loses_its_surrounding_blanks() -> None:
    assert RestaurantDraft.model_validate({**GOOD, "name": " Nori "}).name == "Nori"


def test_a_query_is_text_and_becomes_numbers() -> None:
    assert Search.model_validate({"limit": "5", "min_rating": "4.5"}) == Search(limit=5, min_rating=4.5)
