"""The workers as the control plane sees them: one evidence, one set of endpoints, one table of states.

Owns how reports of several processes become one: counts add up, an endpoint is ejected if any worker says
so, a breaker is as bad as the worst. Probes are the supervisor's own, therefore health is not asked of
workers but told to them. It must never know how a worker is started, nor how a frame gets there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.channel import size_of
from proxy.core.balance import available_share
from proxy.core.breaker import BreakerState
from proxy.core.delta import DISABLED, Load, Sequences, readable
from proxy.core.refusals import Refusals
from proxy.core.series import SeriesTable
from proxy.core.tally import Tally
from proxy.dataplane.routes import Routes
from proxy.errors import StartError, WireError
from proxy.model import EndpointStatus, Path, RolloutState, State
from proxy.orders import health_frame, override_frame, replace_frame, serve_frame, state_frame
from proxy.telemetry.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.config.schema import Config
    from proxy.core.delta import Delta
    from proxy.model import Explanation, Users
    from proxy.orders import Frame, Overrides
    from proxy.ports import Census, Endpoints, Evidence, OverrideSink, RolloutSink, Router

_BEST_FIRST: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


class CrewView:
    """`ports.Evidence`, `Endpoints`, `Router`, `Census`, `RolloutSink` and `OverrideSink` over all workers.

    `tell` sends a frame of a topic to each of them and waits for none."""

    def __init__(self, config: Config, tell: Callable[[Frame, str], None]) -> None:
        self._tell = tell
        self._config = config
        self._routes = Routes(config)
        self._states: dict[str, RolloutState] = {}
        self._overrides: Overrides = {}
        self._tallies = {rollout.name: Tally() for rollout in config.rollouts}
        self._late = {rollout.name: Tally() for rollout in config.rollouts}
        self._unhealthy: set[tuple[Path, str]] = set()
        self._sequences = Sequences()
        self._latest: dict[str, Delta] = {}
        self._refusals = Refusals()
        self.measured = SeriesTable(config.telemetry.metrics.max_series)
        self.telemetry = Counters()
        self._cache: tuple[int, int] = (0, 0)

    # ... what workers report

    def take(self, delta: Delta) -> bool:
        """Take a report in, once: False for one that came before."""
        if not self._sequences.is_next(delta.source, delta.number):
            return False
        self._latest[delta.source] = delta
        self._refusals.add(delta.refused)
        self.measured.add(delta.series)
        self.measured.see(delta.sightings)
        self.telemetry.add(delta.telemetry)
        self._cache = self._cache[0] + delta.cache[0], self._cache[1] + delta.cache[1]
        for rollout in delta.rollouts:
            state = self._states.get(rollout.name)
            late = state is not None and rollout.revision < state.revision
            tally = (self._late if late else self._tallies).get(rollout.name)
            known = self._routes.named(rollout.name)
            if tally is not None and known is not None:  # else a reload has removed it meanwhile
                tally.add(rollout.tally)
                known.split.users.merge(rollout.users)
        return True

    def gone(self, source: str) -> None:
        """That process is no more; what it has counted stays."""
        self._latest.pop(source, None)
        self._sequences.forget(source)

    @property
    def loads(self) -> list[Load]:
        """How busy each worker is."""
        return [delta.load for delta in self._latest.values()]

    def load(self, source: str) -> Load:
        """How busy one is, by its name in reports; that of nobody is nothing."""
        delta = self._latest.get(source)
        return Load() if delta is None else delta.load

    @property
    def refused(self) -> Mapping[str, int]:
        """What all workers have turned away, by reason."""
        return self._refusals.counts

    @property
    def tunnels(self) -> tuple[int, int]:
        """Open in all workers, as they last said, on v1 and v2."""
        latest = self._latest.values()
        return sum(delta.tunnels[0] for delta in latest), sum(delta.tunnels[1] for delta in latest)

    def drain_cache(self) -> tuple[int, int]:
        """Cache hits of v2 in all workers, and its answers that told, since the last call."""
        drained, self._cache = self._cache, (0, 0)
        return drained

    # ... a reload

    def replace(self, config: Config) -> None:
        """From now on, answer in the order of `config`. Evidence of rollouts whose table has changed is of no
        use any more."""
        before = {rollout.name: rollout for rollout in self._config.rollouts}
        self._tallies = {
            rollout.name: self._tallies[rollout.name] if before.get(rollout.name) == rollout else Tally()
            for rollout in config.rollouts
        }
        self._late = {name: Tally() for name in self._tallies}
        self.measured.follow(config.telemetry.metrics.max_series, self._tallies)
        self._config = config
        self._routes = Routes(config, self._routes)
        self._states = {state.name: state for state in self.states_under(config)}
        self._overrides = self._overrides_under(config)
        for name, state in self._states.items():
            self._routes.publish(state)
            self._routes.publish_overrides(name, self._overrides.get(name, {}))
        probed = {
            (path, url)
            for path in Path
            if config.backends.of(path).health is not None  # else nobody would ever find it well again
            for url in config.backends.of(path).endpoints
        }
        if not self._unhealthy <= probed:
            self._unhealthy &= probed
            self._tell(health_frame(self._unhealthy), "health")

    # ... what a worker that begins must know

    def states_under(self, config: Config) -> list[RolloutState]:
        """What is in force for the rollouts of `config`; one that was never published is at 0."""
        none = RolloutState("", State.DISABLED, 0)
        names = [rollout.name for rollout in config.rollouts]
        return [self._states.get(name, replace(none, name=name)) for name in names]

    @property
    def unhealthy(self) -> set[tuple[Path, str]]:
        """Endpoints that the probes have found wanting."""
        return set(self._unhealthy)

    def _overrides_under(self, config: Config) -> Overrides:
        names = [rollout.name for rollout in config.rollouts]
        return {name: self._overrides[name] for name in names if name in self._overrides}

    def serve_frame(self, config: Config, workers: int) -> Frame:
        """The first thing that one of so many workers is told."""
        states, overrides = self.states_under(config), self._overrides_under(config)
        return serve_frame(config, workers, states, overrides, self.unhealthy)

    def check(self, config: Config, workers: int) -> int:
        """How many bytes the first order is. Raises `StartError` if workers do not take it, or if we would
        not take their reports."""
        try:
            readable(
                [rollout.name for rollout in config.rollouts],
                [(path, url) for path in Path for url in config.backends.of(path).endpoints],
            )
            return size_of(self.serve_frame(config, workers))
        except WireError as error:
            raise StartError(f"the configuration is too large for workers: {error}") from error

    def replace_frame(self, config: Config, workers: int) -> Frame:
        """What each of them is told of a new configuration."""
        return replace_frame(config, workers, self.states_under(config), self._overrides_under(config))

    # ... ports.RolloutSink, ports.OverrideSink and ports.Router

    def publish(self, state: RolloutState) -> None:
        """Put a state in force in every worker."""
        self._states[state.name] = state
        self._routes.publish(state)
        self._tell(state_frame(state), f"state {state.name}")

    def publish_overrides(self, rollout: str, keys: Mapping[str, Path]) -> None:
        """Put a rollout's overridden keys in force in every worker; of one that is not known, nothing."""
        if rollout in self._tallies:
            self._overrides[rollout] = dict(keys)
            self._routes.publish_overrides(rollout, keys)
            self._tell(override_frame(rollout, keys), f"overrides {rollout}")

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a request with this key would go where it would go, in any worker."""
        return self._routes.explain(key=key, host=host, path=path, method=method, rollout=rollout)

    # ... ports.Census

    def users(self, rollout: str) -> Users:
        """About how many users a rollout has split, in all workers."""
        return self._routes.users(rollout)

    # ... ports.Evidence

    def drain(self) -> Sequence[Tally]:
        """What all workers have counted under what is in force, in the configuration's order, and the ages of
        what is under way, as each said last."""
        drained = self._tallies
        self._tallies = {name: Tally() for name in drained}
        for delta in self._latest.values():
            for rollout in delta.rollouts:
                if rollout.name in drained:
                    drained[rollout.name].add_in_flight(rollout.tally)
        return list(drained.values())

    def late(self) -> Sequence[Tally]:
        """What workers have counted before the state in force reached them, and reported since the last
        call."""
        late = list(self._late.values())
        self._late = {name: Tally() for name in self._late}
        return late

    # ... ports.Endpoints

    def statuses(self) -> Sequence[EndpointStatus]:
        """Every endpoint of both paths; requests and idle connections are those of all workers."""
        told: dict[tuple[Path, str], list[EndpointStatus]] = {}
        for delta in self._latest.values():
            for endpoint in delta.endpoints:
                told.setdefault((endpoint.path, endpoint.url), []).append(endpoint)
        return [
            self._status(path, url, told.get((path, url), ()))
            for path in Path
            for url in self._config.backends.of(path).endpoints
        ]

    def _status(self, path: Path, url: str, told: Sequence[EndpointStatus]) -> EndpointStatus:
        return EndpointStatus(
            path,
            url,
            healthy=(path, url) not in self._unhealthy,
            ejected=any(endpoint.ejected for endpoint in told),
            outstanding=sum(endpoint.outstanding for endpoint in told),
            idle_connections=sum(endpoint.idle_connections for endpoint in told),
        )

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        """What a probe found; every worker is told."""
        if healthy:
            self._unhealthy.discard((path, url))
        else:
            self._unhealthy.add((path, url))
        self._tell(health_frame(self._unhealthy), "health")

    def health(self, path: Path) -> float:
        """Share of the path's endpoints that may take traffic, 0..1."""
        return available_share([status for status in self.statuses() if status.path is path])

    def breaker(self, rollout: str) -> str:
        """The worst state that any worker's breaker is in; the configured one while none has reported."""
        told = {
            one.breaker for delta in self._latest.values() for one in delta.rollouts if one.name == rollout
        }
        worst = max((_BEST_FIRST.index(BreakerState(state)) for state in told - {DISABLED}), default=None)
        return self._routes.breaker(rollout) if worst is None else str(_BEST_FIRST[worst])

    def __repr__(self) -> str:
        return f"<CrewView {len(self._latest)} workers report, {len(self._states)} states>"


class SeenThroughView:
    """`traffic.Seen` as far as a view knows it."""

    def __init__(self, view: CrewView) -> None:
        self._view = view

    @property
    def evidence(self) -> Evidence:
        """What all workers have counted."""
        return self._view

    @property
    def sinks(self) -> Sequence[RolloutSink]:
        """The one that tells all workers."""
        return (self._view,)

    @property
    def override_sinks(self) -> Sequence[OverrideSink]:
        """The one that tells all workers."""
        return (self._view,)

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints as all workers see them."""
        return self._view

    @property
    def router(self) -> Router:
        """Routes as the workers do."""
        return self._view

    @property
    def census(self) -> Census:
        """What all workers have seen."""
        return self._view

    @property
    def refused(self) -> Mapping[str, int]:
        """What all workers have turned away."""
        return self._view.refused

    @property
    def tunnels(self) -> tuple[int, int]:
        """Open in all workers, on v1 and v2."""
        return self._view.tunnels

    @property
    def measured(self) -> SeriesTable:
        """How long requests and attempts took, in all workers."""
        return self._view.measured

    @property
    def telemetry(self) -> Counters:
        """What all workers' telemetry has sent and dropped."""
        return self._view.telemetry

    def exemplars(self, rollout: str) -> Sequence[str]:
        """Of what the workers have reported."""
        return self._view.measured.exemplars(rollout)

    def drain_cache(self) -> tuple[int, int]:
        """Of what the workers have reported."""
        return self._view.drain_cache()
