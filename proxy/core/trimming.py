"""Which events of the audit have had their time.

Owns that it is always the oldest, in one piece, and never the newest ones: what is written next is compared
with those. Must never know where they are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.core.audit import Record

KEPT: Final = 100
"""Newest events that stay, whatever their age."""


def last_over(
    records: Sequence[Record], newest: int, before: float, at: Callable[[Record], float | None]
) -> Record | None:
    """The last of those that may be forgotten, of `records` from the oldest on; `newest` is the number of the
    last event of all. An event whose instant `at` does not know stays, and all behind it."""
    found = None
    for record in records:
        instant = at(record)
        if record.seq > newest - KEPT or instant is None or instant >= before:
            break
        found = record
    return found
