"""What a probe's answer has to be: its status, and values in its JSON.

Owns the comparison. An answer is not trusted: whatever it holds, it is as expected or it is not, and what is
said of it is short. Must never know how it was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from proxy.config.units import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.config.schema import Probe

_MISSING = object()


def unexpected(probe: Probe, status: int, body: bytes) -> str:
    """What is wrong with an answer, in words; empty if it is as the probe expects it."""
    sound = status in probe.expect_status if probe.expect_status else 200 <= status < 400
    if not sound:
        return f"status {status}"
    if probe.expect_json is None:
        return ""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "its answer is no JSON"
    return next(_differences(probe.expect_json, document, ""), "")


def _differences(expected: Mapping[str, Any], found: object, at: str) -> Iterator[str]:
    for key, wanted in expected.items():
        value = _at(found, key)
        place = f"{at}{key}"
        if value is _MISSING:
            yield f"{place} is missing"
        elif isinstance(wanted, dict):
            yield from _differences(wanted, value, f"{place}.")
        elif not _equal(wanted, value):
            yield f"{place} is {shown(value)}, not {shown(wanted)}"


def _at(document: object, key: str) -> object:
    """The value of `key`, or where there is none, behind the path that its points make."""
    if not isinstance(document, dict):
        return _MISSING
    if key in document:
        return document[key]
    first, point, rest = key.partition(".")
    return _at(document.get(first), rest) if point else _MISSING


def _equal(wanted: object, value: object) -> bool:
    """As JSON has it: true is not 1."""
    return wanted == value and isinstance(wanted, bool) is isinstance(value, bool)
