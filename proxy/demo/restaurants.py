"""The sample service's domain: restaurants and their reviews, in memory.

Owns the values and the store with its queries. Must never know HTTP, a clock or chance: the same calls in the
same order give the same values, which makes two versions comparable.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.demo.inputs import RestaurantChange, RestaurantDraft, ReviewDraft, Search, Window

MAX_REVIEWS = 100
"""Reviews kept per restaurant; the oldest makes room, so that endless traffic needs no endless memory."""


class UnknownRestaurant(LookupError):
    """There is no restaurant of that id."""

    def __init__(self, restaurant_id: int) -> None:
        super().__init__(f"there is no restaurant {restaurant_id}")


# ... Values ...


@dataclass(frozen=True, slots=True)
class Review:
    """One review; `id` counts up over the whole store."""

    id: int
    author: str
    stars: int
    text: str


@dataclass(frozen=True, slots=True)
class Restaurant:
    """One restaurant. `rating` is the mean of the kept reviews to two places, None without one."""

    id: int
    name: str
    cuisine: str
    city: str
    price: int
    rating: float | None = None
    review_count: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list, and how long the whole list is."""

    items: Sequence[Restaurant] | Sequence[Review]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures over all restaurants; `best` are the five with the highest rating."""

    restaurants: int
    reviews: int
    average_rating: float | None
    by_cuisine: dict[str, int]
    by_city: dict[str, int]
    best: Sequence[Restaurant]


# ... Store ...


class RestaurantStore:
    """Restaurants and reviews by id. Methods that take an id raise `UnknownRestaurant`."""

    def __init__(self) -> None:
        self._restaurants: dict[int, Restaurant] = {}
        self._reviews: dict[int, list[Review]] = {}
        self._last_restaurant = 0
        self._last_review = 0

    def __repr__(self) -> str:
        return f"<RestaurantStore restaurants={len(self._restaurants)} reviews={self._last_review}>"

    def search(self, search: Search) -> Page:
        """The restaurants that pass every given filter, ordered (equal ones by id), sliced."""
        passing = filter(_filter_of(search), self._restaurants.values())
        # Both directions of a stable sort keep the order of ids, in which they are stored.
        order = _ORDER[search.sort.removeprefix("-")]
        found = sorted(passing, key=order, reverse=search.sort.startswith("-"))
        return Page(found[search.offset :][: search.limit], len(found), search.limit, search.offset)

    def get(self, restaurant_id: int) -> Restaurant:
        """One restaurant."""
        try:
            return self._restaurants[restaurant_id]
        except KeyError:
            raise UnknownRestaurant(restaurant_id) from None

    def create(self, draft: RestaurantDraft) -> Restaurant:
        """A new restaurant under the next id, without reviews."""
        self._last_restaurant += 1
        created = Restaurant(self._last_restaurant, **draft.model_dump())
        self._restaurants[created.id] = created
        self._reviews[created.id] = []
        return created

    def update(self, restaurant_id: int, draft: RestaurantDraft | RestaurantChange) -> Restaurant:
        """The restaurant with the draft's given fields in place of its own; its reviews stay."""
        changed = replace(self.get(restaurant_id), **draft.model_dump(exclude_unset=True))
        self._restaurants[restaurant_id] = changed
        return changed

    def remove(self, restaurant_id: int) -> None:
        """Forget a restaurant and its reviews; the id is never used again."""
        self.get(restaurant_id)
        del self._restaurants[restaurant_id], self._reviews[restaurant_id]

    def reviews(self, restaurant_id: int, window: Window) -> Page:
        """A restaurant's reviews, newest first."""
        self.get(restaurant_id)
        newest = self._reviews[restaurant_id][::-1]
        return Page(newest[window.offset :][: window.limit], len(newest), window.limit, window.offset)

    def add_review(self, restaurant_id: int, draft: ReviewDraft) -> Review:
        """A new review, which counts in the rating from now on."""
        restaurant = self.get(restaurant_id)
        self._last_review += 1
        review = Review(self._last_review, draft.author, draft.stars, draft.text)
        kept = [*self._reviews[restaurant_id], review][-MAX_REVIEWS:]
        self._reviews[restaurant_id] = kept
        rating = _mean(kept_review.stars for kept_review in kept)
        self._restaurants[restaurant_id] = replace(restaurant, rating=rating, review_count=len(kept))
        return review

    def statistics(self) -> Statistics:
        """Figures over all that is stored now."""
        restaurants = list(self._restaurants.values())
        rated = [restaurant for restaurant in restaurants if restaurant.rating is not None]
        return Statistics(
            restaurants=len(restaurants),
            reviews=sum(restaurant.review_count for restaurant in restaurants),
            average_rating=_mean(restaurant.rating or 0.0 for restaurant in rated),
            by_cuisine=dict(sorted(Counter(restaurant.cuisine for restaurant in restaurants).items())),
            by_city=dict(sorted(Counter(restaurant.city for restaurant in restaurants).items())),
            best=sorted(rated, key=_ORDER["rating"], reverse=True)[:5],
        )


def _filter_of(search: Search) -> Callable[[Restaurant], bool]:
    cuisine, city, q = (text and text.casefold() for text in (search.cuisine, search.city, search.q))

    def passes(restaurant: Restaurant) -> bool:
        return (
            (not cuisine or restaurant.cuisine.casefold() == cuisine)
            and (not city or restaurant.city.casefold() == city)
            and (not q or q in restaurant.name.casefold())
            and (search.min_rating is None or (restaurant.rating or 0.0) >= search.min_rating)
        )

    return passes


_ORDER: dict[str, Callable[[Restaurant], str | float]] = {
    "id": lambda restaurant: restaurant.id,
    "name": lambda restaurant: restaurant.name.casefold(),
    "price": lambda restaurant: restaurant.price,
    "rating": lambda restaurant: restaurant.rating or 0.0,
}


def _mean(figures: Iterable[float]) -> float | None:
    values = list(figures)
    return round(sum(values) / len(values), 2) if values else None
