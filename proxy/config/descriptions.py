"""What each key means, in words: the texts that stand under the attributes of the tables.

Owns how they are found in the source. They are read when somebody asks for the schema: pydantic, told to use
them, would read and parse every table's source in every process that starts.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from proxy.config.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def descriptions(table: type[Table]) -> dict[str, str]:
    """What the attributes of a table mean, its own and those that it has from others."""
    found: dict[str, str] = {}
    for base in reversed(table.__mro__):
        if issubclass(base, Table):
            found |= _in_module(base.__module__).get(base.__name__, {})
    return found


@cache
def _in_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """By class and attribute."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: dict(_in_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _in_class(tree: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for attribute, text in pairwise(tree.body):
        if (
            isinstance(attribute, ast.AnnAssign)
            and isinstance(attribute.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield attribute.target.id, inspect.cleandoc(text.value.value)
