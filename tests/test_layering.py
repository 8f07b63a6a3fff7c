"""The layers hold: arrows point down, there is no circle, `core` is pure, and no import hides in a function.

The checker reads source text and imports nothing. Imports for type checking are arrows between layers too,
and so are places such as "proxy.verbs:status", by which `later` imports what is needed first; nobody else
imports by name.
Only in a circle they do not count, because two modules of one package may name each other's types. The second
half shows the checker made-up violations.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LAYERS = {
    "proxy": 0,
    "proxy.judgment": 0,
    "proxy.model": 0,
    "proxy.errors": 0,
    "proxy.ports": 0,
    "proxy.config": 0,
    "proxy.tls": 0,
    "proxy.later": 0,
    "proxy.core": 1,
    "proxy.dataplane": 2,
    "proxy.controlplane": 2,
    "proxy.stores": 2,
    "proxy.telemetry": 2,
    "proxy.admin": 3,
}
BY_NAME = frozenset({"proxy.later", "proxy.stores.opening", "proxy.telemetry.alerts.callback"})
"""Who imports by name: places that the checker knows, and the code of others."""
TOP = 4
"""Whatever has no line above composes the rest: the command line, the composition root, the demonstration."""

ONLY_DOOR = {"proxy.admin": "proxy.controlplane.controller"}
NAMED_UPWARDS = {
    ("proxy.ports", "proxy.core.alert_book"),
    ("proxy.ports", "proxy.core.audit"),
    ("proxy.ports", "proxy.core.gauges"),
    ("proxy.ports", "proxy.core.minute"),
    ("proxy.ports", "proxy.core.notice"),
    ("proxy.ports", "proxy.core.observed"),
    ("proxy.ports", "proxy.core.peers"),
    ("proxy.ports", "proxy.core.tally"),
}
"""The seams between recorder, judge and store name the values that they hand over, for type checking
alone."""

IMPURE = frozenset(
    {
        *("aiohttp", "aiosqlite", "asyncio", "concurrent", "datetime", "httptools", "io", "logging"),
        *("multiprocessing", "os", "pathlib", "psutil", "queue", "random", "secrets", "select", "selectors"),
        *("signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid"),
        "uvloop",
    }
)


_IMPORTERS = frozenset({"importlib", "importlib.import_module"})
_PLACE = re.compile(r"proxy(\.\w+)+:\w+")


@dataclass(frozen=True, slots=True)
class Import:
    """One arrow: `target` is a module of `proxy`, or the first part of a library's name."""

    target: str
    line: int
    in_function: bool
    for_types: bool


def test_the_layers_hold() -> None:
    root = Path(__file__).parents[1]
    sources = {str(path.relative_to(root)): path.read_text("utf-8") for path in root.glob("proxy/**/*.py")}
    assert len(sources) > 20
    assert violations(sources) == []


def violations(sources: Mapping[str, str]) -> list[str]:
    """What breaks the layering in these files, by path, each with its place."""
    modules = {_module(path): path for path in sources}
    arrows = {module: list(_imports(sources[path], module, modules)) for module, path in modules.items()}
    found = [
        f"{modules[module]}:{arrow.line} {problem}"
        for module, outgoing in arrows.items()
        for arrow in outgoing
        for problem in _problems(module, arrow)
    ]
    return [*found, *_circles(arrows)]


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(source: str, module: str, modules: Mapping[str, str]) -> Iterator[Import]:
    package = module if modules[module].endswith("__init__.py") else module.rpartition(".")[0]
    tree = ast.parse(source)
    for node, in_function, for_types in _statements(tree):
        for name in _names(node, package):
            known = next((part for part in _shortened(name) if part in modules), name)
            ours = known == "proxy" or known.startswith("proxy.")
            library = "importlib" if name in _IMPORTERS else name.partition(".")[0]
            library = f"{library}." if name.startswith("importlib.resources") else library
            yield Import(known if ours else library, node.lineno, in_function, for_types)
    for place in _places(tree):
        name = str(place.value).partition(":")[0]
        yield Import(name, place.lineno, in_function=False, for_types=False)


def _statements(
    node: ast.AST, in_function: bool = False, for_types: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function, for_types
        if isinstance(child, ast.Import | ast.ImportFrom | ast.expr):  # in which there is no statement
            continue
        within = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        guarded = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        yield from _statements(child, within, guarded)


def _places(tree: ast.AST) -> Iterator[ast.Constant]:
    """Text that says what is to be imported later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _PLACE.fullmatch(node.value):
            yield node


def _names(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    origin = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{origin}.{alias.name}" for alias in node.names]


def _shortened(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`: a name that is imported from a module stands for that module."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _problems(module: str, arrow: Import) -> Iterator[str]:
    if arrow.in_function:
        yield f"imports {arrow.target} inside a function"
    if arrow.target == "importlib" and module not in BY_NAME:
        yield "imports by name"
    if not arrow.target.startswith("proxy"):
        if _group(module) == "proxy.core" and arrow.target in IMPURE:
            yield f"core imports {arrow.target}"
        return
    here, there = _layer(module), _layer(arrow.target)
    if there > here and not (arrow.for_types and (module, arrow.target) in NAMED_UPWARDS):
        yield f"layer {here} imports {arrow.target} of layer {there}"
    stranger = there == 2 and here in {2, 3} and _group(module) != _group(arrow.target)
    if stranger and arrow.target != ONLY_DOOR.get(_group(module)):
        yield f"{_group(module)} imports {arrow.target}"


def _group(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _layer(module: str) -> int:
    return LAYERS.get(_group(module), TOP)


def _circles(arrows: Mapping[str, list[Import]]) -> list[str]:
    graph = {
        module: {arrow.target for arrow in outgoing if arrow.target in arrows and not arrow.for_types}
        for module, outgoing in arrows.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["circle: " + " <- ".join(error.args[1])]
    return []


# ... the checker itself


def check(**sources: str) -> list[str]:
    """Violations of modules given as `proxy__core__routing="text"`."""
    return violations({name.replace("__", "/") + ".py": text for name, text in sources.items()})


def test_arrows_that_point_down_are_sound() -> None:
    found = check(
        proxy__model="import enum",
        proxy__errors="if TYPE_CHECKING:\n    from proxy.model import Path",
        proxy__core__routing="from proxy.model import Path\nimport math",
        proxy__stores__memory="import asyncio\nfrom proxy.core.routing import Split",
        proxy__stores__opening="from proxy.stores.memory import MemoryStore",
        proxy__controlplane__controller="from proxy.errors import ControlError",
        proxy__admin__views="from proxy.controlplane.controller import Controller",
        proxy__app="import proxy.admin.views\nfrom proxy.stores import memory",
    )
    assert found == []


@pytest.mark.parametrize(
    ("sources", "violation"),
    [
        (
            {"proxy__model": "from proxy.core.routing import Split", "proxy__core__routing": ""},
            "proxy/model.py:1 layer 0 imports proxy.core.routing of layer 1",
        ),
        (
            {"proxy__core__judge": "\nimport proxy.stores.memory", "proxy__stores__memory": ""},
            "proxy/core/judge.py:2 layer 1 imports proxy.stores.memory of layer 2",
        ),
        (
            {"proxy__stores__memory": "from proxy import app", "proxy__app": ""},
            "proxy/stores/memory.py:1 layer 2 imports proxy.app of layer 4",
        ),
        (
            {"proxy__admin__views": "from ..demo import run", "proxy__demo__run": ""},
            "proxy/admin/views.py:1 layer 3 imports proxy.demo.run of layer 4",
        ),
        (
            {
                "proxy__config__rules": "if TYPE_CHECKING:\n  from proxy.core import keys",
                "proxy__core__keys": "",
            },
            "proxy/config/rules.py:2 layer 0 imports proxy.core.keys of layer 1",
        ),
    ],
)
def test_an_upward_arrow_is_caught(sources: dict[str, str], violation: str) -> None:
    assert check(**sources) == [violation]


def test_the_seam_may_name_the_tally_and_not_import_it() -> None:
    line = "from proxy.core.tally import Tally"
    assert check(proxy__ports=f"if TYPE_CHECKING:\n    {line}", proxy__core__tally="") == []
    assert check(proxy__ports=line, proxy__core__tally="") == [
        "proxy/ports.py:1 layer 0 imports proxy.core.tally of layer 1"
    ]


def test_packages_of_the_second_layer_do_not_know_each_other() -> None:
    assert check(
        proxy__dataplane__exchange="from proxy.telemetry.recorder import R", proxy__telemetry__recorder=""
    ) == ["proxy/dataplane/exchange.py:1 proxy.dataplane imports proxy.telemetry.recorder"]


def test_the_admin_has_one_door() -> None:
    assert check(
        proxy__admin__views="from proxy.controlplane import ticker", proxy__controlplane__ticker=""
    ) == ["proxy/admin/views.py:1 proxy.admin imports proxy.controlplane.ticker"]


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import os.path",
        "from random import random",
        "import math, logging",
        "import asyncio.tasks",
    ],
)
def test_an_impure_core_is_caught(line: str) -> None:
    assert len(check(proxy__core__judge=line)) == 1
    assert check(proxy__dataplane__exchange=line) == []


def test_an_impure_core_is_caught_under_a_condition() -> None:
    assert check(proxy__core__judge="try:\n    import socket\nexcept ImportError:\n    pass") == [
        "proxy/core/judge.py:2 core imports socket"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import json",
        "async def f():\n    import json",
        "class A:\n    def f(self):\n        if self:\n            from json import loads",
    ],
)
def test_an_import_in_a_function_is_caught(source: str) -> None:
    assert [found.split(" ", 1)[1] for found in check(proxy__app=source)] == [
        "imports json inside a function"
    ]


def test_what_is_imported_later_is_an_arrow_as_well() -> None:
    assert check(proxy__cli='VERB = "proxy.app:run"', proxy__app="") == []
    assert check(proxy__config__x='f("proxy.core.judge:Judge")', proxy__core__judge="") == [
        "proxy/config/x.py:1 layer 0 imports proxy.core.judge of layer 1"
    ]
    assert len(check(proxy__cli='A = "proxy.app:run"', proxy__app="import proxy.cli")) == 1


def test_nobody_else_imports_by_name() -> None:
    assert check(proxy__later="from importlib import import_module") == []
    assert check(proxy__app="from importlib.resources import files") == []
    for line in ("import importlib", "from importlib import import_module"):
        assert check(proxy__app=line) == ["proxy/app.py:1 imports by name"]


def test_a_circle_is_caught() -> None:
    found = check(
        proxy__core__a="from proxy.core.b import x",
        proxy__core__b="from .c import x",
        proxy__core__c="from . import a",
    )
    assert len(found) == 1
    assert set(found[0].removeprefix("circle: ").split(" <- ")) == {
        "proxy.core.a",
        "proxy.core.b",
        "proxy.core.c",
    }


def test_two_modules_may_name_each_others_types() -> None:
    assert (
        check(
            proxy__dataplane__a="from proxy.dataplane.b import x",
            proxy__dataplane__b="if TYPE_CHECKING:\n    from proxy.dataplane.a import y",
        )
        == []
    )


def test_a_package_is_its_init() -> None:
    sources = {"proxy/core/__init__.py": "from .a import x", "proxy/core/a.py": ""}
    assert violations(sources) == []
    assert len(violations({**sources, "proxy/core/a.py": "import proxy.core"})) == 1
