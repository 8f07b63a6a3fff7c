"""How a minute is written down, and read back with suspicion.

Owns the compact JSON form: counters and error classes by name, those that are zero left out; a histogram as
its sum and its filled buckets, each with its count. A counter that a later version adds is zero in older
records, and one that this version does not know is passed over. Must never know a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from proxy.core.histogram import BUCKET_COUNT, Histogram
from proxy.core.minute import Minute
from proxy.core.tally import ERROR_CLASSES, FALLBACK_REASONS, PathTally, Tally
from proxy.errors import StoreCorrupt
from proxy.judgment import Verdict
from proxy.model import BUCKETS, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_COUNTERS = (
    *("assigned_v1", "assigned_v2", "overridden", "fallback_errors"),
    *("client_requests", "client_errors", "client_aborts"),
)


def encode_minute(minute: Minute) -> str:
    """JSON on one line. Rollout and instant are not in it: they are the record's key."""
    tally = minute.tally
    fields = {
        "seconds": round(minute.seconds, 3),
        "state": minute.state,
        "weight": minute.weight,
        "phase": minute.phase,
        "verdict": minute.verdict,
        "v1": _path(tally.v1),
        "v2": _path(tally.v2),
        "fallbacks": _named(FALLBACK_REASONS, tally.fallbacks),
        "over_budget": _named(FALLBACK_REASONS, tally.over_budget),
        **{name: count for name in _COUNTERS if (count := getattr(tally, name))},
    }
    return orjson.dumps(fields).decode()


def decode_minute(rollout: str, at: float, record: str | bytes) -> Minute:
    """The minute that `encode_minute` wrote. Raises `StoreCorrupt`."""
    try:
        fields = orjson.loads(record)
        minute = Minute(
            rollout=rollout,
            at=float(at),
            seconds=float(fields["seconds"]),
            state=State(fields["state"]),
            weight=_count(fields["weight"]),
            phase=None if fields["phase"] is None else str(fields["phase"]),
            verdict=Verdict(fields["verdict"]),
            tally=_tally(fields),
        )
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreCorrupt(f"is no minute: {error!r}") from None
    if minute.weight > BUCKETS:
        raise StoreCorrupt(f"has weight {minute.weight}, outside 0..{BUCKETS}")
    return minute


def _path(path: PathTally) -> dict[str, object]:
    if not path.requests:
        return {}
    buckets = [number for pair in path.latency.buckets() for number in pair]
    return {
        "requests": path.requests,
        "errors": _named(ERROR_CLASSES, path.errors),
        "total_us": path.latency.total_us,
        "latency": buckets,
    }


def _named(names: Iterable[str], counts: Iterable[int]) -> dict[str, int]:
    return {str(name): count for name, count in zip(names, counts, strict=True) if count}


def _tally(fields: dict[str, Any]) -> Tally:
    tally = Tally(
        v1=_path_tally(fields["v1"]),
        v2=_path_tally(fields["v2"]),
        fallbacks=_listed(FALLBACK_REASONS, fields["fallbacks"]),
        over_budget=_listed(FALLBACK_REASONS, fields["over_budget"]),
    )
    for name in _COUNTERS:
        setattr(tally, name, _count(fields.get(name, 0)))
    return tally


def _path_tally(fields: dict[str, Any]) -> PathTally:
    if not fields:
        return PathTally()
    numbers = [_count(number) for number in fields["latency"]]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if any(bucket >= BUCKET_COUNT for bucket, _ in pairs):
        raise ValueError("a latency beyond the last bucket")
    return PathTally(
        requests=_count(fields["requests"]),
        errors=_listed(ERROR_CLASSES, fields["errors"]),
        latency=Histogram.of(pairs, _count(fields["total_us"])),
    )


def _listed(names: Sequence[str], counts: dict[str, Any]) -> list[int]:
    return [_count(counts.get(str(name), 0)) for name in names]


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
