"""The command line: which verbs there are, and where each is done.

Owns the composition of the commands, of which only the one that was asked for is imported, and that every
error is plain lines on standard error with an exit code: 0 done, 1 failed, 2 usage or invalid configuration.
It must never touch a store or a rollout itself. Annotations are read at run time: typer makes the options
from them.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from proxy import __version__
from proxy.errors import ConfigError, DualpathError
from proxy.later import later
from proxy.session import DEFAULT_ADMIN, FAILED, OK, USAGE, Outside, Session, UsageError, complain, show

_LOCAL = {
    "serve": "proxy.local_verbs:serve",
    "demo": "proxy.local_verbs:demo",
    "check": "proxy.local_verbs:check",
    "schema": "proxy.local_verbs:schema",
    "simulate": "proxy.simulation.verb:simulate",
}
_ASKING = {
    "status": "proxy.verbs:status",
    "history": "proxy.audit_verbs:history",
    "why": "proxy.audit_verbs:why",
    "report": "proxy.report.verb:report",
    "health": "proxy.verbs:health",
    "explain": "proxy.verbs:explain",
    "emergency-stop": "proxy.verbs:emergency_stop",
    "deploy": "proxy.deploying:deploy",
}
_GROUPS = {
    "rollout": ("Move a rollout.", "proxy.verbs:ACTING"),
    "override": ("Send a key to one path, whatever its bucket says.", "proxy.override_verbs:OVERRIDING"),
    "alerts": ("Look at alerts, try them, keep them quiet.", "proxy.alert_verbs:ALERTING"),
}
"""Groups of verbs that ask: what their help says, and their verbs by name."""


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


class VerbsByName(TyperGroup):
    """The verbs; one is made once somebody asks for it. Those that speak to the admin API take `--admin` and
    what goes with it after their name too."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All of them, in the order of the help."""
        return [*_LOCAL, *_ASKING, *_GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """That one, None if there is none."""
        if cmd_name not in self.commands and cmd_name in self.list_commands(ctx):
            self.add_command(self._made(cmd_name), cmd_name)
        return self.commands.get(cmd_name)

    def _made(self, name: str) -> Any:
        if name in _LOCAL:
            return _group("", {name: later(_LOCAL[name])}).commands[name]
        if name in _ASKING:
            command = _group("", {name: later(_ASKING[name])}).commands[name]
            command.params.extend(self._shared())
            return command
        text, place = _GROUPS[name]
        group = _group(text, later(place), numbers="set" if name == "rollout" else "")
        for member in (group, *group.commands.values()):
            member.params.extend(self._shared())
        return group

    def _shared(self) -> list[Any]:
        return [option for option in self.params if option.name in {"admin", "token", "cacert", "cert"}]


def build_command() -> TyperGroup:
    """The tree of commands."""
    text = "A reverse proxy that takes the risk out of replacing a backend."
    app = _plain_group(text, cls=VerbsByName)
    app.callback()(_connection)
    return cast("TyperGroup", typer.main.get_command(app))


def _group(text: str, verbs: Mapping[str, Any], *, numbers: str = "") -> TyperGroup:
    """Verbs under one name. Of the one that takes `numbers`, "-5" is one that is refused as such, not an
    option that nobody knows."""
    group = _plain_group(text)
    group.callback()(_nothing)
    for name, verb in verbs.items():
        settings = {"ignore_unknown_options": True} if name == numbers else None
        group.command(name, context_settings=settings)(verb)
    return cast("TyperGroup", typer.main.get_command(group))


def _nothing() -> None:
    """A group that has one verb is a group all the same."""


def _plain_group(text: str, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """A group that prints no boxes, neither around help nor around errors."""
    return typer.Typer(
        cls=cls, help=text, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


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
