"""Which store a URL means. Knows the forms of URLs and nothing of what is kept.

What speaks to Redis is imported only where a Redis is configured: its library is an extra, and takes as long
to import as all of the rest.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from proxy.config.store import is_redis
from proxy.errors import ConfigError
from proxy.stores.memory import MemoryMinutes, MemoryStore
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_minutes import SqliteMinutes
from proxy.stores.storage import Storage

if TYPE_CHECKING:
    from proxy.config.store import Store as StoreTable
    from proxy.core.peers import Identity
    from proxy.ports import Store

_SQLITE: Final = "sqlite:///"
_REDIS: Final = "proxy.stores.redis_opening:redis_storage"


def storage_at(url: str) -> Storage:
    """What is kept, not yet open, at "memory://" or "sqlite:///FILE" (four slashes make FILE absolute)."""
    if url.startswith(_SQLITE):
        file = SqliteStore(Path(url.removeprefix(_SQLITE)))
        return Storage(file, file, file, SqliteMinutes(file), trimming=file)
    kept = MemoryStore()
    return Storage(kept, kept, kept, MemoryMinutes(), trimming=kept)


def storage_of(table: StoreTable, identity: Identity) -> Storage:
    """What is kept where the configuration says, not yet open. In Redis, `identity` is who we are there.
    Raises `ConfigError` where the library for that is not installed."""
    if not is_redis(table.url):
        return storage_at(table.url)
    module, _, name = _REDIS.partition(":")
    try:
        redis_storage = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError([("store.url", 'needs the extra "fleet": pip install "dualpath[fleet]"')]) from None
    return cast("Storage", redis_storage(table, identity))


def store_at(url: str) -> Store:
    """State and audit alone, as `storage_at`."""
    return storage_at(url).store
