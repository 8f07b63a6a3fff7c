"""The wire format of a judge's journal: its entries, and who had told what when the last of them ended.

Plain JSON, with the counters in the form that reports have now. Owns the format, its version and its limits:
what is not as agreed is refused whole with a `WireError`, and a successor then reads the reports themselves.
Must never know where it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core import tally_wire
from proxy.core.heard import MOST_SOURCES, Heard, Source
from proxy.core.journal import MOST_REVISIONS, Entry
from proxy.core.wire_values import (
    Document,
    count_of,
    list_of,
    row_of,
    seconds_of,
    table_of,
    text_of,
    version_of,
)
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.core.tally_wire import Told

VERSION: Final = 1
"""Grows when an older reader would misread a journal, or when the form of counters does."""
READS: Final = (VERSION,)

MOST_BYTES: Final = 2 << 20
"""Of an entry, and of who has told what. What is longer is not written: a successor reads the reports."""

_COUNTERS: Final = 2  # the version of reports whose counters they are
_MOST_NAMES: Final = 1_000


# ... entries


def written(entry: Entry) -> Document:
    """As plain JSON values."""
    return {
        "version": VERSION,
        "since": entry.since,
        "until": entry.until,
        "names": sorted(entry.names),
        "sums": [
            [name, revision, tally_wire.counters(told.tally(), _COUNTERS)]
            for name, by_revision in entry.sums.items()
            for revision, told in by_revision.items()
        ],
        "under_way": _ages(entry.under_way),
    }


def read(document: object) -> Entry:
    """The entry of a JSON document. Raises `WireError` with the place and what was expected there."""
    table = table_of(document, "entry")
    version_of(table.get("version"), READS, "entry")
    since = count_of(table.get("since"), "entry.since")
    until = count_of(table.get("until"), "entry.until", least=since + 1)
    names = list_of(table.get("names"), "entry.names")
    if len(names) > _MOST_NAMES:
        raise WireError(f"entry.names: must be at most {_MOST_NAMES}")
    known = frozenset([text_of(name, "entry.names") for name in names])
    return Entry(
        since,
        until,
        known,
        _sums(table.get("sums"), "entry.sums"),
        dict(_read_ages(table.get("under_way"), "entry.under_way")),
    )


def _sums(value: object, at: str) -> dict[str, dict[int, Told]]:
    sums: dict[str, dict[int, Told]] = {}
    for index, row in enumerate(list_of(value, at)):
        where = f"{at}.{index}"
        name, revision, counters = row_of(row, 3, where)
        mine = sums.setdefault(text_of(name, where), {})
        if count_of(revision, where) in mine or len(mine) >= MOST_REVISIONS:
            raise WireError(f"{where}: must be one of at most {MOST_REVISIONS} revisions, each told once")
        mine[revision] = tally_wire.read_counters(table_of(counters, where), where, _COUNTERS)
    return sums


# ... who has told what


def heard_written(heard: Heard, until: int) -> Document:
    """As plain JSON values: as it was at second `until`."""
    return {
        "version": VERSION,
        "until": until,
        "sources": [[one.name, one.at, one.number, _ages(one.under_way)] for one in heard],
    }


def heard_read(document: object, until: int) -> Heard:
    """That of a JSON document. Raises `WireError` as `read` does, and if it is not of second `until`."""
    table = table_of(document, "heard")
    version_of(table.get("version"), READS, "heard")
    if count_of(table.get("until"), "heard.until") != until:
        raise WireError("heard.until: must be where the last entry ends")
    rows = list_of(table.get("sources"), "heard.sources")
    if len(rows) > MOST_SOURCES:
        raise WireError(f"heard.sources: must be at most {MOST_SOURCES}")
    return Heard(_source(row, f"heard.sources.{index}", until) for index, row in enumerate(rows))


def _source(row: object, at: str, until: int) -> Source:
    name, told_at, number, ages = row_of(row, 4, at)
    seconds = seconds_of(told_at, at)
    if seconds >= until:
        raise WireError(f"{at}: must be before its end")
    return Source(text_of(name, at), seconds, count_of(number, at, least=1), dict(_read_ages(ages, at)))


def _ages(under_way: Mapping[str, Told]) -> Document:
    return {name: tally_wire.under_way(told) for name, told in under_way.items()}


def _read_ages(document: object, at: str) -> Iterator[tuple[str, Told]]:
    table = table_of(document, at)
    if len(table) > _MOST_NAMES:
        raise WireError(f"{at}: must be at most {_MOST_NAMES}")
    for name, ages in table.items():
        told = tally_wire.read_counters(table_of(ages, at), at, _COUNTERS)
        yield text_of(name, at), told.in_flight_alone()
