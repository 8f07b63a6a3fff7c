"""The tables of keys in docs/configuration.md, made from the schema.

`python -m tests.config.reference` writes them anew between their markers; the tests fail while they differ.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.config.export import json_schema
from proxy.config.schema import Config

if TYPE_CHECKING:
    from proxy.config.table import Table

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"

_BLOCK = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def tables() -> list[type[Table]]:
    """The whole configuration and every table in it, each once."""
    found: list[type[Table]] = [Config]
    for table in found:
        found.extend(child for child in table.file_keys().values() if child and child not in found)
    return found


def with_tables(text: str) -> str:
    """The document with every block of keys as the schema has it."""
    schema = json_schema()
    return _BLOCK.sub(lambda block: block[1] + _keys_of(block[2], schema) + block[3], text)


def _keys_of(name: str, schema: dict[str, Any]) -> str:
    """The Markdown table of one table's keys."""
    definitions = schema["$defs"]
    table = definitions.get(name, schema)
    required = table.get("required", [])
    return _HEAD + "".join(
        f"| `{key}` | {_kind(value, definitions)} | {_default(key, value, required)} | "
        f"{value['description']} |\n"
        for key, value in table["properties"].items()
    )


def _kind(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    value = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else value
    if "anyOf" in value:
        return " or ".join(_kind(choice, definitions) for choice in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "pattern" in value:
        return "duration" if "ms" in value["pattern"] else "size"
    if value["type"] == "array":
        entries = _kind(value["items"], definitions)
        return f"list of {'tables' if entries == 'table' else entries}"
    return _KINDS.get(value["type"], "table")


def _default(key: str, value: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    return f"`{json.dumps(value['default'])}`" if "default" in value else ""


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
