"""The admin API's client: what every verb of the command line speaks through.

Owns time-outs, retries and the wording of failures. A GET is tried twice when the connection fails; a POST is
never repeated, because the first one may have been carried out. It must never know how an answer is shown.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import orjson
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_fixed
from yarl import URL

from proxy import __version__
from proxy.config.texts import socket_path
from proxy.errors import ConfigError, DualpathError
from proxy.later import later

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from proxy.model import Verb

JsonDocument = dict[str, Any]

CONNECT_TIMEOUT_S = 2.0
TOTAL_TIMEOUT_S = 10.0
_NO_TEXT = "what is said must be UTF-8"
_RETRY_WAIT_S = 0.2


class AdminApiError(DualpathError):
    """The admin API could not be reached, or refused; the message is one line for a person."""


class AdminApi(Protocol):
    """What the command line asks of the admin API. All raise `AdminApiError`."""

    async def status(self) -> JsonDocument: ...

    async def config(self) -> JsonDocument:
        """The configuration in force."""

    async def store(self) -> JsonDocument:
        """Whether the store can be written, which is tried."""

    async def events(self, *, limit: int, rollout: str | None = None) -> JsonDocument:
        """The newest `limit` events."""

    async def events_after(self, after: int, *, limit: int, rollout: str) -> JsonDocument:
        """The events of one rollout behind this one, oldest first."""

    async def minutes(self, rollout: str, *, start: str, end: str, limit: int) -> JsonDocument:
        """What was counted of one rollout, minute by minute, from one instant to another."""

    async def records(self, *, after: int, limit: int) -> JsonDocument:
        """The audit as it was written, from the record behind `after` on."""

    async def explain(self, query: Mapping[str, str]) -> JsonDocument: ...

    async def command(self, rollout: str, verb: Verb, body: Mapping[str, object]) -> JsonDocument:
        """The rollout as it is after the verb."""

    async def bulk(self, verb: Verb, body: Mapping[str, object]) -> JsonDocument:
        """The rollouts that the pattern `name` in `body` names, as they are after the verb."""

    async def emergency_stop(self, reason: str) -> JsonDocument:
        """What gave v2 anything."""

    async def overrides(self, rollout: str) -> JsonDocument:
        """The rollout's overrides."""

    async def override(self, rollout: str, body: Mapping[str, object]) -> JsonDocument:
        """The override as it is then."""

    async def take_override_back(self, rollout: str, key: str) -> JsonDocument:
        """The override as it was."""

    async def alerts(self) -> JsonDocument:
        """What is active, the silences, the sinks."""

    async def test_alerts(self, body: Mapping[str, object]) -> JsonDocument:
        """What became of a test at each sink."""

    async def silence(self, body: Mapping[str, object]) -> JsonDocument:
        """The silence that was made."""

    async def unsilence(self, silence: str, reason: str) -> JsonDocument:
        """The silence as it was."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for https://: the authorities that are believed, if not the system's, and our own certificate
    with its key, for an admin that asks for one."""

    authorities: str | None = None
    certificate: str | None = None


@asynccontextmanager
async def open_admin(url: str, token: str | None, tls: TlsFiles) -> AsyncIterator[AdminApi]:
    """A client of the admin API at `url`, as `parse_admin_url` returned it. Raises `AdminApiError`."""
    timeout = aiohttp.ClientTimeout(total=TOTAL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    connector = _connector(url, tls)
    async with aiohttp.ClientSession(
        headers=request_headers(token), timeout=timeout, connector=connector
    ) as session:
        yield AdminClient(url, session)


def _connector(url: str, tls: TlsFiles) -> aiohttp.BaseConnector:
    path = socket_path(url)
    if path is not None:
        return aiohttp.UnixConnector(path)
    resolver = aiohttp.ThreadedResolver()  # as the system looks names up, whatever libraries are installed
    if not url.startswith("https:"):
        return aiohttp.TCPConnector(resolver=resolver)
    context_for = later("proxy.admin_tls:context_for")
    try:
        return aiohttp.TCPConnector(resolver=resolver, ssl=context_for(tls.authorities, tls.certificate))
    except ConfigError as error:
        raise AdminApiError("; ".join(message for _, message in error.problems)) from error


def request_headers(token: str | None) -> dict[str, str]:
    """The header fields of every request; the token stands in no other place."""
    headers = {"User-Agent": f"dualpath/{__version__}", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def parse_admin_url(value: str) -> str:
    """ "http://host:port", "https://host:port" or "host:port", without a slash at the end, or "unix:/path".

    Raises ValueError for anything else.
    """
    if socket_path(value) is not None:
        checked: str = later("proxy.config.fields:parse_admin_address")(value)
        return checked
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        _ = parts.port
        if parts.hostname and parts.hostname.isascii():
            parts.hostname.encode("idna")  # as a label of more than 63 letters could not be looked up
    except ValueError:
        raise ValueError(f"must be an address such as http://127.0.0.1:9900, not {value!r}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(f"must be an address such as http://127.0.0.1:9900, not {value!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must hold no user, query or fragment")
    return url.rstrip("/")


def parse_admin_token(value: str) -> str:
    """A token that fits a header field. Raises ValueError, which does not repeat the token."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces")
    return value


class AdminClient:
    """`AdminApi` over an aiohttp session."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, retry_wait_s: float = _RETRY_WAIT_S
    ) -> None:
        self._url = url
        # The name in Host is one that the admin takes for its own.
        self._base = url if socket_path(url) is None else "http://localhost"
        self._session = session
        self._retry_wait_s = retry_wait_s

    def __repr__(self) -> str:
        return f"<AdminClient {self._url}>"

    async def status(self) -> JsonDocument:
        """`GET /api/v1/status`."""
        return await self._get("/api/v1/status", {}, must_hold="rollouts")

    async def config(self) -> JsonDocument:
        """`GET /api/v1/config`."""
        return await self._get("/api/v1/config", {}, must_hold="rollouts")

    async def store(self) -> JsonDocument:
        """`GET /api/v1/store`."""
        return await self._get("/api/v1/store", {}, must_hold="writable")

    async def events(self, *, limit: int, rollout: str | None = None) -> JsonDocument:
        """`GET /api/v1/events`, the newest."""
        query = {"after": "-1", "limit": str(limit)} | ({} if rollout is None else {"rollout": rollout})
        return await self._get("/api/v1/events", query, must_hold="events")

    async def events_after(self, after: int, *, limit: int, rollout: str) -> JsonDocument:
        """`GET /api/v1/events`, from one on."""
        query = {"after": str(after), "limit": str(limit), "rollout": rollout}
        return await self._get("/api/v1/events", query, must_hold="events")

    async def minutes(self, rollout: str, *, start: str, end: str, limit: int) -> JsonDocument:
        """`GET /api/v1/rollouts/{rollout}/minutes`."""
        query = {"from": start, "to": end, "limit": str(limit)}
        return await self._get(f"{_place(rollout)}/minutes", query, must_hold="minutes")

    async def records(self, *, after: int, limit: int) -> JsonDocument:
        """`GET /api/v1/events/records`."""
        query = {"after": str(after), "limit": str(limit)}
        return await self._get("/api/v1/events/records", query, must_hold="head")

    async def explain(self, query: Mapping[str, str]) -> JsonDocument:
        """`GET /api/v1/explain`."""
        return await self._get("/api/v1/explain", query, must_hold="rule")

    async def command(self, rollout: str, verb: Verb, body: Mapping[str, object]) -> JsonDocument:
        """`POST /api/v1/rollouts/{rollout}/{verb}`, once."""
        return await self._change("POST", f"{_place(rollout)}/{verb}", body, must_hold="state")

    async def bulk(self, verb: Verb, body: Mapping[str, object]) -> JsonDocument:
        """`POST /api/v1/bulk/{verb}`, once."""
        return await self._change("POST", f"/api/v1/bulk/{verb}", body, must_hold="rollouts")

    async def emergency_stop(self, reason: str) -> JsonDocument:
        """`POST /api/v1/emergency_stop`, once."""
        body = {"reason": reason} if reason else {}
        return await self._change("POST", "/api/v1/emergency_stop", body, must_hold="stopped")

    async def overrides(self, rollout: str) -> JsonDocument:
        """`GET /api/v1/rollouts/{rollout}/overrides`."""
        return await self._get(f"{_place(rollout)}/overrides", {}, must_hold="overrides")

    async def override(self, rollout: str, body: Mapping[str, object]) -> JsonDocument:
        """`POST /api/v1/rollouts/{rollout}/overrides`, once."""
        return await self._change("POST", f"{_place(rollout)}/overrides", body, must_hold="key")

    async def take_override_back(self, rollout: str, key: str) -> JsonDocument:
        """`DELETE /api/v1/rollouts/{rollout}/overrides/{key}`, once."""
        target = f"{_place(rollout)}/overrides/{_quoted(key)}"
        return await self._change("DELETE", target, None, must_hold="key")

    async def alerts(self) -> JsonDocument:
        """`GET /api/v1/alerts`."""
        return await self._get("/api/v1/alerts", {}, must_hold="sinks")

    async def test_alerts(self, body: Mapping[str, object]) -> JsonDocument:
        """`POST /api/v1/alerts/test`, once."""
        return await self._change("POST", "/api/v1/alerts/test", body, must_hold="sinks")

    async def silence(self, body: Mapping[str, object]) -> JsonDocument:
        """`POST /api/v1/silences`, once."""
        return await self._change("POST", "/api/v1/silences", body, must_hold="id")

    async def unsilence(self, silence: str, reason: str) -> JsonDocument:
        """`DELETE /api/v1/silences/{silence}`, once."""
        suffix = f"?{_asked({'reason': reason})}" if reason else ""
        target = f"/api/v1/silences/{_quoted(silence)}{suffix}"
        return await self._change("DELETE", target, None, must_hold="id")

    async def _change(
        self, method: str, path: str, body: Mapping[str, object] | None, *, must_hold: str
    ) -> JsonDocument:
        raw = None if body is None else _written(body)
        try:
            return await self._send(method, self._target(path, {}), raw, must_hold=must_hold)
        except (aiohttp.ClientError, TimeoutError) as error:
            never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            doubt = "" if never_sent else "; it may have been carried out, see `dualpath status`"
            raise AdminApiError(f"{self._unreachable(error)}{doubt}") from error

    async def _get(self, path: str, query: Mapping[str, str], *, must_hold: str) -> JsonDocument:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(2),
            wait=wait_fixed(self._retry_wait_s),
            retry=retry_if_exception(_connection_failed),
            reraise=True,
        )
        try:
            return await retrying(self._send, "GET", self._target(path, query), None, must_hold=must_hold)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AdminApiError(self._unreachable(error)) from error

    async def _send(self, method: str, target: URL, body: bytes | None, *, must_hold: str) -> JsonDocument:
        headers = {} if body is None else {"Content-Type": "application/json"}
        # A redirect would carry the token elsewhere.
        async with self._session.request(
            method, target, data=body, headers=headers, allow_redirects=False
        ) as response:
            return self._document(response.status, await response.read(), must_hold)

    def _document(self, status: int, raw: bytes, must_hold: str) -> JsonDocument:
        """The answer's JSON object. Raises `AdminApiError` with the problem's words."""
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError:
            document = None
        if status >= 400 and isinstance(document, dict) and "title" in document:
            raise AdminApiError(self._refused(status, document))
        if status != 200 or not isinstance(document, dict) or must_hold not in document:
            raise AdminApiError(f"what answers at {self._url} is not the admin API (status {status})")
        return document

    def _refused(self, status: int, problem: JsonDocument) -> str:
        words = str(problem.get("detail") or problem["title"])
        if status == 401:
            return f"{self._url}: {words} (--token or DUALPATH_TOKEN)"
        return words

    def _unreachable(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"the admin API at {self._url} did not answer in time"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return f"{self._url} cannot show that it is the admin API: {error.certificate_error}"
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return f"cannot speak TLS with {self._url}: {error.os_error}"
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno
            cause = os.strerror(number) if number is not None and number > 0 else str(error.os_error)
            return f"cannot reach the admin API at {self._url}: {cause}"
        return f"the admin API at {self._url} broke off its answer: {str(error) or type(error).__name__}"

    def _target(self, path: str, query: Mapping[str, str]) -> URL:
        suffix = f"?{_asked(query)}" if query else ""
        return URL(f"{self._base}{path}{suffix}", encoded=True)


def _place(rollout: str) -> str:
    return f"/api/v1/rollouts/{_quoted(rollout)}"


def _quoted(part: str) -> str:
    """One segment of a path; dots too, since "." and ".." mean something in one."""
    try:
        return quote(part, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise AdminApiError(_NO_TEXT) from None


def _asked(query: Mapping[str, str]) -> str:
    try:
        return urlencode(query)
    except UnicodeEncodeError:
        raise AdminApiError(_NO_TEXT) from None


def _written(body: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # all of ours that can fail are texts
        raise AdminApiError(_NO_TEXT) from None


def _connection_failed(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientConnectionError) and not isinstance(error, TimeoutError)
