"""All that is kept in a Redis, put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config.store import redis_place
from proxy.stores.fleet_copy import FleetCopy
from proxy.stores.redis_journal import RedisJournal
from proxy.stores.redis_keys import Keys
from proxy.stores.redis_link import RedisLink
from proxy.stores.redis_minutes import RedisMinutes
from proxy.stores.redis_peers import RedisPeers
from proxy.stores.redis_store import RedisStore
from proxy.stores.sqlite import SqliteStore
from proxy.stores.storage import Shared, Storage

if TYPE_CHECKING:
    from proxy.config.store import Store
    from proxy.core.peers import Identity


def redis_storage(table: Store, identity: Identity) -> Storage:
    """What is kept at `table.url`, not yet open, and the copy of it; `identity` is who we are there."""
    link = RedisLink(redis_place(table.url), table.timeout_s, table.tls)
    store = RedisStore(link, keys := Keys(table.prefix))
    peers = RedisPeers(link, keys, identity)
    file = SqliteStore(Path(table.copy_file))
    copy = FleetCopy(store, file)
    shared = Shared(store, peers, copy, file, RedisJournal(link, keys))
    return Storage(store, store, store, RedisMinutes(store), shared, trimming=store)
