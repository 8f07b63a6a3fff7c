"""What the sample service accepts: one frozen pydantic model per kind of input.

Owns what makes an input valid. Must never know where it came from or where it is kept.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=80)]
Word = Annotated[str, Field(min_length=1, max_length=40)]
Price = Annotated[int, Field(ge=1, le=4, strict=True)]
Stars = Annotated[int, Field(ge=1, le=5, strict=True)]
SortKey = Literal["id", "-id", "name", "-name", "price", "-price", "rating", "-rating"]


class Input(BaseModel):
    """Base of all inputs: frozen, no unknown fields, text without surrounding blanks."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class RestaurantDraft(Input):
    """A whole restaurant as a client writes it. `price` is from 1 (cheap) to 4."""

    name: Name
    cuisine: Word
    city: Word
    price: Price


class RestaurantChange(Input):
    """Some of a restaurant's fields; those that are not given stay. A null is no value."""

    name: Name = ""
    cuisine: Word = ""
    city: Word = ""
    price: Price = 0

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("at least one field must be given")
        return self


class ReviewDraft(Input):
    """A review as a client writes it: 1 to 5 stars."""

    author: Word
    stars: Stars
    text: Annotated[str, Field(max_length=500)] = ""


class Window(Input):
    """Which slice of a list is wanted."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0)] = 0


class Search(Window):
    """Filters, order and slice of the list. `q` is found anywhere in the name; case makes no difference."""

    cuisine: str | None = None
    city: str | None = None
    min_rating: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] | None = None
    q: str | None = None
    sort: SortKey = "id"
