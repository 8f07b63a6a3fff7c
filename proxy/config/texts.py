"""Texts that mean a quantity or a place, read and written without any table.

A duration is text with a unit ("250ms", "10s", "1.5m", "48h", "7d") and becomes seconds; a size is text with
a unit ("64KiB", "1MiB", "512B") and becomes bytes; a percentage is a number 0..100 in steps of 0.001. A bare
number where a unit belongs is an error: guessing seconds for milliseconds is how time-outs go wrong.

`parse_*` and `format_*` are inverse: what is written back reads as exactly the same value. This module knows
units and nothing of what they measure, nor pydantic: a command line reads a duration without waiting for it.
"""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.model import BUCKETS

_UNIX = "unix:"
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {"B": Decimal(1), "KiB": Decimal(1 << 10), "MiB": Decimal(1 << 20), "GiB": Decimal(1 << 30)}
_LONGEST = Decimal(3650 * 24 * 60 * 60)
_LARGEST = Decimal(1 << 40)
_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[A-Za-z]+)")
_STEPS = BUCKETS // 100
_SHOWN_CHARACTERS = 60


def parse_duration(value: object) -> float:
    """Seconds from text such as "250ms" or "1h". Raises ValueError with an example for anything else."""
    seconds = _quantity(value, _SECONDS, 'a duration with a unit such as "250ms", "10s", "1h"')
    if seconds > _LONGEST:
        raise ValueError(f"must be at most 3650d, not {shown(value)}")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """The text that `parse_duration` reads as exactly `seconds`, in the largest unit without a fraction."""
    exact = Decimal(repr(seconds))
    for unit in ("d", "h", "m", "s", "ms"):
        if exact >= _SECONDS[unit] and exact % _SECONDS[unit] == 0:
            return f"{exact / _SECONDS[unit]:.0f}{unit}"
    return f"{exact:f}s" if exact else "0s"


def parse_size(value: object) -> int:
    """Bytes from text such as "64KiB". Raises ValueError for anything else, and for fractions of a byte."""
    size = _quantity(value, _BYTES, 'a size with a unit such as "512B", "64KiB", "1MiB"')
    if size != size.to_integral_value():
        raise ValueError(f"must be a whole number of bytes, not {shown(value)}")
    if size > _LARGEST:
        raise ValueError(f"must be at most 1024GiB, not {shown(value)}")
    return int(size)


def format_size(size: int) -> str:
    """The text that `parse_size` reads as exactly `size`, in the largest unit without a fraction."""
    for unit in ("GiB", "MiB", "KiB"):
        whole, rest = divmod(size, int(_BYTES[unit]))
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{size}B"


def parse_percentage(value: object) -> float:
    """A percentage 0..100 in steps of 0.001, from a number. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number from 0 to 100 without a percent sign")
    if not 0 <= value <= 100:
        raise ValueError(f"must be from 0 to 100, not {shown(value)}")
    if abs(value * _STEPS - round(value * _STEPS)) > 1e-6:
        raise ValueError(f"must be a multiple of 0.001, not {shown(value)}")
    return float(value)


def socket_path(address: str) -> str | None:
    """The path of a UNIX socket's address, None for any other address."""
    return address.removeprefix(_UNIX) if address.startswith(_UNIX) else None


def weight_of(percentage: float) -> int:
    """The weight in buckets, 0..100_000, of a percentage 0..100."""
    return round(percentage * _STEPS)


def shown(value: object) -> str:
    """A value from the file as messages quote it: on one line, short, and never failing."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) > 10**_SHOWN_CHARACTERS:
        return "a huge number"  # the interpreter refuses to write out integers of several thousand digits
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _quantity(value: object, units: dict[str, Decimal], expected: str) -> Decimal:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match["unit"] not in units:
        raise ValueError(f"must be {expected}, not {shown(value)}")
    return Decimal(match["number"]) * units[match["unit"]]
