"""`dualpath emergency-stop` as it is typed when it matters: asked before anything slow is imported.

Owns the shortest road from that command line to the admin, and how the answer is told. It knows the plain
case alone, and leaves all else, and whatever goes wrong before the stop may have been carried out, to the
road of every verb, which has the words for it: to ask a second time takes nothing back that was not to be.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from proxy import __version__
from proxy.errors import DualpathError
from proxy.later import later
from proxy.session import DEFAULT_ADMIN, complain, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JsonDocument = dict[str, Any]

_VERB: Final = "emergency-stop"
_REASON: Final = "--reason"
_TAKES: Final = frozenset({_REASON, "--admin", "--token"})
_OTHERWISE: Final = ("DUALPATH_CACERT", "DUALPATH_CERT")
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 10.0
_UNIX: Final = "unix:"
_BROKEN_OFF: Final = (OSError, http.client.HTTPException, MemoryError, OverflowError)
"""The last two are of an answer that says it is longer than anything can be."""


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
        told[_REASON] = told.get(_REASON, "")
        told[_REASON].encode()
        if told.pop(_VERB, None) is None or any(environ.get(name) for name in _OTHERWISE):
            return None
        return _stop_at(told, environ)
    except ValueError:
        return None


def _read(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What stands in them, by option; of several, the last counts. Raises ValueError, also for one that says
    nothing: what counts then depends on where it stands. The reason is the verb's own, behind it."""
    left = iter(arguments)
    has_verb = False
    for one in left:
        name, has_value, value = one.partition("=")
        if one == _VERB:
            has_verb = True
            yield one, ""
            continue
        if name not in _TAKES or (name == _REASON and not has_verb):
            raise ValueError(one)
        said = value if has_value else next(left, _VERB)
        if said == _VERB or (not said and name != _REASON):
            raise ValueError(one)
        yield name, said


def _stop_at(told: Mapping[str, str], environ: Mapping[str, str]) -> Stop | None:
    admin = told.get("--admin") or environ.get("DUALPATH_ADMIN") or DEFAULT_ADMIN
    token = told.get("--token") or environ.get("DUALPATH_TOKEN") or ""
    if not (admin + token).isascii() or not (admin + token).isprintable() or " " in admin + token:
        return None
    if admin.startswith(_UNIX):
        path = admin.removeprefix(_UNIX)
        return Stop(admin, "localhost", 80, path, told[_REASON], token) if path.startswith("/") else None
    parts = urlsplit(admin if "://" in admin else f"http://{admin}")
    plain = parts.scheme == "http" and parts.path in {"", "/"} and not parts.query + parts.fragment
    if not plain or not parts.hostname or "@" in parts.netloc:
        return None
    port = 80 if parts.port is None else parts.port
    return Stop(admin, parts.hostname, port, "", told[_REASON], token)


class _InTime(socket.socket):
    """A connection whose whole answer has to come by `ends`, however it is cut up."""

    ends = 0.0

    def recv_into(self, *into: Any) -> int:
        self.settimeout(max(self.ends - time.monotonic(), 0.001))
        return super().recv_into(*into)


def ask(stop: Stop, *, answer_s: float = _ANSWER_S) -> JsonDocument | None:
    """What the admin has stopped; None if it has not, for whatever reason. Raises `StopInDoubtError`."""
    line = http.client.HTTPConnection(stop.host, stop.port, timeout=_CONNECT_S)
    try:
        try:
            _connect(line, stop, answer_s)
        except (OSError, UnicodeError):
            return None
        try:
            status, content = _answered(line, stop)
        except _BROKEN_OFF as error:
            raise StopInDoubtError(_in_doubt(stop, error)) from None
        except KeyboardInterrupt as error:
            complain(f"error: {_in_doubt(stop, error)}")
            raise
    finally:
        line.close()
    try:
        document = orjson.loads(content) if status == http.client.OK else None
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("stopped"), list) else None


def _in_doubt(stop: Stop, error: BaseException) -> str:
    text = f"the admin API at {stop.admin} has not answered: {str(error) or type(error).__name__}"
    return f"{text}; it may have been carried out, see `dualpath status`"


def _connect(line: http.client.HTTPConnection, stop: Stop, answer_s: float) -> None:
    if stop.path:
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.settimeout(_CONNECT_S)
        line.sock.connect(stop.path)
    else:
        line.connect()
    line.sock = connected = _InTime(fileno=line.sock.detach())
    connected.settimeout(answer_s)
    connected.ends = time.monotonic() + answer_s


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
