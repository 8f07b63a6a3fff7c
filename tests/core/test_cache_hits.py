"""Cache hits, as a field of answers tells them."""

from __future__ import annotations

import pytest

from proxy.core.cache_hits import CacheCount


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        (b"X-Cache: HIT\r\n", (1, 1)),
        (b"x-cache: Hit from cloudfront\r\n", (1, 1)),
        (b"X-Cache: TCP_HIT\r\n", (1, 1)),
        (b"X-Cache: MISS, HIT\r\n", (1, 1)),
        (b"X-Cache: MISS\r\n", (0, 1)),
        (b"X-Cache: MISS from whitehit.example\r\n", (0, 1)),
        (b"X-Cache:\r\n", (0, 1)),
        (b"X-Cached: HIT\r\n", (0, 0)),
        (b"Y-Cache: HIT\r\n", (0, 0)),
    ],
)
def test_a_hit_is_told_from_a_miss_and_from_what_says_nothing(line: bytes, counted: tuple[int, int]) -> None:
    count = CacheCount("X-Cache")
    count.saw([b"Server: x\r\n", line, b"Vary: *\r\n"])
    assert count.drain() == counted


@pytest.mark.parametrize(
    ("value", "hits"), [(b"edge; hit; ttl=376", 1), (b"edge; fwd=uri-miss; stored", 0), (b"edge;hit", 1)]
)
def test_the_standards_field_is_understood(value: bytes, hits: int) -> None:
    count = CacheCount("Cache-Status")
    count.saw([b"Cache-Status: " + value + b"\r\n"])
    assert count.drain() == (hits, 1)


def test_what_is_drained_is_counted_once() -> None:
    count = CacheCount("X-Cache")
    count.saw([b"X-Cache: HIT\r\n"])
    count.saw([b"X-Cache: MISS\r\n"])
    assert repr(count) == "CacheCount(1 of 2)"
    assert count.drain() == (1, 2)
    assert count.drain() == (0, 0)
