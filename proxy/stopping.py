"""`dualpath emergency-stop` as it is typed when it matters: asked before anything slow is imported.

Owns the shortest road from that command line to the admin, and how the answer is told. It knows the plain
case alone, and leaves all else, and whatever goes wrong before the stop may have been carried out, to the
road of every verb, which has the words for it: to ask a second time takes nothing back that was not to be.
"""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from proxy import __version__
from proxy.errors import DualpathError
from proxy.later import later
from proxy.session import DEFAULT_ADMIN, complain, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JsonDocument = dict[str, Any]

_VERB: Final = "emergency-stop"
_TAKES: Final = frozenset({"--reason", "--admin", "--token"})
_OTHERWISE: Final = ("DUALPATH_CACERT", "DUALPATH_CERT")
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 10.0
_UNIX: Final = "unix:"


class StopInDoubtError(DualpathError):
    """The admin has not answered what it may have carried out."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that is plain: `path` is of a UNIX socket, or empty."""

    admin: str
    host: str
    port: int
    path: str
    reason: str
    token: str = field(repr=False)


def plainly_stopped(arguments: Sequence[str], environ: Mapping[str, str]) -> Stop | None:
    """The stop that these arguments ask for, if they say just that; else None."""
    if arguments.count(_VERB) != 1:
        return None
    try:
        told = dict(_read(arguments))
        told["--reason"] = told.get("--reason", "")
        told["--reason"].encode()
        if told.pop(_VERB, None) is None or any(environ.get(name) for name in _OTHERWISE):
            return None
        return _stop_at(told, environ)
    except ValueError:
        return None


def _read(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What stands in them, by option; of several, the last counts. Raises ValueError."""
    left = iter(arguments)
    for one in left:
        name, has_value, value = one.partition("=")
        if one == _VERB:
            yield one, ""
        elif name not in _TAKES:
            raise ValueError(one)
        elif has_value:
            yield name, value
        elif (following := next(left, None)) is None or following == _VERB:
            raise ValueError(one)
        else:
            yield name, following


def _stop_at(told: Mapping[str, str], environ: Mapping[str, str]) -> Stop | None:
    admin = told.get("--admin") or environ.get("DUALPATH_ADMIN") or DEFAULT_ADMIN
    token = told.get("--token") or environ.get("DUALPATH_TOKEN") or ""
    if not (admin + token).isascii() or not (admin + token).isprintable() or " " in admin + token:
        return None
    if admin.startswith(_UNIX):
        path = admin.removeprefix(_UNIX)
        return Stop(admin, "localhost", 80, path, told["--reason"], token) if path.startswith("/") else None
    parts = urlsplit(admin if "://" in admin else f"http://{admin}")
    plain = parts.scheme == "http" and parts.path in {"", "/"} and not parts.query + parts.fragment
    if not plain or not parts.hostname or "@" in parts.netloc:
        return None
    return Stop(admin, parts.hostname, parts.port or 80, "", told["--reason"], token)


def ask(stop: Stop) -> JsonDocument | None:
    """What the admin has stopped; None if it has not, for whatever reason. Raises `StopInDoubtError`."""
    line = http.client.HTTPConnection(stop.host, stop.port, timeout=_CONNECT_S)
    try:
        try:
            _connect(line, stop)
        except OSError:
            return None
        try:
            status, content = _answered(line, stop)
        except (OSError, http.client.HTTPException, KeyboardInterrupt) as error:
            text = f"the admin API at {stop.admin} has not answered: {str(error) or type(error).__name__}"
            raise StopInDoubtError(f"{text}; it may have been carried out, see `dualpath status`") from None
    finally:
        line.close()
    try:
        document = json.loads(content) if status == http.client.OK else None
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("stopped"), list) else None


def _connect(line: http.client.HTTPConnection, stop: Stop) -> None:
    if stop.path:
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.settimeout(_CONNECT_S)
        line.sock.connect(stop.path)
    else:
        line.connect()
    line.sock.settimeout(_ANSWER_S)


def _answered(line: http.client.HTTPConnection, stop: Stop) -> tuple[int, bytes]:
    fields = {
        "User-Agent": f"dualpath/{__version__}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    if stop.token:
        fields["Authorization"] = f"Bearer {stop.token}"
    body = {"reason": stop.reason} if stop.reason else {}
    line.request("POST", "/api/v1/emergency_stop", json.dumps(body).encode(), fields)
    answer = line.getresponse()
    return answer.status, answer.read()


def tell(document: JsonDocument) -> None:
    """What was stopped, a line each."""
    if dropped := document.get("reason_dropped"):
        complain(f"the reason was dropped: {dropped}")
    command_text = later("proxy.rendering:command_text")
    for rollout in document["stopped"]:
        show(command_text(rollout))
    if not document["stopped"]:
        show("no rollout gave v2 anything")
