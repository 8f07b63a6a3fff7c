"""The units that the configuration is written in, as pydantic types; `texts` reads and writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema

from proxy.config.texts import (
    format_duration,
    format_size,
    parse_duration,
    parse_percentage,
    parse_size,
    shown,
    weight_of,
)

__all__ = [
    "DURATION_PATTERN",
    "SIZE_PATTERN",
    "Count",
    "Duration",
    "Flag",
    "Percentage",
    "PositiveCount",
    "PositiveDuration",
    "PositiveSize",
    "Ratio",
    "Size",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_percentage",
    "parse_size",
    "shown",
    "weight_of",
]

_DURATIONS = ["250ms", "10s", "1h"]
_SIZES = ["64KiB", "1MiB"]
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)$"
_NOT_ZERO = "(?=[0-9.]*[1-9])"

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": _DURATIONS}),
]
PositiveDuration = Annotated[
    Duration,
    Field(gt=0),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_NOT_ZERO}{DURATION_PATTERN[1:]}",
            "examples": _DURATIONS,
        }
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": _SIZES}),
]
PositiveSize = Annotated[
    Size,
    Field(gt=0),
    WithJsonSchema({"type": "string", "pattern": f"^{_NOT_ZERO}{SIZE_PATTERN[1:]}", "examples": _SIZES}),
]
Percentage = Annotated[
    float, BeforeValidator(parse_percentage), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100})
]
Ratio = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
PositiveCount = Annotated[int, Strict(), Field(ge=1)]
