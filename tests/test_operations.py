"""The runbook knows every line of the log that asks for somebody, and every file that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNBOOK = " ".join((ROOT / "docs" / "operations.md").read_text("utf-8").split())
LOUD = {"warning": 0, "error": 0, "critical": 0, "exception": 0, "log": 1}
"""Ways to log above INFO, and which argument is the form of the line. `log` may be one: its level varies."""
DEMONSTRATION = ROOT / "proxy" / "demo"
MADE_OF_ARGUMENTS = {
    "%s": "`NAME: rolled_back at 0 % by ...: REASON`",
    "%s: %s": "`NAME: REASON` of a guard whose action is `alert`",
    "%s %s is %s": "`v2 http://... is unhealthy: ...`, `... is healthy`",
    "worker %d %s": "`worker N is silent`, `worker N reports again`",
    "worker %d": "`worker N` alone",
}
"""Lines with next to no words of their own, as the runbook has them."""


def loud_lines() -> dict[str, str]:
    """What the runbook has to have of each line that is logged above INFO, and where that is logged."""
    found = {}
    for file in sorted((ROOT / "proxy").rglob("*.py")):
        if file.is_relative_to(DEMONSTRATION):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _is_loud(node.func):
                assert isinstance(node.func, ast.Attribute)
                place = f"{file.relative_to(ROOT)}:{node.lineno}"
                form = node.args[LOUD[node.func.attr]]
                assert isinstance(form, ast.Constant), (
                    f"{place}: the form of a line is written where it is logged"
                )
                found[_words(str(form.value))] = place
    return found


def _words(form: str) -> str:
    if form in MADE_OF_ARGUMENTS:
        return MADE_OF_ARGUMENTS[form]
    parts = re.split(r"%[-.0-9]*[a-z]", form)
    return max((" ".join(part.split()).strip(" :;,") for part in parts), key=len)


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
    assert {line: place for line, place in lines.items() if len(line) < 7} == {}, "found in any text"


def test_the_units_that_it_names_are_there_and_run_what_is_installed() -> None:
    service = (ROOT / "deploy" / "systemd" / "dualpath.service").read_text("utf-8")
    assert (ROOT / "deploy" / "systemd" / "dualpath.socket").is_file()
    assert {"Type=notify", "KillMode=mixed", "OOMPolicy=continue"} <= set(service.split("\n"))
    assert re.search(r"^ExecStart=\S+/bin/dualpath serve --config \S+$", service, re.MULTILINE)
