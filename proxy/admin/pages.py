"""The dashboard as a browser asks for it: its files, and the session of whoever looks at it.

Owns what may be had before somebody has logged in: files that say nothing about a rollout, and the login
itself. It must never know what the page shows; that comes through the API like everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from proxy.admin import inputs
from proxy.admin.problems import RefusedError
from proxy.admin.sessions import Sessions, carries_csrf, cookie_name
from proxy.admin.wire import body_of, content_type_of, json_answer

if TYPE_CHECKING:
    from proxy.admin.auth import Doorkeeper, Identity
    from proxy.admin.sessions import Session
    from proxy.ports import Clock

SESSION: Final = "/dashboard/session"
_FOLDER: Final = Path(__file__).parent / "dashboard"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_LONGEST_TOKEN: Final = 1024
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Only files of ours, nothing within the page, and nowhere to send anything but here."""

FILES: Final = {
    "/" if path.name == "index.html" else f"/dashboard/{path.name}": path
    for path in sorted(_FOLDER.iterdir())
    if path.suffix in _TYPES
}
OPEN: Final = frozenset({*FILES, SESSION})
"""Paths that need no token; the Host field must be ours all the same."""


class Pages:
    """The files, and logging in and out."""

    def __init__(self, doorkeeper: Doorkeeper, clock: Clock) -> None:
        self._doorkeeper = doorkeeper
        self._clock = clock
        self._sessions = Sessions()
        self._files = {place: (path.read_bytes(), _TYPES[path.suffix]) for place, path in FILES.items()}

    def __repr__(self) -> str:
        return f"<Pages {len(self._files)} files, {self._sessions!r}>"

    def routes(self) -> list[web.RouteDef]:
        """Of the files."""
        return [web.get(place, self.file) for place in FILES]

    def visitor(self, request: web.Request) -> Identity | None:
        """Who has sent the cookie of a session. Raises `RefusedError` 403 for a change that comes without
        what only our own page knows."""
        session = self._session(request)
        if session is None:
            return None
        if request.method not in {"GET", "HEAD"} and not carries_csrf(session, request.headers):
            raise RefusedError(403, "with a cookie, X-CSRF-Token is needed")
        return self._doorkeeper.holder(session.token)

    async def file(self, request: web.Request) -> web.Response:
        """One of the files."""
        body, kind = self._files[request.path]
        response = web.Response(body=body, content_type=kind, charset="utf-8")
        if kind == "text/html":
            request[_SHOWN] = True
        return response

    async def session(self, request: web.Request) -> web.Response:
        """Who looks, as far as that is known."""
        session = self._session(request)
        nobody = self._doorkeeper.anybody if session is None else self._doorkeeper.holder(session.token)
        return json_answer(_seen(nobody, session, login=self._doorkeeper.anybody is None))

    async def login(self, request: web.Request) -> web.Response:
        """A token for a cookie. Failures count as those of bearer tokens do."""
        inputs.refuse_query(request.query.items())
        given = inputs.fields_of(await body_of(request), content_type_of(request))
        token = given.get("token")
        if set(given) != {"token"} or not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise RefusedError(422, 'the body has one key, "token"')
        now = self._clock.monotonic()
        token = token.strip()
        identity = self._doorkeeper.identify([f"Bearer {token}"], request.remote or "", now)
        value = self._sessions.open(token, now)
        answer = json_answer(_seen(identity, self._sessions.find(value, now), login=True))
        answer.set_cookie(
            cookie_name(request.host), value, httponly=True, samesite="Strict", secure=request.secure
        )
        return answer

    async def logout(self, request: web.Request) -> web.Response:
        """The session ends here, whatever becomes of the cookie."""
        self.visitor(request)
        self._sessions.close(request.cookies.get(cookie_name(request.host)))
        answer = json_answer(_seen(None, None, login=True))
        answer.del_cookie(cookie_name(request.host))
        return answer

    def _session(self, request: web.Request) -> Session | None:
        return self._sessions.find(request.cookies.get(cookie_name(request.host)), self._clock.monotonic())


_SHOWN: web.RequestKey[bool] = web.RequestKey("shown", bool)


async def let_show(request: web.Request, response: web.StreamResponse) -> None:
    """A page may load what is ours; every other answer stays as `edge.secure` has left it."""
    if request.get(_SHOWN):
        response.headers["Content-Security-Policy"] = _POLICY


def _seen(identity: Identity | None, session: Session | None, *, login: bool) -> dict[str, object]:
    return {
        "name": None if identity is None else identity.name,
        "operator": identity is not None and identity.operator,
        "login": login,
        "csrf": None if session is None else session.csrf,
    }
