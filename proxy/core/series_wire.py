"""The histograms of metrics in a report: one row per series that has grown, one per exemplar.

Owns their form in `core.delta`'s format. A row names what it belongs to in words, so that a version with
other methods or statuses can read it.
"""

from __future__ import annotations

from string import hexdigits
from typing import Final

from proxy.core.histogram import MAX_US
from proxy.core.series import (
    BUCKETS,
    CLIENT,
    KINDS,
    SERVER,
    STATUSES,
    Exemplar,
    Increment,
    Labels,
    Sighting,
    method_of,
)
from proxy.core.wire_values import count_of, list_of, row_of, seconds_of, text_of
from proxy.errors import WireError
from proxy.model import Path

_PATHS: Final = tuple(Path)
_HEX: Final = frozenset(hexdigits.lower())


def row(increment: Increment) -> list[object]:
    """As plain JSON values."""
    sparse = [number for bucket in increment.counts for number in bucket]
    return [increment.kind, *increment.labels, increment.total_us, sparse]


def sighting(seen: Sighting) -> list[object]:
    """As plain JSON values."""
    one = seen.exemplar
    return [seen.kind, *seen.labels, one.trace_id, one.span_id, one.value_s, one.at]


def read_row(value: object, at: str) -> Increment:
    """Raises `WireError`."""
    kind, rollout, path, method, status, total_us, sparse = row_of(value, 7, at)
    if kind not in KINDS:
        raise WireError(f"{at}: no such kind")
    entries = list_of(sparse, at)
    if len(entries) % 2 or len(entries) > 2 * BUCKETS:
        raise WireError(f"{at}: must be pairs of bucket and count")
    counts = tuple(
        (count_of(index, at, most=BUCKETS - 1), count_of(n, at))
        for index, n in zip(entries[::2], entries[1::2], strict=True)
    )
    total = count_of(total_us, at, most=sum(n for _, n in counts) * MAX_US)
    return Increment(kind, _read_labels(rollout, path, method, status, at), counts, total)


def read_sighting(value: object, at: str) -> Sighting:
    """Raises `WireError`."""
    kind, rollout, path, method, status, trace_id, span_id, value_s, seen_at = row_of(value, 9, at)
    if kind not in (SERVER, CLIENT):
        raise WireError(f"{at}: no such kind")
    exemplar = Exemplar(
        _read_id(trace_id, 32, at),
        _read_id(span_id, 16, at),
        seconds_of(value_s, at),
        seconds_of(seen_at, at),
    )
    return Sighting(kind, _read_labels(rollout, path, method, status, at), exemplar)


def _read_labels(rollout: object, path: object, method: object, status: object, at: str) -> Labels:
    if path not in _PATHS or status not in STATUSES:
        raise WireError(f"{at}: no such path or class of status")
    name = "" if rollout == "" else text_of(rollout, at)
    return Labels(name, str(path), method_of(text_of(method, at)), str(status))


def _read_id(value: object, digits: int, at: str) -> str:
    text = text_of(value, at)
    if len(text) != digits or not _HEX.issuperset(text):
        raise WireError(f"{at}: must be {digits} hexadecimal digits in lower case")
    return text
