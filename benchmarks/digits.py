"""How many digits of a measurement are kept."""

from __future__ import annotations

DIGITS = 4  # no measurement here is worth more of them, and the files stay small


def rounded(value: object) -> object:
    """The same value with every float in it cut to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
