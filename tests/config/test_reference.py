"""The shipped proxy.toml and docs/configuration.md say of every key what the schema says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.export import defaults
from proxy.config.loading import load, parse
from proxy.config.schema import Config
from proxy.model import Path
from tests.config.documents import BACKENDS
from tests.config.reference import DOCUMENT, tables, with_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.table import Table

SHIPPED = FilePath(__file__).parents[2] / "proxy.toml"
IN_FORCE = re.sub(r"^#(?=[a-z\[])", "", SHIPPED.read_text(encoding="utf-8"), flags=re.MULTILINE)
"""The shipped file with every setting in force; prose has a space after its hash, settings have none."""


def _in(document: dict[str, Any], table: type[Table]) -> Iterator[tuple[type[Table], dict[str, Any]]]:
    """Every table of a document, with its class."""
    yield table, document
    for key, child in table.file_keys().items():
        if child is not None and key in document:
            entries = document[key] if isinstance(document[key], list) else [document[key]]
            for entry in entries:
                yield from _in(entry, child)


def test_the_shipped_file_is_nothing_but_defaults() -> None:
    shipped = load(SHIPPED, {})
    backends = {path: {"endpoints": list(shipped.backends.of(path).endpoints)} for path in Path}
    assert shipped == Config.read({"backends": backends})


def test_the_shipped_file_is_sound_with_every_setting_in_force() -> None:
    environ = {  # what the examples for issue_cookie, a guard on health, client_ca and store.tls need
        "DUALPATH__ROLLOUTS__0__KEY": '["cookie:uid"]',
        "DUALPATH__BACKENDS__V2__HEALTH__PATH": "/healthz",
        "DUALPATH__LISTEN__TLS__CLIENT_AUTH": "optional",
        "DUALPATH__STORE__URL": "rediss://127.0.0.1:6379/0",
    }
    assert len(parse(IN_FORCE, environ).rollouts[0].guards) == 2


def test_every_key_stands_in_the_shipped_file() -> None:
    missing = {(table.__name__, key) for table in tables() for key in table.file_keys()}
    for table, document in _in(tomllib.loads(IN_FORCE), Config):
        missing -= {(table.__name__, key) for key in document}
    assert missing == set()


def test_every_value_in_the_shipped_file_is_the_default() -> None:
    shipped = tomllib.loads(IN_FORCE)
    del shipped["rollouts"][1:]  # the others are examples
    for table, document in _in(shipped, Config):
        read = table.read(document).model_dump(mode="json", by_alias=True)
        for key, default in defaults(table).items():
            if table.file_keys()[key] is None:
                assert read[key] == default, f"{table.__name__}.{key}"


def test_the_keys_in_the_documentation_are_those_of_the_schema() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: python -m tests.config.reference"


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.__name__)
def test_every_table_stands_in_the_documentation(table: type[Table]) -> None:
    assert f"<!-- keys of {table.__name__} -->" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "example",
    re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL),
    ids=lambda example: example.splitlines()[0],
)
def test_the_examples_in_the_documentation_are_sound(example: str) -> None:
    text = example if "[backends" in example else BACKENDS + example
    assert parse(text, {}).rollouts
