"""Configuration texts out of bytes: tables and keys that exist, with values that fit more or less.

Owns the walk over the schema's tables, so that a new key is tried without a word here. Each byte is a choice:
a change of one byte is a small change of the text, which is what a fuzzer needs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from proxy.config.schema import Config

if TYPE_CHECKING:
    from proxy.config.table import Table

VALUES = [
    *(
        "true",
        "false",
        "0",
        "1",
        "-1",
        "100",
        "99999",
        "0.5",
        "100.0005",
        "1e308",
        "inf",
        "nan",
        "-0.0",
        "0x10",
    ),
    *('"0s"', '"250ms"', '"10s"', '"48h"', '"-1s"', '"1e9h"', '"10"', '"64KiB"', '"1B"', '"0B"', '"-1KiB"'),
    *(
        '""',
        '"x"',
        '"default"',
        '"canary"',
        '"v1"',
        '"v2"',
        '"a b"',
        '"\\u0000"',
        '"\\u00fc"',
        '"*"',
        '"*.example.com"',
    ),
    *(
        '"127.0.0.1:0"',
        '"0.0.0.0:80"',
        '"[::1]:1"',
        '"localhost"',
        '"127.0.0.1:65536"',
        '"10.0.0.0/8"',
        '"::/0"',
    ),
    *(
        '"http://127.0.0.1:9001"',
        '"https://a.example:443"',
        '"ftp://x"',
        '"http://u:p@x:1"',
        '"http://x:0/y?z"',
    ),
    *(
        '"header:X-User"',
        '"cookie:uid"',
        '"client_ip"',
        '"header:"',
        '"header:Connection"',
        '"/"',
        '"/a/../b"',
    ),
    *(
        '"connect"',
        '"5xx"',
        '"502"',
        '"idempotent"',
        '"all"',
        '"rollback"',
        '"alert"',
        '"error_rate"',
        '"health"',
    ),
    *(
        '"memory://"',
        '"sqlite:///x.db"',
        '"sqlite://"',
        '"redis://h:1"',
        '"auto"',
        '"operator"',
        '"warning"',
        '"GET"',
    ),
    *(
        '"' + "a" * 64 + '"',
        '"at least 16 characters"',
        '"none"',
        '"required"',
        '"1.2"',
        '"1.3"',
        "1979-05-27",
        "[]",
    ),
    *(
        '["http://127.0.0.1:9001"]',
        '["client_ip"]',
        '["a", "a"]',
        "[1, 2]",
        "[[]]",
        "[{}]",
        "{}",
        '{ v1 = ["a"] }',
    ),
    *(
        "9" * 400,
        "10" * 12,
        "'''\nx'''",
        "1.0e-400",
        '{ prefix = "/" }',
        '[{ prefix = "/" }]',
        '["/etc/x"]',
        "[nan]",
    ),
]
SOUND = {
    "endpoints": '["http://127.0.0.1:9001"]',
    "name": '"default"',
    "prefix": '"/"',
    "percentage": "1",
    "metric": '"error_rate"',
    "above": "0.1",
    "header": '"X-Own"',
    "secret": '"at least 16 characters"',
    "path": '"/healthz"',
    "role": '"viewer"',
    "sha256": '"' + "0" * 64 + '"',
    "key": '["header:X-User"]',
}
"""Values for keys that a table cannot do without."""


class Choices:
    """Bytes, one after the other; zeros once there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __repr__(self) -> str:
        return f"<Choices {self._at} of {len(self._data)}>"

    def byte(self) -> int:
        """The next one."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def some(self, items: list[str]) -> str:
        """One of the items."""
        return items[self.byte() % len(items)]


def document(choices: Choices) -> str:
    """A text in TOML, nearly always well-formed."""
    lines = [f"{key} = {value}" for key, value in _entries(Config, choices, 0)]
    if choices.byte() == 255:
        lines.append(choices.some(VALUES))
    return "\n".join(lines)


def environment(choices: Choices) -> dict[str, str]:
    """Up to three overrides."""
    found = {}
    for _ in range(choices.byte() % 4):
        parts: list[str] = []
        table: type[Table] = Config
        for _ in range(choices.byte() % 4 + 1):
            key = choices.some([*table.file_keys(), "0", "1", "default", "-1"])
            parts.append(key.upper())
            table = table.file_keys().get(key) or table
        value = choices.some(VALUES)
        found["__".join(["DUALPATH", *parts])] = value.strip('"')
    return found


def _entries(table: type[Table], choices: Choices, depth: int) -> list[tuple[str, str]]:
    found = []
    for key, inner in table.file_keys().items():
        choice = choices.byte()
        required = table.model_fields[_attribute(table, key)].is_required() or (
            depth == 0 and key == "backends"
        )
        if choice == 0 and required:
            choice = 3
        if choice % 4 == 1 or choice == 2:
            found.append((key, choices.some(VALUES)))
        elif choice % 4 == 3:
            found.append((key, _sound(key, inner, table, choices, depth)))
    if choices.byte() == 254:
        found.append((json.dumps(choices.some(["unknown", "percentge", "", "a.b", *SOUND])), "1"))
    return found


def _sound(key: str, inner: type[Table] | None, table: type[Table], choices: Choices, depth: int) -> str:
    if inner is None or depth > 5:
        return SOUND.get(key) or choices.some(VALUES)
    many = "tuple" in str(table.model_fields[_attribute(table, key)].annotation)
    tables = [
        "{ " + ", ".join(f"{name} = {value}" for name, value in _entries(inner, choices, depth + 1)) + " }"
        for _ in range(1 + (choices.byte() % 3 if many else 0))
    ]
    return f"[{', '.join(tables)}]" if many else tables[0]


def _attribute(table: type[Table], key: str) -> str:
    return next(name for name, field in table.model_fields.items() if (field.alias or name) == key)
