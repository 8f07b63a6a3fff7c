"""Hours, instants, time zones and addresses that are called."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.config.times import (
    OpenHours,
    format_hours,
    format_instant,
    parse_hours,
    parse_instant,
    parse_timezone,
    parse_web_address,
)

ALL = (0, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Mon-Fri 09:00-17:00", OpenHours((0, 1, 2, 3, 4), 540, 1020)),
        ("Sat,Sun 10:30-12:00", OpenHours((5, 6), 630, 720)),
        ("Sat-Mon,Wed 00:00-24:00", OpenHours((0, 2, 5, 6), 0, 1440)),
        ("Wed 09:00-17:00", OpenHours((2,), 540, 1020)),
        ("22:00-02:00", OpenHours(ALL, 1320, 120)),
    ],
)
def test_hours(text: str, hours: OpenHours) -> None:
    assert parse_hours(text) == hours
    assert parse_hours(format_hours(hours)) == parse_hours(hours) == hours


@pytest.mark.parametrize(
    "text",
    [
        *("", "9-17", "Mon-Fri", "Mon 09:00-09:00", "Day 09:00-17:00", "Mon-Day 09:00-17:00", "24:00-01:00"),
        *("09:00-24:01", "09:60-17:00", "Mon-Tue-Wed 09:00-17:00", "mon 09:00-17:00", 9),
    ],
)
def test_no_hours(text: object) -> None:
    with pytest.raises(ValueError, match="must be hours such as"):
        parse_hours(text)


def test_an_instant_is_text_or_a_date_time_of_toml() -> None:
    at = datetime(2026, 12, 24, tzinfo=UTC)
    assert parse_instant("2026-12-24T00:00:00Z") == parse_instant(at) == at.timestamp()
    assert parse_instant("2026-12-24T01:30:00.5+01:30") == at.timestamp() + 0.5
    assert format_instant(at.timestamp()) == "2026-12-24T00:00:00Z"
    assert parse_instant(format_instant(1.25)) == 1.25


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-12-24",
        "2026-12-24T00:00:00",
        "tomorrow at noon",
        5.0,
        datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None),
        "1901-01-01T00:00:00Z",
    ],
)
def test_no_instant(value: object) -> None:
    with pytest.raises(ValueError, match="must be a date and time with its offset"):
        parse_instant(value)


def test_time_zones_are_those_of_the_system() -> None:
    assert parse_timezone("UTC") == "UTC"
    assert parse_timezone("Europe/Berlin") == "Europe/Berlin"


@pytest.mark.parametrize("value", ["", "Mars/Olympus", "../../etc/passwd", "Europe", 1])
def test_no_time_zone(value: object) -> None:
    with pytest.raises(ValueError, match="must be a time zone"):
        parse_timezone(value)


def test_an_address_is_a_web_address() -> None:
    for address in ("https://a.example/hook?x=1", "http://127.0.0.1:8000/"):
        assert parse_web_address(address) == address


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ftp://a/",
        "https://",
        "http://u:p@a/",
        "http://a/#x",
        "http://a b/",
        "http://[x/",
        "http://a:0/",
        "http://ä/",
        5,
    ],
)
def test_no_web_address(value: object) -> None:
    with pytest.raises(ValueError, match="must be http:// or https://"):
        parse_web_address(value)


def test_an_address_that_is_refused_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^must be .* no user or #$"):
        parse_web_address("hooks.slack.com/services/T0/B0/secret")
