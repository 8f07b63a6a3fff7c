"""The command line: `dualpath serve`, `demo`, `check`, `schema`, and the verbs of `verbs.py`.

Owns the composition of the commands, and that every error is plain lines on standard error with an exit code:
0 done, 1 failed, 2 usage or invalid configuration. It must never touch a store or a rollout itself.
Annotations are read at run time: typer makes the options from them.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from proxy import __version__, verbs
from proxy.config.export import json_schema
from proxy.config.loading import load
from proxy.config_summary import config_text
from proxy.demo.faults import Fault
from proxy.demo.run import DemoOptions
from proxy.deploying import DEPLOYING
from proxy.errors import ConfigError, DualpathError
from proxy.override_verbs import OVERRIDING
from proxy.reload import ConfigSource
from proxy.session import (
    DEFAULT_ADMIN,
    FAILED,
    OK,
    USAGE,
    Outside,
    Session,
    UsageError,
    complain,
    show,
    show_json,
)
from proxy.simulation.verb import simulate

ConfigFile = Annotated[
    str, typer.Option("-c", "--config", metavar="FILE", envvar="DUALPATH_CONFIG", help="The configuration.")
]
PlainFile = Annotated[str | None, typer.Argument(metavar="[FILE]", help="The same as --config.")]
DEFAULT_CONFIG = "proxy.toml"
_DEMO = DemoOptions()


def main(argv: Sequence[str] | None = None, *, outside: Outside | None = None) -> int:
    """Run one command and return its exit code; what went wrong has been said on standard error by then."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session(outside or Outside())
    try:
        code = build_command().main(arguments, prog_name="dualpath", standalone_mode=False, obj=session)
    except typer.TyperException as error:
        complain(f"error: {error.format_message().replace('Value error, ', '')}")
        return error.exit_code
    except ConfigError as error:
        for path, message in error.problems:
            complain(": ".join(part for part in (error.source or "error", path, message) if part))
        return USAGE
    except UsageError as error:
        complain(f"error: {error}")
        return USAGE
    except (DualpathError, OSError) as error:
        complain(f"error: {error}")
        return FAILED
    return code if isinstance(code, int) else OK


def build_command() -> TyperGroup:
    """The tree of commands, with `--admin` and what goes with it before each admin verb and after it."""
    app = _plain_group("A reverse proxy that takes the risk out of replacing a backend.")
    app.callback()(_connection)
    for name, local in _LOCAL.items():
        app.command(name)(local)
    for name, verb in {**verbs.LOOKING, **verbs.STOPPING, **DEPLOYING}.items():
        app.command(name)(verb)
    moves = _plain_group("Move a rollout.")
    for name, verb in verbs.ACTING.items():
        moves.command(name, context_settings={"ignore_unknown_options": True} if name == "set" else None)(
            verb
        )
    app.add_typer(moves, name="rollout")
    overriding = _plain_group("Send a key to one path, whatever its bucket says.")
    for name, verb in OVERRIDING.items():
        overriding.command(name)(verb)
    app.add_typer(overriding, name="override")
    root = cast("TyperGroup", typer.main.get_command(app))
    shared = [option for option in root.params if option.name in {"admin", "token", "cacert", "cert"}]
    for command in _speaking_to_admin(root):
        command.params.extend(shared)
    return root


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


_LOCAL: dict[str, verbs.Command] = {
    "serve": serve,
    "demo": demo,
    "check": check,
    "schema": schema,
    "simulate": simulate,
}


def _plain_group(text: str) -> typer.Typer:
    """A group that prints no boxes, neither around help nor around errors."""
    return typer.Typer(help=text, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _speaking_to_admin(root: TyperGroup) -> Iterator[Any]:
    """The commands that are clients of the admin API, and the group of those that move a rollout."""
    for name, command in root.commands.items():
        if name in verbs.LOOKING or name in verbs.STOPPING or name in DEPLOYING:
            yield command
        elif isinstance(command, TyperGroup):
            yield command
            yield from command.commands.values()


# ... options before the verb ...


def _remember_admin(ctx: typer.Context, value: str | None) -> None:
    session: Session = ctx.obj
    session.admin_url = value or session.admin_url


def _remember_token(ctx: typer.Context, value: str | None) -> None:
    session: Session = ctx.obj
    session.token = value or session.token


def _remember_cacert(ctx: typer.Context, value: str | None) -> None:
    session: Session = ctx.obj
    session.cacert = value or session.cacert


def _remember_cert(ctx: typer.Context, value: str | None) -> None:
    session: Session = ctx.obj
    session.cert = value or session.cert


def _say_version(asked: bool) -> None:
    if asked:
        show(f"dualpath {__version__}")
        raise typer.Exit


def _connection(
    admin: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            callback=_remember_admin,
            expose_value=False,
            help="Where the admin API is: http://, https:// or unix:/path. "
            f"[env: DUALPATH_ADMIN; default: {DEFAULT_ADMIN}]",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            callback=_remember_token,
            expose_value=False,
            help="Bearer token for the admin API. [env: DUALPATH_TOKEN]",
        ),
    ] = None,
    cacert: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=_remember_cacert,
            expose_value=False,
            help="Authorities that are believed for https://, PEM. [env: DUALPATH_CACERT]",
        ),
    ] = None,
    cert: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=_remember_cert,
            expose_value=False,
            help="Our own certificate and its key for https://, PEM. [env: DUALPATH_CERT]",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_say_version,
            is_eager=True,
            expose_value=False,
            help="Say which, and leave.",
        ),
    ] = False,
) -> None:
    """What comes before the verb; the values travel in the session."""
