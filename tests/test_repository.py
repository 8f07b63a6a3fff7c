"""Rules about the files themselves: sizes, words that are not used, addresses that do not belong in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for pattern in ("*", ".ci/*", "docs/**/*", "proxy/**/*", "tests/**/*", "benchmarks/**/*", "deploy/**/*")
    for path in ROOT.glob(pattern)
    if path.is_file() and not path.name.startswith(".cov") and "__pycache__" not in path.parts
)
PYTHON = [path for path in FILES if path.suffix == ".py"]
MODULES = [path for path in PYTHON if path.is_relative_to(ROOT / "proxy")]
# Put together here, so that this file is no exception to itself.
REGISTRIES = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]
UNUSED_WORDS = re.compile("(?<![a-z])(manager|helper|utils|misc|common)(?![a-z])", re.IGNORECASE)
NAMES = re.compile(r"^ *(?:class|def|async def) (\w+)", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_the_files_are_found() -> None:
    names = set(map(_name, FILES))
    assert {"proxy.toml", "Makefile", "proxy/model.py", "docs/configuration.md", ".ci/run"} <= names


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_file_names_a_package_registry(host: str) -> None:
    assert [_name(path) for path in FILES if host in _text(path)] == []


def test_constraints_pin_versions_and_name_no_address() -> None:
    lines = [line for line in _text(ROOT / "constraints.txt").splitlines() if not line.startswith("#")]
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []


def test_every_dependency_is_pinned_and_explained() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in _text(ROOT / "constraints.txt").splitlines()
    }
    explained = _text(ROOT / "docs" / "dependencies.md")
    required = re.findall(r'^  "([a-z0-9-]+)>=', _text(ROOT / "pyproject.toml"), re.MULTILINE)
    assert len(required) > 10
    assert [name for name in required if name not in pinned or name not in explained] == []


def test_modules_are_short() -> None:
    assert [_name(path) for path in MODULES if len(_text(path).splitlines()) > 400] == []


def test_modules_say_what_they_own() -> None:
    assert [_name(path) for path in MODULES if not ast.get_docstring(ast.parse(_text(path)))] == []


def test_words_that_say_nothing_are_not_used_in_names() -> None:
    found = [
        f"{_name(path)}: {name}"
        for path in PYTHON
        for name in NAMES.findall(_text(path))
        if UNUSED_WORDS.search(name.replace("_", " "))
    ]
    assert [*found, *(_name(path) for path in FILES if UNUSED_WORDS.search(path.name))] == []
