"""The table of metrics in docs/metrics.md, made from the catalogue.

`python -m tests.telemetry.reference` writes it anew between its markers; the tests fail while they differ.
"""

from __future__ import annotations

import re
from pathlib import Path

from proxy.telemetry.catalogue import FAMILIES

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

_BLOCK = re.compile(r"(<!-- metrics -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"


def with_table(text: str) -> str:
    """The document with the table as the catalogue has it."""
    rows = "".join(
        f"| `{family.name}` | {family.type} | {family.unit} | "
        f"{', '.join(f'`{label}`' for label in family.labels)} | {family.meaning} |\n"
        for family in FAMILIES
    )
    return _BLOCK.sub(lambda block: block[1] + _HEAD + rows + block[2], text)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
