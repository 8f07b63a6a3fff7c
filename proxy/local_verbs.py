"""The verbs that ask nobody: `serve`, `check`, `schema`; `demo` and `simulate` stand with
what they run.

Owns what each needs of the command line. Must never touch a store or a rollout itself. Annotations are read
at run time: typer makes the options from them.
"""

from typing import Annotated

import typer

from proxy.config.export import json_schema
from proxy.config.loading import load
from proxy.config.source import ConfigSource
from proxy.config_summary import config_text
from proxy.session import DEFAULT_CONFIG, Session, show, show_json

ConfigFile = Annotated[
    str, typer.Option("-c", "--config", metavar="FILE", envvar="DUALPATH_CONFIG", help="The configuration.")
]
PlainFile = Annotated[str | None, typer.Argument(metavar="[FILE]", help="The same as --config.")]


def serve(ctx: typer.Context, file: PlainFile = None, config: ConfigFile = DEFAULT_CONFIG) -> int:
    """Run the proxy until SIGTERM or SIGINT. SIGHUP reloads, SIGUSR2 restarts without downtime."""
    session: Session = ctx.obj
    return session.outside.serve(ConfigSource(config if file is None else file, session.outside.environ))


def check(ctx: typer.Context, file: PlainFile = None, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Read the configuration as `serve` would, and say what would run."""
    session: Session = ctx.obj
    source = config if file is None else file
    show(config_text(source, load(source, session.outside.environ)))


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    show_json(json_schema())
