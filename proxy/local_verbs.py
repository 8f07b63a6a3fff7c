"""The verbs that ask nobody: `serve`, `demo`, `check`, `schema`.

Owns what each needs of the command line. Must never touch a store or a rollout itself. Annotations are read
at run time: typer makes the options from them.
"""

from typing import Annotated

import typer

from proxy.config.export import json_schema
from proxy.config.loading import load
from proxy.config_summary import config_text
from proxy.demo.faults import Fault
from proxy.demo.play import DemoOptions
from proxy.reload import ConfigSource
from proxy.session import Session, show, show_json

ConfigFile = Annotated[
    str, typer.Option("-c", "--config", metavar="FILE", envvar="DUALPATH_CONFIG", help="The configuration.")
]
PlainFile = Annotated[str | None, typer.Argument(metavar="[FILE]", help="The same as --config.")]
DEFAULT_CONFIG = "proxy.toml"
_DEMO = DemoOptions()


def serve(ctx: typer.Context, file: PlainFile = None, config: ConfigFile = DEFAULT_CONFIG) -> int:
    """Run the proxy until SIGTERM or SIGINT. SIGHUP reloads, SIGUSR2 restarts without downtime."""
    session: Session = ctx.obj
    return session.outside.serve(ConfigSource(file or config, session.outside.environ))


def demo(
    ctx: typer.Context,
    fault: Annotated[Fault, typer.Option("--fault", help="What goes wrong with v2.")] = _DEMO.fault,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long it takes.")] = _DEMO.seconds,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up until Ctrl-C.")] = _DEMO.stay,
    rate: Annotated[float, typer.Option("--rate", min=1, help="Requests a second.")] = _DEMO.rate,
) -> int:
    """Watch v2 take traffic, break, be covered by v1 and be rolled back, with sample backends."""
    session: Session = ctx.obj
    return session.outside.demo(DemoOptions(fault=fault, seconds=seconds, stay=stay, rate=rate))


def check(ctx: typer.Context, file: PlainFile = None, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Read the configuration as `serve` would, and say what would run."""
    session: Session = ctx.obj
    source = file or config
    show(config_text(source, load(source, session.outside.environ)))


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    show_json(json_schema())
