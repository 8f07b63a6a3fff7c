"""docs/benchmarks.md and its plots, from the documents in benchmarks/results that are there.

`python -m benchmarks.report`. Owns the page's order and words. Must never measure anything, and must give the
same page for the same documents: a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from benchmarks import plots, results
from benchmarks.judging import page as judge_page
from benchmarks.report_tables import TABLES, anything, markdown, number
from benchmarks.report_targets import targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from benchmarks.results import Document

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURES = DOCS / "benchmarks"
JUDGE_PAGE = DOCS / "judge.md"


_HEAD = """\
# Benchmarks

Made by `python -m benchmarks.report` from benchmarks/results; do not edit. The figures are of one machine on
one day: take the ratios, and measure on yours.
"""
_TABLES = {**TABLES, "judge": judge_page.standing}
_REPEAT = """\
## Repeat it

    make bench      # all of them, about twenty minutes, and this page anew

It needs nginx, HAProxy and wrk (Debian: `apt-get install nginx haproxy wrk`) and oha
(`cargo install oha --locked`); Envoy and Caddy come as wheels. What is not installed is left out, and said.
Each script runs alone too, as `python -m benchmarks.NAME --help` tells. For a trial that keeps these files as
they are, set `BENCH_RESULTS` to another directory.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement: the name of its script and document, its title, and what it does."""

    name: str
    title: str
    says: str


SECTIONS = (
    Section(
        "proxy_cost",
        "Cost per request",
        "CPU time of the proxy's processes per request, all proxies standing at once, in short "
        "alternating rounds; medians. A ratio compares within one round. One worker or thread each, "
        "connections kept on both sides. At 16 KiB about half of dualpath's time is the kernel's, "
        "somewhat less than of nginx's. The rest is flat: after the body's two copies, 4 % of all, no "
        "function takes 2 %. What it costs more than C is misses of the instruction cache, some 1,600 a "
        "request: a request passes a hundred short functions of the interpreter's, the loop's and our "
        "own. So the interpreter's build matters: one without PGO and LTO takes a sixth more of user time "
        "than Debian's or the container image's, on which the compiled build is measured. Less would take "
        "one module of C for the loop and the messages both.",
    ),
    Section(
        "latency",
        "Latency at an equal load",
        "An open loop: requests are due when the clock says so, and latency counts from then, so that a "
        "proxy which stands still is charged for all that was due meanwhile. `direct` is the backend alone.",
    ),
    Section(
        "tracing_cost",
        "Traces",
        "CPU time per request of builds that differ by their traces alone, with the thread that sends them; "
        "`watched` keeps only requests that fail or are slow, of which there are none.",
    ),
    Section("workers", "Worker processes", "Throughput, CPU time and memory with several worker processes."),
    Section(
        "memory", "Memory with large bodies", "Growth of the proxy's resident memory while large bodies pass."
    ),
    Section(
        "scale",
        "As it grows",
        "CPU time per request as routes, overridden users, connections, endpoints and rollouts grow.",
    ),
    Section("decisions", "Decisions", "What a routing decision, a record and a tick of the judge take."),
    Section(
        "rollback_reaction",
        "Reaction to a failing v2",
        "From v2's first failing answer to the last request that it was sent, and what clients saw.",
    ),
    Section(
        "judge",
        "How the judge decides",
        "False rollbacks and the delay of true ones, by simulation. All figures, also of rules as others "
        "have them, are in [the judge](judge.md). It takes twenty minutes and is no part of `make bench`.",
    ),
    Section("restart", "Restart under load", "What clients see while a new process takes over."),
    Section(
        "fleet",
        "Several instances",
        "A judge's tick over instances that each report a second of 1,000 requests, in one process; and "
        "three real ones on a real Redis: how soon a change told to one is in force on all, and what they "
        "send.",
    ),
    Section(
        "faults",
        "Faults, again and again",
        "What clients got for each fault, played on v2 and on v1, by GET and by POST in turn: v1's answer "
        "in v2's stead, an honest error, or a connection that is cut where an answer breaks off. Then the "
        "proxy's open files, tasks and memory at rest, before and after. It takes ten minutes and is no part "
        "of `make bench`.",
    ),
)


def main() -> None:
    """Writes the page and its plots."""
    console = Console()
    documents = read_all()
    try:
        drawn = draw(documents, PICTURES)
        console.print(f"drawn: {', '.join(drawn) or 'nothing'}")
    except plots.PlotError as error:
        console.print(f"[yellow]no plots:[/] {error}")
    PAGE.write_text(page(documents, pictures()))
    if "judge" in documents:
        JUDGE_PAGE.write_text(judge_page.renewed(JUDGE_PAGE.read_text(), documents["judge"]))
    console.print(f"written to {PAGE}")


def read_all(directory: Path = results.KEPT) -> dict[str, Document]:
    """The documents that are there, in the page's order."""
    found = {section.name: results.read(section.name, directory) for section in SECTIONS}
    return {name: document for name, document in found.items() if document is not None}


def pictures() -> set[str]:
    """The plots that lie beside the page."""
    return {file.name for file in PICTURES.glob("*.svg")}


def page(documents: Mapping[str, Document], drawn: Collection[str]) -> str:
    """The whole page."""
    lines = [*_HEAD.splitlines(), ""]
    rows = [
        [one.what, one.limit, one.measured, "cannot tell here" if one.met is None else number(one.met)]
        for one in targets(documents)
    ]
    if rows:
        lines += ["## Targets", "", *markdown(("what", "target", "measured", "met"), rows)]
    for section in SECTIONS:
        if section.name in documents:
            lines += _section(section, documents[section.name], drawn)
    return "\n".join([*lines, *_REPEAT.splitlines()]) + "\n"


def _section(section: Section, document: Document, drawn: Collection[str]) -> Iterator[str]:
    yield from (f"## {section.title}", "", section.says, "")
    picture = f"{section.name}.svg"
    if picture in drawn:
        yield from (f"![{section.title}](benchmarks/{picture})", "")
    yield from (_TABLES.get(section.name) or anything)(document)
    yield from (_provenance(section.name, document), "")


def _provenance(name: str, document: Document) -> str:
    """One line: which script, with what, on what, when."""
    machine = document["machine"]
    told = document["options"].items()
    options = ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in told)
    versions = ", ".join(f"{program} {version}" for program, version in document["versions"].items())
    return (
        f"<sub>benchmarks/{name}.py ({options}); {versions}; {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {machine['at'][:10]}</sub>"
    )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(number, value))
    if isinstance(value, dict):
        return "/".join(f"{key} {number(item)}" for key, item in value.items())
    return number(value)


def draw(documents: Mapping[str, Document], directory: Path) -> list[str]:
    """The plots that the documents allow; their names. PlotError without matplotlib."""
    plots.available()
    directory.mkdir(exist_ok=True)
    drawn = []
    for name, (title, unit, groups) in _pictures(documents).items():
        plots.bars(directory / f"{name}.svg", title, unit, groups)
        drawn.append(f"{name}.svg")
    return drawn


Picture = tuple[str, str, dict[str, dict[str, float]]]  # title, unit, bars by group and name


def _pictures(documents: Mapping[str, Document]) -> dict[str, Picture]:
    found: dict[str, Picture] = {}
    if "proxy_cost" in documents:
        loads: dict[str, Any] = documents["proxy_cost"]["loads"]
        groups = {load: _ratios(peers, "cpu_ratio_to_nginx") for load, peers in loads.items()}
        if any(groups.values()):
            found["proxy_cost"] = ("CPU time per request", "nginx = 1", groups)
    if "latency" in documents:
        document = documents["latency"]
        values = {name: one["median"]["p99_ms"] for name, one in document["peers"].items()}
        rate = f"{document['options']['rate']:,} requests/s"
        found["latency"] = (f"p99 at {rate} offered", "ms since due", {rate: values})
    if "scale" in documents:
        axes: dict[str, dict[str, float]] = {}
        for one in documents["scale"]["growth"]:
            axes.setdefault(one["axis"], {})[one["size"]] = one["ratio"]
        found["scale"] = ("CPU time per request as it grows", "cheapest smaller size = 1", axes)
    if "judge" in documents:
        found.update(judge_page.pictures(documents["judge"]))
    return found


def _ratios(peers: dict[str, Any], key: str) -> dict[str, float]:
    return {name: one[key] for name, one in peers.items() if one[key] is not None}


if __name__ == "__main__":
    typer.run(main)
