"""Options and arguments that several verbs take: what each is called, means, and may hold.

Owns their words, so that one option reads the same wherever it stands. Those of the connection stand in
`commands`, those of one verb with it. Annotations are read at run time: typer makes the options from them.
"""

import re
from typing import Annotated

import typer

from proxy.config.texts import parse_duration, parse_percentage

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)%?")


def parse_percent(value: str) -> float:
    """A percentage as it is typed: "5", "0.5", "5%". Raises `typer.BadParameter`."""
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise typer.BadParameter(f"must be a number from 0 to 100, not {value!r}")
    number = float(match[1])
    try:
        return parse_percentage(int(number) if number.is_integer() else number)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_within(value: str) -> float:
    """A duration as it is typed: "90s", "2h". Raises `typer.BadParameter`."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_lasting(value: str) -> str:
    """A duration as it is typed, which the API is to read. Raises `typer.BadParameter`."""
    parse_within(value)
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON instead.")]
Watching = Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="With --watch: no colours.")]
Percent = Annotated[float, typer.Argument(parser=parse_percent, metavar="PERCENT", help="0 to 100.")]
Lower = Annotated[
    float | None,
    typer.Option("--to", parser=parse_percent, metavar="PERCENT", help="Keep this share on v2 instead of 0."),
]
Full = Annotated[bool, typer.Option("--full", help="To the end of the plan at once.")]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help='Which rollout, or several: "checkout-*".'),
]
Every = Annotated[bool, typer.Option("--all", help="Every rollout.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Goes into the audit.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is completed (0) or rolled back (3).")]
Within = Annotated[
    float | None,
    typer.Option("--timeout", parser=parse_within, metavar="DURATION", help="Wait no longer (exit 4)."),
]
Lasting = Annotated[
    str | None,
    typer.Option(
        "--for", parser=parse_lasting, metavar="DURATION", help='How long, such as "2h"; else for good.'
    ),
]
