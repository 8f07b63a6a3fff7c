"""The runbook knows every line of the log that asks for somebody, and every file that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNBOOK = " ".join((ROOT / "docs" / "operations.md").read_text("utf-8").split())
LOUD = {"warning", "error", "critical", "exception"}
DEMONSTRATION = ROOT / "proxy" / "demo"


def loud_lines() -> dict[str, str]:
    """The longest fixed part of each line that is logged above INFO, and where."""
    found = {}
    for file in sorted((ROOT / "proxy").rglob("*.py")):
        if file.is_relative_to(DEMONSTRATION):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _is_loud(node.func) and node.args:
                form = node.args[0]
                if isinstance(form, ast.Constant) and isinstance(form.value, str):
                    parts = re.split(r"%[-.0-9]*[a-z]", form.value)
                    fixed = max((" ".join(part.split()).strip(" :;,") for part in parts), key=len)
                    found[fixed] = f"{file.relative_to(ROOT)}:{node.lineno}"
    return found


def _is_loud(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr in LOUD
        and isinstance(called.value, ast.Name)
        and called.value.id == "log"
    )


def test_the_runbook_has_every_line_of_the_log_that_asks_for_somebody() -> None:
    lines = loud_lines()
    assert len(lines) > 20
    assert {line: place for line, place in lines.items() if line not in RUNBOOK} == {}


def test_the_units_that_it_names_are_there_and_run_what_is_installed() -> None:
    service = (ROOT / "deploy" / "systemd" / "dualpath.service").read_text("utf-8")
    assert (ROOT / "deploy" / "systemd" / "dualpath.socket").is_file()
    assert "Type=notify" in service
    assert re.search(r"^ExecStart=\S+/bin/dualpath serve --config \S+$", service, re.MULTILINE)
