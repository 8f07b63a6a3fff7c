"""`dualpath report`: a document on one rollout, in the form that the file's name asks for.

Owns the options. Annotations are read at run time: typer makes the options from them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from proxy.errors import DualpathError
from proxy.options import parse_within
from proxy.report.course import course_of
from proxy.report.document import document_of
from proxy.report.gathering import gather
from proxy.report.markdown import markdown_of
from proxy.report.page import page_of, printed_page_of
from proxy.session import OK, Session, UsageError, show
from proxy.verbs import chosen

Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help='Its name ends with .html, .md, .json or .pdf-ready (HTML for paper); "-" is Markdown.',
    ),
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Which rollout.")]
Since = Annotated[
    float | None,
    typer.Option(
        "--last", parser=parse_within, metavar="DURATION", help="So far back; else to its last start."
    ),
]


class NotWrittenError(DualpathError):
    """There is a report, and no place for it."""


def _json_of(document: dict[str, Any]) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


_FORMS: dict[str, Callable[[dict[str, Any]], str]] = {
    ".html": page_of,
    ".md": markdown_of,
    ".json": _json_of,
    ".pdf-ready": printed_page_of,
}
_PAPER = ".pdf-ready"


def _form_of(output: str) -> Callable[[dict[str, Any]], str] | None:
    """What the name asks for. Browsers want .html at the end, of what is for paper too."""
    path = Path(output)
    suffix = path.suffix.lower()
    if suffix == ".html" and path.stem.lower().endswith(_PAPER):
        suffix = _PAPER
    return markdown_of if output == "-" else _FORMS.get(suffix)


def report(ctx: typer.Context, output: Output, name: Name = None, last: Since = None) -> int:
    """Write what was planned for a rollout, what happened, whom it hurt, and what follows."""
    session: Session = ctx.obj
    form = _form_of(output)
    if form is None:
        raise UsageError(f"--output must end with {', '.join(_FORMS)}, not {output!r}")
    now = session.outside.wall()
    since = None if last is None else now - last

    async def ask(admin: Any) -> dict[str, Any]:
        material = await gather(admin, await chosen(admin, name), since, now)
        return document_of(material, course_of(material))

    document = session.ask(ask)
    if output == "-":
        sys.stdout.write(form(document))
    else:
        _write(Path(output), form(document))
        show(f"{output}: {document['outcome']}")
    return OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWrittenError(f"{path} cannot be written: {error.strerror or error}") from None


REPORTING = {"report": report}
