"""The store: queries, ids, ratings."""

from __future__ import annotations

import pytest

from proxy.demo.inputs import RestaurantChange, RestaurantDraft, ReviewDraft, Search, Window
from proxy.demo.restaurants import MAX_REVIEWS, Page, Restaurant, RestaurantStore, Review, UnknownRestaurant


@pytest.fixture
def store() -> RestaurantStore:
    """Three restaurants: 1 rated 4.5, 2 rated 3, 3 not rated."""
    store = RestaurantStore()
    store.create(RestaurantDraft(name="Nori", cuisine="japanese", city="Oslo", price=3))
    store.create(RestaurantDraft(name="La Luna", cuisine="italian", city="Lyon", price=1))
    store.create(RestaurantDraft(name="la lanterna", cuisine="italian", city="Oslo", price=1))
    for restaurant_id, stars in ((1, 5), (1, 4), (2, 3)):
        store.add_review(restaurant_id, ReviewDraft(author="Alma", stars=stars))
    return store


def _ids(page: Page) -> list[int]:
    return [item.id for item in page.items]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (Search(), [1, 2, 3]),
        (Search(cuisine="ITALIAN"), [2, 3]),
        (Search(city="oslo"), [1, 3]),
        (Search(city="Oslo", cuisine="italian"), [3]),
        (Search(min_rating=3), [1, 2]),
        (Search(min_rating=3.5), [1]),
        (Search(q="LA "), [2, 3]),
        (Search(q="nowhere"), []),
        (Search(sort="-id"), [3, 2, 1]),
        (Search(sort="name"), [3, 2, 1]),
        (Search(sort="-rating"), [1, 2, 3]),
    ],
)
def test_filters_and_order(store: RestaurantStore, search: Search, found: list[int]) -> None:
    assert _ids(store.search(search)) == found


@pytest.mark.parametrize(("sort", "found"), [("price", [2, 3, 1]), ("-price", [1, 2, 3])])
def test_equal_ones_stay_in_the_order_of_their_ids(
    store: RestaurantStore, sort: str, found: list[int]
) -> None:
    assert _ids(store.search(Search.model_validate({"sort": sort}))) == found


def test_a_slice_tells_how_long_the_whole_list_is(store: RestaurantStore) -> None:
    page = store.search(Search(limit=1, offset=1))
    assert (_ids(page), page.total, page.limit, page.offset) == ([2], 3, 1, 1)


def test_an_offset_past_the_end_finds_nothing(store: RestaurantStore) -> None:
    assert _ids(store.search(Search(offset=7))) == []


def test_the_rating_is_the_mean_of_the_reviews(store: RestaurantStore) -> None:
    assert store.get(1) == Restaurant(1, "Nori", "japanese", "Oslo", 3, rating=4.5, review_count=2)
    assert store.get(3).rating is None


def test_an_update_changes_the_given_fields_alone(store: RestaurantStore) -> None:
    store.update(1, RestaurantChange(price=4))
    assert store.get(1) == Restaurant(1, "Nori", "japanese", "Oslo", 4, rating=4.5, review_count=2)


def test_a_whole_draft_replaces_all_but_the_reviews(store: RestaurantStore) -> None:
    store.update(1, RestaurantDraft(name="Hana", cuisine="thai", city="Turin", price=2))
    assert store.get(1) == Restaurant(1, "Hana", "thai", "Turin", 2, rating=4.5, review_count=2)


def test_ids_are_never_used_again(store: RestaurantStore) -> None:
    store.remove(3)
    assert store.create(RestaurantDraft(name="Kyma", cuisine="greek", city="Oslo", price=2)).id == 4


def test_an_unknown_id_is_refused_everywhere(store: RestaurantStore) -> None:
    store.remove(3)
    calls = (
        lambda: store.get(3),
        lambda: store.remove(3),
        lambda: store.update(3, RestaurantChange(price=1)),
        lambda: store.reviews(3, Window()),
        lambda: store.add_review(3, ReviewDraft(author="Alma", stars=1)),
    )
    for call in calls:
        with pytest.raises(UnknownRestaurant, match="there is no restaurant 3"):
            call()


def test_reviews_come_newest_first(store: RestaurantStore) -> None:
    page = store.reviews(1, Window(limit=1))
    assert (page.items, page.total) == ([Review(2, "Alma", 4, "")], 2)


def test_the_oldest_review_makes_room(store: RestaurantStore) -> None:
    for _ in range(MAX_REVIEWS):
        store.add_review(2, ReviewDraft(author="Emil", stars=1))
    assert store.get(2) == Restaurant(
        2, "La Luna", "italian", "Lyon", 1, rating=1.0, review_count=MAX_REVIEWS
    )


def test_statistics_of_what_is_there(store: RestaurantStore) -> None:
    statistics = store.statistics()
    assert (statistics.restaurants, statistics.reviews, statistics.average_rating) == (3, 3, 3.75)
    assert statistics.by_cuisine == {"italian": 2, "japanese": 1}
    assert statistics.by_city == {"Lyon": 1, "Oslo": 2}
    assert [best.id for best in statistics.best] == [1, 2]


def test_statistics_of_nothing() -> None:
    assert RestaurantStore().statistics().average_rating is None


def test_repr_shows_the_size(store: RestaurantStore) -> None:
    assert repr(store) == "<RestaurantStore restaurants=3 reviews=3>"
