"""The rollouts as the data plane uses them: compiled once per configuration, then only their weight changes.

Owns the live table that every request is routed by, and answers what it would do with a key. It knows no
connection. The control plane reaches it through `ports.RolloutSink`, `OverrideSink`, `Census` and `Router`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.config.schema import Tunnels
from proxy.core.breaker import Breaker
from proxy.core.fallback import Budget, FallbackPolicy
from proxy.core.keys import KeyReader
from proxy.core.override import in_networks, plain, verify
from proxy.core.routing import RouteTable, Split
from proxy.core.tunnel_policy import TunnelPolicy
from proxy.model import Explanation, Path, Users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.config.schema import Config, Override, Rollout
    from proxy.core.request_head import RequestHead
    from proxy.model import RolloutState

UNROUTED_TUNNELS: Final = TunnelPolicy.of(Tunnels())
"""The tunnels of requests that belong to no rollout."""


class LiveRollout:
    """One rollout on the hot path: its split, and the policies that its exchanges follow."""

    __slots__ = (
        "breaker",
        "breaker_enabled",
        "budget",
        "changed_at",
        "index",
        "issue_cookie",
        "judges_latency",
        "keys",
        "name",
        "override",
        "override_header",
        "phase",
        "phase_before",
        "policy",
        "reserve",
        "split",
        "table",
        "timeout_s",
        "tunnels",
        "weight_before",
        "withdrawn_at",
    )

    split: Split
    phase: str | None
    phase_before: str | None  # and before the last change, when requests began that still run
    breaker: Breaker
    budget: Budget | None

    def __init__(self, index: int, rollout: Rollout, before: LiveRollout | None = None) -> None:
        """`before` is the rollout of that name under the configuration before. If its table was the same,
        what it has learned goes on, and its lists are not compiled again; if not, its weight, what people
        have overridden and the users go on, and nothing else.
        """
        self.index = index
        self.table = rollout
        self.name = rollout.name
        self.keys = KeyReader(rollout.key)
        self.policy = FallbackPolicy.of(rollout.fallback)
        self.breaker_enabled = rollout.breaker.enabled
        self.judges_latency = rollout.judges_latency
        self.timeout_s = rollout.timeout_s
        self.reserve = rollout.fallback.reserve
        self.tunnels = TunnelPolicy.of(rollout.tunnels)
        self.issue_cookie = rollout.issue_cookie
        self.override = rollout.override
        self.override_header = rollout.override.header.lower().encode() if rollout.override else b""
        self.phase = self.phase_before = None if before is None else before.phase
        self.weight_before = 0
        self.changed_at = self.withdrawn_at = -math.inf
        if before is not None and before.table == rollout:
            self.split, self.breaker, self.budget = before.split, before.breaker, before.budget
            return
        self.split = Split.of(index, rollout)
        self.breaker = Breaker(rollout.breaker)
        self.budget = (
            Budget(rollout.fallback.budget, rollout.fallback.budget_floor)
            if rollout.fallback.budget < 1
            else None
        )
        if before is not None:
            self.split.weight = before.split.weight
            self.split.suspended = before.split.suspended
            self.split.override(before.split.overrides)
            if before.split.salt == self.split.salt and before.table.key == rollout.key:
                self.split.users = before.split.users  # else it counts other hashes

    def __repr__(self) -> str:
        return f"<LiveRollout {self.name} weight={self.split.weight} breaker={self.breaker.state}>"

    def apply(self, state: RolloutState, now: float) -> None:
        """Puts a state in force. What it replaces is kept for the requests that began before: to be told."""
        split = self.split
        self.weight_before, self.phase_before = split.weight, self.phase
        was_suspended = split.suspended
        split.apply(state)
        self.phase = state.phase
        self.changed_at = now
        if split.suspended and not was_suspended:
            self.withdrawn_at = now

    def route_of(self, head: RequestHead) -> str:
        """The longest prefix of its routes that covers a request of the rollout."""
        path = head.target.partition(b"?")[0].decode("latin-1")
        covering = [route.prefix for route in self.table.routes if _covers(route.prefix, path)]
        return max(covering, key=len, default="")


class Routes:
    """All rollouts by route. `only` is set where a single rollout takes everything: the common case.

    Made from those of the configuration `before`, rollouts go on by name, and a new one is at weight 0 until
    its state is published.
    """

    _by_name: dict[str, LiveRollout]

    def __init__(self, config: Config, before: Routes | None = None) -> None:
        known = {} if before is None else before._by_name
        self.rollouts = [
            LiveRollout(index, rollout, known.get(rollout.name))
            for index, rollout in enumerate(config.rollouts)
        ]
        if before is not None:
            for live in self.rollouts:
                if live.name not in known:
                    live.split.weight = 0
        self._by_name = {rollout.name: rollout for rollout in self.rollouts}
        self._table = RouteTable.of(config.rollouts)
        catch_all = len(self.rollouts) == 1 and any(
            route.prefix == "/" and route.host is None and not route.methods
            for route in config.rollouts[0].routes
        )
        self.only: LiveRollout | None = self.rollouts[0] if catch_all else None

    def match(self, host: bytes, target: bytes, method: bytes) -> LiveRollout | None:
        """The rollout of a request, or None where no route fits: then v1 answers, outside any rollout."""
        if self.only is not None:
            return self.only
        index = self._table.match(bare_host(host), target.partition(b"?")[0], method)
        return self.rollouts[index] if index >= 0 else None

    @property
    def judges_latency(self) -> bool:
        """Whether any of them wants to know what is under way."""
        return any(rollout.judges_latency for rollout in self.rollouts)

    def named(self, name: str) -> LiveRollout | None:
        """The rollout of that name, if there still is one."""
        return self._by_name.get(name)

    # ... ports.RolloutSink ...

    def publish(self, state: RolloutState, now: float = 0.0) -> None:
        """Puts a rollout's weight in force: one attribute, read by the next request."""
        live = self._by_name.get(state.name)
        if live is not None:
            live.apply(state, now)

    # ... ports.OverrideSink ...

    def publish_overrides(self, rollout: str, keys: Mapping[str, Path]) -> None:
        """Puts a rollout's overridden keys in force: all that there are, and no others."""
        live = self._by_name.get(rollout)
        if live is not None:
            live.split.override({_as_bytes(key): path for key, path in keys.items()})

    # ... ports.Census ...

    def users(self, rollout: str) -> Users:
        """About how many users a rollout has split."""
        live = self._by_name.get(rollout)
        return Users() if live is None else live.split.users.count()

    # ... ports.Router ...

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a request with this key would go where it would go."""
        live = (
            self.match(
                host.encode("latin-1", "replace"),
                path.encode("latin-1", "replace"),
                method.encode("latin-1", "replace"),
            )
            if rollout is None
            else self._by_name.get(rollout)
        )
        if live is None:
            return Explanation(rollout=None, path=Path.V1, rule="no route", key=key)
        return live.split.explain(None if key is None else _as_bytes(key))

    def breaker(self, rollout: str) -> str:
        """State of a rollout's breaker."""
        live = self._by_name.get(rollout)
        return str(live.breaker.state) if live is not None and live.breaker_enabled else "disabled"


def _covers(prefix: str, path: str) -> bool:
    """Whether a path lies under a prefix, on the boundary of a segment."""
    return path.startswith(prefix) and (
        prefix.endswith("/") or path[len(prefix) : len(prefix) + 1] in {"", "/"}
    )


def _as_bytes(key: str) -> bytes:
    """A key as requests bring it, of which people have written the text."""
    return key.encode("utf-8", "surrogateescape")


def bare_host(host: bytes) -> bytes:
    """A Host value in lower case without its port and the dot of a fully qualified name."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and (port.isdigit() or not port) else host).lower().rstrip(b".")


def overridden_path(
    override: Override, rollout: str, values: Sequence[bytes], peer: str, now_wall: float
) -> Path | None:
    """The path that a believed override header names: signed, or plain from a listed network. Else None."""
    if len(values) != 1:
        return None
    if override.secret is not None:
        path = verify(override.secret, rollout, values[0], now_wall)
        if path is not None:
            return path
    return plain(values[0]) if in_networks(peer, override.networks) else None
