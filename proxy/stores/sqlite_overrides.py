"""Overrides of keys in the SQLite store: the statements, and the row of one.

Owns the table `overrides`. Must never know who asks for one or what it does to a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.stores.records import decode_override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import KeyOverride

LOAD_OVERRIDES: Final = """
    SELECT rollout, key, path, actor, at, expires_at, reason FROM overrides ORDER BY rollout, key
"""
PUT_OVERRIDE: Final = """
    INSERT OR REPLACE INTO overrides (rollout, key, path, actor, at, expires_at, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
REMOVE_OVERRIDE: Final = "DELETE FROM overrides WHERE rollout = ? AND key = ?"

_FIELDS = ("rollout", "key", "path", "actor", "at", "expires_at", "reason")


def override_row(override: KeyOverride) -> tuple[object, ...]:
    """What `PUT_OVERRIDE` takes."""
    return tuple(getattr(override, name) for name in _FIELDS)


def read_override(row: Sequence[object]) -> KeyOverride:
    """What `LOAD_OVERRIDES` gives. Raises `StoreCorrupt`."""
    return decode_override(dict(zip(_FIELDS, row, strict=True)))
