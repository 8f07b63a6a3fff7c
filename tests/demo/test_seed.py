"""The seed is what the traffic relies on."""

from __future__ import annotations

from proxy.demo.inputs import Search
from proxy.demo.plan import SEEDED
from proxy.demo.restaurants import Restaurant
from proxy.demo.seed import CITIES, seeded_store


def test_ids_count_from_one_to_the_number_that_the_traffic_uses() -> None:
    page = seeded_store().search(Search(limit=100))
    assert [item.id for item in page.items] == list(range(1, SEEDED + 1))


def test_every_restaurant_has_reviews_and_a_city_of_the_list() -> None:
    for item in seeded_store().search(Search(limit=100)).items:
        assert isinstance(item, Restaurant)
        assert item.review_count >= 2
        assert item.city in CITIES
        assert 1 <= item.price <= 4


def test_two_stores_start_alike_and_share_nothing() -> None:
    one, other = seeded_store(), seeded_store()
    assert one.statistics() == other.statistics()
    one.remove(1)
    assert other.get(1).id == 1
