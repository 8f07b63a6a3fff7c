"""Coverage-guided fuzzing, each target for a while: `python -m tests.fuzz [NAMES] [--seconds 60]`.

Begins with the seeds and what earlier runs have found worth keeping (.fuzz/NAME/corpus). An input that breaks
a rule is kept as .fuzz/NAME/crash-…; `python -m tests.fuzz NAME --replay FILE` shows it again. Exits with 1
if there was one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS

KEPT = Path(".fuzz")
_SPARE_S = 60
"""What a target may take beyond its time: to start, and for the input that it is at."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a target's run: executions, lines of code reached, inputs that broke a rule."""

    target: str
    executions: int
    reached: int
    broken: list[Path]


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Targets; all if none is named.")] = None,
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="For each target.")] = 60,
    replay: Annotated[Path | None, typer.Option(help="One input for the one target that is named.")] = None,
) -> None:
    """Fuzzes the targets one after the other."""
    chosen = names or list(TARGETS)
    if unknown := [name for name in chosen if name not in TARGETS]:
        raise typer.BadParameter(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if replay is not None:
        for name in chosen:
            TARGETS[name](replay.read_bytes())
        return
    found = [_fuzz(name, seconds) for name in chosen]
    table = Table(
        "target", "executions", "reached", "broken", title=f"{seconds} s each", title_justify="left"
    )
    for one in found:
        table.add_row(
            one.target, f"{one.executions:,}", str(one.reached), "\n".join(map(str, one.broken)) or "-"
        )
    Console().print(table)
    raise typer.Exit(any(one.broken for one in found))


def _fuzz(name: str, seconds: int) -> Found:
    place = KEPT / name
    begin, corpus, log = place / "seeds", place / "corpus", place / "log"
    for directory in (begin, corpus):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (begin / sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    (place / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in words()))
    before = {path: path.stat().st_mtime_ns for path in _broken(place)}
    for path in before:  # what was found and is not mended is found again
        (begin / path.name).write_bytes(path.read_bytes())
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    options += [
        f"-artifact_prefix={place}/",
        f"-dict={place}/words",
        "-print_final_stats=1",
        "-close_fd_mask=0",
    ]
    command = [sys.executable, "-m", "tests.fuzz.run_target", name, *options, str(corpus), str(begin)]
    print(f"{name} ...", flush=True)
    with log.open("wb") as output:
        code = _run(command, output.fileno(), seconds + _SPARE_S)
    told = log.read_text(errors="replace")
    broken = [path for path in _broken(place) if before.get(path) != path.stat().st_mtime_ns]
    if code and not broken:
        print(told[-3000:])
        raise typer.Exit(2)
    executed = re.search(r"stat::number_of_executed_units: +([0-9]+)", told)
    reached = re.findall(r" cov: ([0-9]+)", told)
    return Found(name, int(executed[1]) if executed else 0, int(reached[-1]) if reached else 0, broken)


def _run(command: list[str], output: int, within_s: float) -> int:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _broken(place: Path) -> list[Path]:
    return sorted(path for kind in ("crash", "timeout", "oom") for path in place.glob(f"{kind}-*"))


def _escaped(word: bytes) -> str:
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word
    )


if __name__ == "__main__":
    typer.run(main)
