"""Configuration values that speak of the calendar, and addresses that are called at such times.

Each `parse_*` returns the value or raises ValueError with what was expected; `format_*` writes it back as it
reads. This module knows single values; whether an hour is open is `core.gates`' business.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from proxy.config.fields import hidden
from proxy.config.units import shown

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_HOURS = re.compile(
    r"(?:(?P<days>[A-Z][a-z]{2}(?:[-,][A-Z][a-z]{2})*) )?"
    r"(?P<opens>[0-2][0-9]:[0-5][0-9])-(?P<closes>[0-2][0-9]:[0-5][0-9])"
)
_MINUTES_A_DAY = 24 * 60
_LATEST = 253_402_300_799  # the last second of the year 9999


class OpenHours(NamedTuple):
    """Hours of some days of the week. Where `closes_min` is not after `opens_min`, they end the next day."""

    days: tuple[int, ...]  # 0 is Monday, ascending
    opens_min: int  # minutes since midnight, 0..1439
    closes_min: int  # 0..1440


def parse_hours(value: object) -> OpenHours:
    """ "Mon-Fri 09:00-17:00", "Sat,Sun 10:00-12:00", or "22:00-02:00" for every day."""
    if isinstance(value, OpenHours):
        return value
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    days = _days(match["days"]) if match else ()
    opens, closes = (_minutes(match["opens"]), _minutes(match["closes"])) if match else (0, 0)
    if not days or opens >= _MINUTES_A_DAY or closes > _MINUTES_A_DAY or opens == closes:
        raise ValueError(f'must be hours such as "Mon-Fri 09:00-17:00" or "22:00-02:00", not {shown(value)}')
    return OpenHours(days, opens, closes)


def format_hours(hours: OpenHours) -> str:
    """The text that `parse_hours` reads as these hours."""
    days = "" if len(hours.days) == len(DAYS) else ",".join(DAYS[day] for day in hours.days) + " "
    opens, closes = divmod(hours.opens_min, 60), divmod(hours.closes_min, 60)
    return f"{days}{opens[0]:02}:{opens[1]:02}-{closes[0]:02}:{closes[1]:02}"


def _days(text: str | None) -> tuple[int, ...]:
    """The days of "Mon-Wed,Sat"; none where a name is not a day's. A range may go over Sunday."""
    found: set[int] = set()
    for part in text.split(",") if text else ["Mon-Sun"]:
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            return ()
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return tuple(sorted(found))


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def parse_instant(value: object) -> float:
    """Seconds since the Unix epoch from RFC 3339 text, or from a date-time as TOML has it; with an offset."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and len(value) > 10 else value
    except ValueError:
        at = None
    if not isinstance(at, datetime) or at.tzinfo is None or not 0 <= at.timestamp() <= _LATEST:
        expected = 'a date and time with its offset such as "2026-12-24T00:00:00Z"'
        raise ValueError(f"must be {expected}, not {shown(str(value))}")
    return at.timestamp()


def format_instant(at: float) -> str:
    """RFC 3339 text in UTC that `parse_instant` reads as `at`."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def parse_timezone(value: object) -> str:
    """The name of a time zone that this system knows: "UTC", "Europe/Berlin"."""
    if value == "UTC":  # needs no file, so it is known everywhere
        return "UTC"
    try:
        return ZoneInfo(value if isinstance(value, str) else "").key
    except (OSError, ValueError, KeyError):  # a directory, a path that leads out, an unknown name
        raise ValueError(
            f'must be a time zone such as "UTC" or "Europe/Berlin", not {shown(value)}'
        ) from None


def parse_web_address(value: object) -> str:
    """ "http://…" or "https://…" with a host, and without a user, a password or a fragment."""
    text = value if isinstance(value, str) and value.isascii() and value.isprintable() else ""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or " " in text or "@" in parts.netloc or "#" in text:
        # It is not shown: it may be a secret, all the more if its beginning is missing.
        raise ValueError("must be http:// or https:// with a host, and no user or #")
    return text


Hours = Annotated[
    OpenHours,
    BeforeValidator(parse_hours),
    PlainSerializer(format_hours, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["Mon-Fri 09:00-17:00", "22:00-02:00"]}),
]
Instant = Annotated[
    float,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-24T00:00:00Z"]}),
]
TimeZone = Annotated[str, BeforeValidator(parse_timezone), WithJsonSchema({"type": "string"})]
# The path of such an address is often all that keeps others from calling it.
WebAddress = Annotated[
    str,
    BeforeValidator(parse_web_address),
    PlainSerializer(hidden, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "pattern": "^https?://"}),
]
