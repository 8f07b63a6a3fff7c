"""The documents that measurements leave in benchmarks/results, all of one outer shape.

`machine`, `versions`, `options`, and beside them what the script itself found, under keys of its own. They
are kept in the repository: they must never hold a host's name, a path or a user's name. A run that is only a
trial goes elsewhere: `BENCH_RESULTS=/tmp/trial python -m benchmarks.…`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.digits import rounded
from benchmarks.machine import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = Path(__file__).parent / "results"
DIRECTORY = Path(os.environ.get("BENCH_RESULTS", KEPT))

Document = dict[str, Any]


def write(
    name: str, *, versions: Mapping[str, str], options: Mapping[str, object], found: Mapping[str, object]
) -> Path:
    """Writes NAME.json; where it lies now. Floats keep four significant digits."""
    document = {"machine": machine(), "versions": versions, "options": options, **found}
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    file = DIRECTORY / f"{name}.json"
    file.write_text(json.dumps(rounded(document), indent=1) + "\n")
    return file


def read(name: str, directory: Path = KEPT) -> Document | None:
    """What the last run of a script left; None if there was none."""
    file = directory / f"{name}.json"
    if not file.exists():
        return None
    document: Document = json.loads(file.read_text())
    return document
