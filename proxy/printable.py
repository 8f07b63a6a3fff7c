"""Text that comes from elsewhere, made fit for a terminal."""

from __future__ import annotations


def clean(value: object) -> str:
    """Text that cannot steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))
