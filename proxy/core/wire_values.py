"""Single values of a JSON document that another process has sent, each checked as it is read.

Owns the checks and the limits that hold for all of them: what is not as agreed is a `WireError` that names
its place.
Must never know what a value means.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from proxy.errors import UnknownVersion, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST: Final = 1 << 40
"""No process counts further than this between two reports; its lag and latencies end far below, too."""

_LONGEST_TEXT: Final = 2048
MOST_ENTRIES: Final = 10_000

_T = TypeVar("_T")
Document = dict[str, Any]


def table_of(value: object, at: str) -> Document:
    """An object."""
    if not isinstance(value, dict):
        raise WireError(f"{at}: must be an object")
    return value


def list_of(value: object, at: str) -> list[Any]:
    """A list of bounded length."""
    if not isinstance(value, list) or len(value) > MOST_ENTRIES:
        raise WireError(f"{at}: must be a list of at most {MOST_ENTRIES} entries")
    return value


def row_of(value: object, length: int, at: str) -> list[Any]:
    """A list of exactly this length."""
    row = list_of(value, at)
    if len(row) != length:
        raise WireError(f"{at}: must be {length} values")
    return row


def each_of(value: object, at: str, entry: Callable[[object, str], _T]) -> Iterator[_T]:
    """What `entry` makes of each in a list."""
    return (entry(item, f"{at}.{index}") for index, item in enumerate(list_of(value, at)))


def sound_of(value: object, at: str, entry: Callable[[object, str], _T]) -> Iterator[_T]:
    """What `entry` makes of each in a list; those that it refuses are left out."""
    for index, item in enumerate(list_of(value, at)):
        with suppress(WireError):
            yield entry(item, f"{at}.{index}")


def version_of(value: object, reads: tuple[int, ...], what: str) -> int:
    """One of the versions that are understood. Raises `UnknownVersion` for any other."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireError(f"{what}: version {value!r}"[:80] + " is none")
    if value not in reads:
        raise UnknownVersion(what, value, reads)
    return value


def text_of(value: object, at: str) -> str:
    """Text that is not empty, and bounded."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT:
        raise WireError(f"{at}: must be text of 1 to {_LONGEST_TEXT} characters")
    return value


def count_of(value: object, at: str, *, least: int = 0, most: int = MOST) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise WireError(f"{at}: must be a whole number from {least} to {most}")
    return value


def counts_of(value: object, length: int, at: str) -> list[int]:
    """So many whole numbers."""
    return [count_of(count, at) for count in row_of(value, length, at)]


def numbers_of(values: list[Any], at: str, *, most: int = MOST) -> list[int]:
    """Any number of whole numbers, looked at as one: a histogram has hundreds."""
    if set(map(type, values)) <= {int} and min(values, default=0) >= 0 and max(values, default=0) <= most:
        return values
    return [count_of(value, at, most=most) for value in values]


def seconds_of(value: object, at: str) -> float:
    """A duration."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise WireError(f"{at}: must be seconds from 0")
    return float(value)
