"""The way to a Redis or Valkey: one server, one behind sentinels, or a cluster.

Owns the client, the limit to its time, and the one place where its errors become ours. Nothing is tried again
here: what was sent may have been done, and who asked must know. Must never know what is kept.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from redis import exceptions as faults
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.stores.redis_scripts import CALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis.asyncio.client import PubSub

    from proxy.config.store import RedisPlace
    from proxy.config.tls import ClientTls
    from proxy.stores.redis_scripts import Script

T = TypeVar("T")

_WHERE: Final = re.compile(r",? script: (?:[0-9a-f]{40}, )?on @user_script:.*$")

_MOST_CONNECTIONS: Final = 8
_TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_REFUSED: Final = (faults.AuthenticationError, faults.NoPermissionError, faults.AuthorizationError)
_REFUSALS: Final = (
    "noauth",
    "wrongpass",
    "noperm",
    "authentication required",
    "invalid username-password",
    "no permission",
)
"""Of these the library keeps the text alone when it connects."""
_NOT_NOW: Final = (
    "READONLY",
    "NOREPLICAS",
    "OOM",
    "MISCONF",
    "MASTERDOWN",
    "LOADING",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNKILLABLE",
)
"""What a server says that may take the same again later. What else it refuses is the fault of its content."""


class RedisLink:
    """Calls to one place, each within `timeout_s`. Connects when it is first called, and again when it must.

    Raises `StoreUnavailable` where nothing is known to be wrong with the content, else `StoreCorrupt`.
    """

    def __init__(self, place: RedisPlace, timeout_s: float, tls: ClientTls | None = None) -> None:
        self.place = place
        self.timeout_s = timeout_s
        self._tls = tls
        self._client: Any = None  # Redis or RedisCluster, which share no typed base
        self._sentinels: Sentinel | None = None

    async def run(self, script: Script, keys: Sequence[str], *values: str | bytes | float) -> Any:
        """What the script returns; it is whole, or it is as if it had never been."""
        return await self.ask(self._run(script, keys, values))

    async def call(self, command: str, key: str, *values: str | bytes | float) -> Any:
        """What a command on one key returns."""
        return await self.run(CALL, (key,), command, *values)

    async def ask(self, answer: Awaitable[T], timeout_s: float | None = None) -> T:
        """What the library answers, or one of our errors."""
        try:
            async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s):
                return await answer
        except (TimeoutError, faults.TimeoutError):
            raise StoreUnavailable(f"{self.place}: has not answered within {self.timeout_s:g} s") from None
        except (faults.RedisError, faults.RedisClusterException, OSError, ValueError) as error:
            raise self._translated(error) from error
        except (LookupError, TypeError, AttributeError) as error:  # of a cluster without slots, for one
            raise StoreUnavailable(f"{self.place}: cannot be used: {error!r}") from error

    async def listener(self) -> PubSub:
        """A connection of its own that can be told of what is published. The caller closes it."""
        client = self._connected()
        if isinstance(client, RedisCluster):
            await self.ask(client.initialize())
        return cast("PubSub", client.pubsub())

    async def close(self) -> None:
        """Let go of all connections; the next call makes new ones."""
        client, self._client = self._client, None
        sentinels, self._sentinels = self._sentinels, None
        closing = [one.aclose() for one in (client, *(sentinels.sentinels if sentinels else ())) if one]
        if isinstance(client, RedisCluster):  # closes nothing by itself that it could not start with
            closing += [client.nodes_manager.aclose(), client.nodes_manager.aclose("startup_nodes")]
        for one in closing:
            with suppress(StoreUnavailable, StoreCorrupt):
                await self.ask(one)

    def __repr__(self) -> str:
        return f"RedisLink({str(self.place)!r})"

    async def _run(self, script: Script, keys: Sequence[str], values: Sequence[str | bytes | float]) -> Any:
        client = self._connected()
        try:
            return await client.evalsha(script.sha, len(keys), *keys, *values)
        except faults.NoScriptError:  # it was started anew, or somebody has flushed them
            return await client.eval(script.source, len(keys), *keys, *values)

    # ... the client

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self._made()
        return self._client

    def _made(self) -> Any:
        place = self.place
        if place.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in place.hosts]
            tls = {"ssl": True, **self._tls_options()} if place.tls else {}
            return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **self._options(), **tls)
        if place.kind == "sentinel":
            return self._behind_sentinels()
        options = self._options() | {"db": place.database}
        if place.socket:
            kind: type[Any] = UnixDomainSocketConnection
            options["path"] = place.socket
        else:
            kind = SSLConnection if place.tls else Connection
            [(options["host"], options["port"])] = place.hosts
            options |= self._tls_options()
        pool = BlockingConnectionPool(
            max_connections=_MOST_CONNECTIONS, timeout=self.timeout_s, connection_class=kind, **options
        )
        return Redis.from_pool(pool)

    def _behind_sentinels(self) -> Any:
        place, tls = self.place, {"ssl": True, **self._tls_options()} if self.place.tls else {}
        access = {"username": place.sentinel_username, "password": place.sentinel_password}
        own = {key: value for key, value in self._options().items() if key not in access}
        self._sentinels = Sentinel(  # type: ignore[no-untyped-call]
            place.hosts, sentinel_kwargs=own | access | tls, **self._options(), **tls, db=place.database
        )
        return self._sentinels.master_for(place.service)

    def _options(self) -> dict[str, Any]:
        return {
            "username": self.place.username,
            "password": self.place.password,
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }

    def _tls_options(self) -> dict[str, Any]:
        table = self._tls
        if not self.place.tls or table is None:
            return {}
        return {
            "ssl_ca_certs": table.ca_file,
            "ssl_certfile": table.certificate,
            "ssl_keyfile": table.key,
            "ssl_cert_reqs": "required" if table.verify else "none",
            "ssl_check_hostname": table.verify,
            "ssl_min_version": _TLS_VERSIONS[table.min_version],
        }

    # ... what it has to say

    def _translated(self, error: Exception) -> StoreUnavailable | StoreCorrupt:
        text = _WHERE.sub("", " ".join(str(error).split()))
        if isinstance(error, faults.MovedError | faults.AskError):
            return StoreUnavailable(f'{self.place}: is a cluster: its URL begins with "redis+cluster"')
        if isinstance(error, faults.OutOfMemoryError):
            return StoreUnavailable(f"{self.place}: is full: OOM {text}")
        if isinstance(error, _REFUSED) or any(word in text.lower() for word in _REFUSALS):
            return StoreUnavailable(f"{self.place}: refuses us: {text}")
        if isinstance(error, faults.ResponseError) and not _may_pass(error, text):
            return StoreCorrupt(f"{self.place}: {text}")
        return StoreUnavailable(f"{self.place}: {text or type(error).__name__}")


def _may_pass(error: Exception, text: str) -> bool:
    passing = faults.ReadOnlyError | faults.ClusterDownError | faults.TryAgainError
    return isinstance(error, passing) or text.startswith(_NOT_NOW) or any(f"-{w} " in text for w in _NOT_NOW)
