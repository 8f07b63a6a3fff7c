"""Text that comes from elsewhere, made fit for a terminal."""

from __future__ import annotations


def clean(value: object) -> str:
    """Text that cannot steer a terminal."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
