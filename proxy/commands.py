"""The tree of commands: which verbs there are, and where each is done.

Owns the composition of the commands, of which only the one that was asked for is imported, and how a mistake
in the arguments is told. It must never touch a store or a rollout itself. Annotations are read at run time:
typer makes the options from them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from proxy import __version__
from proxy.later import import_aiohttp, later
from proxy.session import DEFAULT_ADMIN, OK, USAGE, Outside, Session, UsageError, complain, show

_LOCAL = {
    "serve": ("Run the proxy until SIGTERM or SIGINT.", "proxy.local_verbs:serve"),
    "demo": (
        "Watch v2 take traffic, break, be covered by v1 and be rolled back, with sample backends.",
        "proxy.demo.verb:demo",
    ),
    "check": ("Read the configuration as `serve` would, and say what would run.", "proxy.local_verbs:check"),
    "schema": ("Print the configuration's JSON Schema, for editors.", "proxy.local_verbs:schema"),
    "simulate": (
        (
            "Say what becomes of a rollout under the real judge, "
            "with traffic that is drawn by a scenario or was recorded."
        ),
        "proxy.simulation.verb:simulate",
    ),
}
_ASKING = {
    "status": ("Show where each rollout stands, v1 beside v2.", "proxy.verbs:status"),
    "history": ("Show what has happened, oldest first, and who did it.", "proxy.audit_verbs:history"),
    "why": (
        "Say in words why each rollout stands where it stands, and what it waits for.",
        "proxy.audit_verbs:why",
    ),
    "report": (
        "Write what was planned for a rollout, what happened, whom it hurt, and what follows.",
        "proxy.report.verb:report",
    ),
    "health": ("Show both backends' endpoints; exit 1 if a path has no healthy one.", "proxy.verbs:health"),
    "explain": ("Say where a key's requests go, and by which rule.", "proxy.verbs:explain"),
    "emergency-stop": ("Take everything back from v2 now, in every rollout.", "proxy.verbs:emergency_stop"),
    "deploy": (
        "Check, back up, start a rollout, and wait until it is completed (0) or rolled back (3).",
        "proxy.deploying:deploy",
    ),
}
_GROUPS = {
    "rollout": ("Move a rollout.", "proxy.verbs:ACTING"),
    "override": ("Send a key to one path, whatever its bucket says.", "proxy.override_verbs:OVERRIDING"),
    "alerts": ("Look at alerts, try them, keep them quiet.", "proxy.alert_verbs:ALERTING"),
}
"""Groups of verbs that ask. In each table: the first sentence of the help, and where the verb or group is.
What the list of all verbs shows stands here too, so that it need not import every one."""


def run(arguments: Sequence[str], outside: Outside) -> int:
    """Run one command and return its exit code. Raises `DualpathError`, OSError."""
    session = Session(outside)
    try:
        code = build_command().main(list(arguments), prog_name="dualpath", standalone_mode=False, obj=session)
    except typer.TyperException as error:
        complain(f"error: {error.format_message().replace('Value error, ', '')}")
        return error.exit_code
    except UsageError as error:
        complain(f"error: {error}")
        return USAGE
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

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in the help."""
        with formatter.section("Commands"):
            tables = {**_LOCAL, **_ASKING, **_GROUPS}
            formatter.write_dl([(name, text) for name, (text, _) in tables.items()])

    def _made(self, name: str) -> Any:
        if name in _LOCAL:
            return _group("", {name: later(_LOCAL[name][1])}).commands[name]
        import_aiohttp()
        if name in _ASKING:
            command = _group("", {name: later(_ASKING[name][1])}).commands[name]
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


def _remembered(what: str, metavar: str, text: str) -> Any:
    """An option that the session keeps as `what`: of several, the last that says anything counts."""

    def remember(ctx: typer.Context, value: str | None) -> None:
        if value:
            setattr(ctx.obj, what, value)

    return typer.Option(metavar=metavar, callback=remember, expose_value=False, help=text)


def _say_version(asked: bool) -> None:
    if asked:
        show(f"dualpath {__version__}")
        raise typer.Exit


def _connection(
    admin: Annotated[
        str | None,
        _remembered(
            "admin_url",
            "URL",
            "Where the admin API is: http://, https:// or unix:/path. "
            f"[env: DUALPATH_ADMIN; default: {DEFAULT_ADMIN}]",
        ),
    ] = None,
    token: Annotated[
        str | None,
        _remembered(
            "token",
            "TOKEN",
            "Bearer token for the admin API. [env: DUALPATH_TOKEN]",
        ),
    ] = None,
    cacert: Annotated[
        str | None,
        _remembered(
            "cacert",
            "FILE",
            "Authorities that are believed for https://, PEM. [env: DUALPATH_CACERT]",
        ),
    ] = None,
    cert: Annotated[
        str | None,
        _remembered(
            "cert",
            "FILE",
            "Our own certificate and its key for https://, PEM. [env: DUALPATH_CERT]",
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
