from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_percentage,
    parse_size,
    shown,
    weight_of,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10.0), ("1.5m", 90.0), ("48h", 172_800.0), ("7d", 604_800.0), ("0s", 0.0)],
)
def test_a_duration_is_text_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_duration_in_milliseconds_is_exact() -> None:
    assert [parse_duration(f"{n}ms") for n in range(1, 1000)] == [n / 1000 for n in range(1, 1000)]


@pytest.mark.parametrize(
    "value",
    ["10", "s", "10 s", "10S", "-1s", "1e3s", "10sec", "", "١s", 10, 1.5, True, None, ["1s"], {"s": 1}],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match='must be a duration with a unit such as "250ms"'):
        parse_duration(value)


@pytest.mark.parametrize("value", ["3651d", "9" * 400 + "d"])
def test_a_duration_beyond_ten_years_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be at most 3650d"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (1.5, "1500ms"),
        (10.0, "10s"),
        (60.0, "1m"),
        (90.0, "90s"),
        (3600.0, "1h"),
        (604_800.0, "7d"),
        (0.0001, "0.0001s"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_without_a_fraction(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=3650 * 86_400))
def test_a_written_duration_reads_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1.5KiB", 1536), ("2GiB", 2 << 30)],
)
def test_a_size_is_text_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["64", "64KB", "64kib", "KiB", "-1B", 64, None])
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match='must be a size with a unit such as "512B"'):
        parse_size(value)


def test_a_fraction_of_a_byte_is_no_size() -> None:
    with pytest.raises(ValueError, match="must be a whole number of bytes"):
        parse_size("0.3B")


@given(st.integers(min_value=0, max_value=1 << 40))
def test_a_written_size_reads_as_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("value", ["1025GiB", "9" * 5000 + "B"])
def test_a_size_beyond_a_terabyte_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be at most 1024GiB"):
        parse_size(value)


def test_sizes_are_written_in_the_largest_whole_unit() -> None:
    assert [format_size(size) for size in (0, 512, 65_536, 1 << 20, 3 << 30)] == [
        "0B",
        "512B",
        "64KiB",
        "1MiB",
        "3GiB",
    ]


@given(st.integers(min_value=0, max_value=100_000))
def test_every_weight_has_its_percentage(weight: int) -> None:
    assert weight_of(parse_percentage(weight / 1000)) == weight


@pytest.mark.parametrize("value", ["5", "5%", True, None])
def test_a_percentage_is_a_number(value: object) -> None:
    with pytest.raises(ValueError, match="without a percent sign"):
        parse_percentage(value)


@pytest.mark.parametrize("value", [-1, 100.001, math.nan, math.inf, 10**400])
def test_a_percentage_is_from_0_to_100(value: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 100"):
        parse_percentage(value)


def test_a_percentage_has_steps_of_a_thousandth() -> None:
    with pytest.raises(ValueError, match=r"must be a multiple of 0\.001, not 0\.0005"):
        parse_percentage(0.0005)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (True, "true"),
        (7, "7"),
        ({"a": 1}, "a table"),
        ([1], "a list"),
        (10**400, "a huge number"),
        ("x" * 100, "'" + "x" * 59 + "…"),
    ],
)
def test_values_are_quoted_on_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text
