"""What can be configured of the store, and what its URL means.

Owns the forms of the URL and never shows a secret of it. Must never know how a store is spoken to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SerializationInfo

from proxy.config.fields import WITH_SECRETS
from proxy.config.table import Table
from proxy.config.tls import ClientTls, File
from proxy.config.units import Duration, PositiveDuration, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from proxy.config.faults import Problem
    from proxy.config.schema import Config

_SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: Final = {"single": 6379, "cluster": 6379, "sentinel": 26379}
_SENTINEL_KEYS: Final = ("sentinel_username", "sentinel_password")
_FORMS: Final = '"memory://", "sqlite:///FILE" or one of the forms of "redis://HOST"'
_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9](?:[A-Za-z0-9\-._]*[A-Za-z0-9])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_PREFIX: Final = re.compile(r"[A-Za-z0-9._:\-]{1,64}")
_SECRETS: Final = re.compile(r"(?<=:)[^:/@]*(?=@)|(?<=[?&]sentinel_password=)[^&]*")
_HIDDEN: Final = "***"

Kind = Literal["single", "sentinel", "cluster"]


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where a Redis or Valkey is, as its URL says. Its repr shows no password."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    socket: str = ""  # a path, in place of hosts
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str = ""  # what the sentinels call it
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """What errors call it."""
        where = self.socket or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"redis {self.service + ' at ' if self.service else ''}{where}"


def is_redis(url: str) -> bool:
    """Whether the URL is that of a store which several instances can share."""
    return url.partition("://")[0] in _SCHEMES


def redis_place(url: str) -> RedisPlace:
    """What the URL means. Raises ValueError, which never quotes a secret.

    redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// with TLS, redis+unix:///SOCKET[?db=DATABASE],
    redis+sentinel://HOST[:PORT],…/SERVICE[/DATABASE], redis+cluster://HOST[:PORT],…; the last two with TLS as
    rediss+….
    """
    kind, tls = _SCHEMES[url.partition("://")[0]]
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"must be {_FORMS}") from None
    access, _, authority = parts.netloc.rpartition("@")
    username, _, password = access.partition(":")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    allowed = ("db",) if parts.scheme.endswith("unix") else _SENTINEL_KEYS if kind == "sentinel" else ()
    if parts.fragment or not set(query) <= set(allowed):
        raise ValueError(f"must have nothing behind ? or # but {' and '.join(allowed) or 'nothing'}")
    socket, service, database = _path(parts, kind, query)
    if socket and authority:
        raise ValueError('must be "redis+unix:///SOCKET", with three slashes')
    return RedisPlace(
        kind=kind,
        hosts=() if socket else tuple(_host(one, _PORTS[kind]) for one in _hosts(authority, kind)),
        socket=socket,
        tls=tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
        database=database,
        service=service,
        sentinel_username=query.get("sentinel_username") or None,
        sentinel_password=query.get("sentinel_password") or None,
    )


def parse_store_url(value: object) -> str:
    """ "memory://", "sqlite:///PATH" or one of a Redis; a relative PATH counts from the working directory."""
    url = value if isinstance(value, str) and "\0" not in value else ""
    if url.startswith("sqlite:///") and str(PurePath(url.removeprefix("sqlite:///"))) == ":memory:":
        raise ValueError(f'must be "memory://" for a store in memory, not {shown(value)}')
    if url == "memory://" or (url.startswith("sqlite:///") and len(url) > len("sqlite:///")):
        return url
    if is_redis(url):
        redis_place(url)
        return url
    raise ValueError(f"must be {_FORMS}" + ("" if "@" in url else f", not {shown(value)}"))


def without_secrets(url: str) -> str:
    """The URL with *** for each password."""
    return _SECRETS.sub(_HIDDEN, url) if is_redis(url) else url


def parse_key_prefix(value: str) -> str:
    """What all keys begin with; no braces, which mean something to a cluster."""
    if not _PREFIX.fullmatch(value):
        raise ValueError(f"must be 1 to 64 of A-Z a-z 0-9 . _ : -, not {shown(value)}")
    return value


def _shown_url(url: str, info: SerializationInfo) -> str:
    return url if info.context is WITH_SECRETS else without_secrets(url)


StoreUrl = Annotated[str, BeforeValidator(parse_store_url), PlainSerializer(_shown_url, when_used="json")]
KeyPrefix = Annotated[str, AfterValidator(parse_key_prefix)]


class Store(Table):
    """`[store]`: where state and audit are kept."""

    url: StoreUrl = "sqlite:///dualpath.db"
    """`sqlite:///FILE`, with four slashes an absolute one; `memory://`, which forgets; or a shared `redis://`."""
    retention_s: Duration = 2_592_000.0
    """How long minutes are kept: what was counted of each rollout; "0s" keeps none."""
    audit_retention_s: Duration = 0.0
    """How long events of the audit are kept; "0s" keeps them all. The newest hundred stay."""
    prefix: KeyPrefix = "dualpath"
    """What the keys in Redis begin with. Instances with the same one are one fleet."""
    copy_file: File = "dualpath-copy.db"
    """The SQLite file in which an instance keeps what it knows of a shared store, for when that is gone."""
    timeout_s: PositiveDuration = 0.5
    """How long one call of Redis may take, connecting included."""
    tls: ClientTls | None = None
    """How rediss:// is spoken; without the table the system's authorities verify it."""


def store_agrees(config: Config) -> Iterator[Problem]:
    """The rules between the keys of `[store]`."""
    store = config.store
    if store.tls is not None:
        if not is_redis(store.url) or not redis_place(store.url).tls:
            yield "store.tls", 'needs a URL that begins with "rediss"'
        if store.tls.server_name is not None:
            yield "store.tls.server_name", "is not possible here: the host of the URL is verified"


def _hosts(authority: str, kind: Kind) -> list[str]:
    hosts = authority.split(",")
    if len(hosts) > 1 and kind == "single":
        raise ValueError('must name one host; several go with "redis+sentinel" or "redis+cluster"')
    return hosts


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise ValueError("must name a host, with or without a port from 1 to 65535")
    return found["v6"] or found["name"], int(found["port"] or port)


def _path(parts: SplitResult, kind: Kind, query: dict[str, str]) -> tuple[str, str, int]:
    """Socket, service and database."""
    if parts.scheme.endswith("unix"):
        if len(parts.path) < 2:
            raise ValueError('must be "redis+unix:///SOCKET"')
        return unquote(parts.path), "", _database(query.get("db", ""))
    names = [unquote(name) for name in parts.path.split("/")[1:] if name]
    service = names.pop(0) if kind == "sentinel" and names else ""
    if kind == "sentinel" and not service:
        raise ValueError(
            "must name the service that the sentinels watch, as in redis+sentinel://HOST/SERVICE"
        )
    if len(names) > (kind != "cluster"):
        raise ValueError("must have a database's number behind the host, or nothing; a cluster has one alone")
    return "", service, _database(names[0] if names else "")


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise ValueError("must have a database's number there")
    return int(text or 0)
