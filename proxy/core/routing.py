"""Which rollout a request belongs to, and which path its key gets.

Owns the route table (host, prefix, method -> rollout) and the split (key -> path), with the formula that
makes a user stay where they are: docs/routing.md repeats it for other languages. Must never know where a key
comes from, what a request looks like on the wire, or why a weight is what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_intdigest

from proxy.core.prefixes import PrefixTable
from proxy.core.users import UserSketch
from proxy.model import BUCKETS, Explanation, Path, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from proxy.config.schema import Rollout
    from proxy.model import RolloutState

_V1: Final = Path.V1
_V2: Final = Path.V2
_hash: Final = xxh3_64_intdigest
SUSPENDING = frozenset({State.ROLLED_BACK, State.ABORTED})


def bucket_of(salt: bytes, key: bytes) -> int:
    """The bucket, 0..99_999, of `key` under `salt`: XXH3-64 (seed 0) of ``salt ":" key``, scaled to the
    range.

    Scaling by the high bits of the product instead of a modulo leaves no bucket favoured.
    """
    return (xxh3_64_intdigest(salt + b":" + key) * BUCKETS) >> 64


def _first_hash_beyond(weight: int) -> int:
    """The lowest hash whose bucket is not below `weight`: to compare with it saves the multiplication."""
    return -((-weight << 64) // BUCKETS)


# ... which rollout


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route as the table takes it: `rollout` is an index; no `methods`: all; no `host`: any."""

    rollout: int
    prefix: bytes
    host: bytes | None = None  # "api.example.com" or "*.example.com", lower case
    methods: frozenset[bytes] = frozenset()


class RouteTable:
    """Finds the rollout of a request in time that depends on the path's depth, not on the number of routes.

    The most specific host decides first (exact, then the longest ``*.suffix``, then any), then the longest
    prefix on a segment boundary, then a route that names the method before one that does not. Where a route's
    methods do not fit, the search goes on to shorter prefixes and less specific hosts.
    """

    __slots__ = ("_anywhere", "_hosts", "_longest_suffix", "_only", "_routes", "_suffixes")

    def __init__(self, routes: Sequence[RouteSpec]) -> None:
        """Raises ValueError where two rollouts claim the same host, prefix and method."""
        self._routes = tuple(routes)
        self._anywhere = PrefixTable()
        self._hosts: dict[bytes, PrefixTable] = {}
        self._suffixes: dict[bytes, PrefixTable] = {}
        for route in routes:
            self._table_of(route.host).add(route.prefix, route.methods, route.rollout)
        self._longest_suffix = max(map(len, self._suffixes), default=0)
        self._only = _only_rollout(self._routes)

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> RouteTable:
        """The table of a configuration; indices are positions in `rollouts`."""
        return cls(tuple(_specs(rollouts)))

    def match(self, host: bytes, path: bytes, method: bytes) -> int:
        """The index of the rollout, or -1. `host` is lower case without port, `path` raw and without a query.

        A target that is no path (``*``, RFC 9112 section 3.2.4) belongs to "/".
        """
        if self._only >= 0:
            return self._only
        if self._hosts and (table := self._hosts.get(host)) is not None:
            found = table.match(path, method)
            if found >= 0:
                return found
        if self._suffixes:
            found = self._match_suffix(host, path, method)
            if found >= 0:
                return found
        return self._anywhere.match(path, method)

    def _match_suffix(self, host: bytes, path: bytes, method: bytes) -> int:
        # From the left, so that the longest suffix comes first; no further left than a suffix can reach,
        # because a host of 30,000 dots would otherwise cost as many look-ups.
        dot = host.find(b".", max(1, len(host) - self._longest_suffix))
        while dot > 0:
            table = self._suffixes.get(host[dot:])
            if table is not None and (found := table.match(path, method)) >= 0:
                return found
            dot = host.find(b".", dot + 1)
        return -1

    def _table_of(self, host: bytes | None) -> PrefixTable:
        if host is None:
            return self._anywhere
        if host.startswith(b"*."):
            return self._suffixes.setdefault(host[1:], PrefixTable())
        return self._hosts.setdefault(host, PrefixTable())

    def __repr__(self) -> str:
        return f"<RouteTable {len(self._routes)} routes, {len(self._hosts) + len(self._suffixes)} hosts>"


def _only_rollout(routes: tuple[RouteSpec, ...]) -> int:
    """The rollout that gets everything when there is but one route and it excludes nothing, else -1."""
    if len(routes) != 1:
        return -1
    route = routes[0]
    return route.rollout if route.prefix == b"/" and route.host is None and not route.methods else -1


def _specs(rollouts: Sequence[Rollout]) -> Iterator[RouteSpec]:
    for index, rollout in enumerate(rollouts):
        for route in rollout.routes:
            host = None if route.host is None else route.host.encode()
            methods = frozenset(method.encode() for method in route.methods)
            yield RouteSpec(index, route.prefix.encode(), host, methods)


# ... which path


class Split:
    """One rollout's split of keys between v1 and v2; only `apply`, `override` and `weight` change it.

    `weight` is in buckets. `pins` are the keys that the lists decide, `overrides` those that people have sent
    somewhere since; overrides go first. `suspended` (after a rollback or an abort) ignores both where they
    lead to v2: whoever takes v2 out of service means everybody. `pinning` is whether there is any of either.
    `users` are those of all requests.

    A list may hold a million keys. They stand once as bytes, for requests; which list a key is in, people are
    told from the configuration's own sets.
    """

    __slots__ = (
        *("_below", "_held_back", "_lists", "_weight"),
        *("index", "name", "overrides", "pinning", "pins", "salt", "suspended", "users"),
    )

    def __init__(self, index: int, name: str, salt: bytes, weight: int = 0) -> None:
        self.index = index
        self.name = name
        self.salt = salt + b":"  # with the separator, so that deciding joins two strings, not three
        self._weight = weight
        self._below = _first_hash_beyond(weight)
        self._held_back = 0
        self.suspended = False
        self.pins: dict[bytes, Path] = {}
        self.overrides: dict[bytes, Path] = {}
        self.pinning = False
        self.users = UserSketch()
        self._lists: tuple[tuple[str, frozenset[str]], ...] = ()  # the strongest first

    @classmethod
    def of(cls, index: int, rollout: Rollout) -> Split:
        """The split of a configured rollout at its starting weight. Deny beats allow, and v1 beats v2."""
        salt = rollout.name if rollout.salt is None else rollout.salt
        split = cls(index, rollout.name, salt.encode(), rollout.weight)
        allow, deny = rollout.allow, rollout.deny
        for keys, path in ((allow.v2, _V2), (allow.v1, _V1), (deny.v1, _V2), (deny.v2, _V1)):
            for key in keys:
                split.pins[key.encode()] = path
        split.pinning = bool(split.pins)
        split._held_back = rollout.held_back
        split._lists = (
            ("deny v2", deny.v2),
            ("deny v1", deny.v1),
            ("allow v1", allow.v1),
            ("allow v2", allow.v2),
        )
        return split

    @property
    def weight(self) -> int:
        """The share of v2, in buckets."""
        return self._weight

    @weight.setter
    def weight(self, weight: int) -> None:
        self._weight = weight
        self._below = _first_hash_beyond(weight)

    def apply(self, state: RolloutState) -> None:
        """Take over a published state: the next decision follows it. Until the rollout is completed, 100 %
        leaves v1 what `judge.holdback` keeps for it."""
        self.suspended = state.state in SUSPENDING
        held_back = 0 if state.state is State.COMPLETED else self._held_back
        self.weight = min(state.weight, BUCKETS - held_back)

    def override(self, keys: Mapping[bytes, Path]) -> None:
        """From now on exactly these keys go to these paths, whatever lists and buckets say."""
        self.overrides = dict(keys)
        self.pinning = bool(self.pins or self.overrides)

    def decide(self, key: bytes | None) -> Path:
        """The path of `key`: overrides first, then lists, then bucket < weight. Without a key: v1, until v2
        has everything."""
        if key is None:
            return _V2 if self._weight >= BUCKETS else _V1
        if self.pinning:
            pinned = self._pinned(key)
            if pinned is not None:
                return pinned
        if self._below and _hash(self.salt + key) < self._below:
            return _V2
        return _V1

    def assign(self, key: bytes | None) -> Path:
        """As `decide`, for a request: its user is counted."""
        if key is None:
            return self.decide(None)
        hashed = _hash(self.salt + key)
        path = self._pinned(key) if self.pinning else None
        if path is None:
            path = _V2 if hashed < self._below else _V1
        self.users.see(hashed, path is _V2)
        return path

    def is_pinned(self, key: bytes | None) -> bool:
        """Whether an override or a list decides for `key`, so that its requests say nothing about the
        split."""
        return key is not None and self._pinned(key) is not None

    def _pinned(self, key: bytes) -> Path | None:
        path = self.overrides.get(key)
        if path is None or (self.suspended and path is _V2):
            path = self.pins.get(key)
        return None if self.suspended and path is _V2 else path

    def bucket(self, key: bytes) -> int:
        """The bucket of `key`."""
        return (_hash(self.salt + key) * BUCKETS) >> 64

    def explain(self, key: bytes | None) -> Explanation:
        """The same decision with its rule, bucket and weight, for people."""
        if key is None:
            return Explanation(self.name, self.decide(None), "no key", weight=self.weight)
        bucket = self.bucket(key)
        overridden = self.overrides.get(key)
        if overridden is not None and not (self.suspended and overridden is _V2):
            rule = f"override {overridden.value}"
        elif self.is_pinned(key):
            rule = self._list_of(key.decode())
        else:
            rule = "bucket < weight" if bucket < self.weight else "bucket >= weight"
        text = key.decode("utf-8", "backslashreplace")
        return Explanation(self.name, self.decide(key), rule, text, bucket, self.weight)

    def _list_of(self, key: str) -> str:
        return next(rule for rule, keys in self._lists if key in keys)

    def __repr__(self) -> str:
        suspended = " suspended" if self.suspended else ""
        pins = len(self.pins) + len(self.overrides)
        return f"<Split {self.name} {self.weight}/{BUCKETS} {pins} pins{suspended}>"
