"""What stands around a simulated controller: a store that fails when the scenario says so, endpoints that are
as well as it says, and webhooks that answer as it says.

Owns these stand-ins for ports. Must never know what the controller does with their answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.controlplane.webhook import WebhookError
from proxy.errors import StoreUnavailable
from proxy.model import BackendReport, Explanation, Path
from proxy.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.breaker import Breaker
    from proxy.core.routing import Split
    from proxy.model import EndpointStatus, Event, Transition
    from proxy.simulation.timeline import Conditions, Service

_FIRST_FAILURE, _FIRST_OK = 300, 200


class FickleStore(MemoryStore):
    """A memory store that takes nothing while `down`."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False

    async def commit(self, transition: Transition) -> Event:
        """Keep it, unless the store is down."""
        if self.down:
            raise StoreUnavailable("the scenario's store is down")
        return await super().commit(transition)


class Scene(Protocol):
    """What is in force at the moment."""

    conditions: Conditions
    split: Split

    @property
    def breaker(self) -> Breaker: ...


class World:
    """`ports.Endpoints`, `Vitals` and `Router`, and the webhooks, as the conditions of the moment have
    them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._reported: Service | None = None
        self._report = BackendReport()

    @property
    def _conditions(self) -> Conditions:
        return self._scene.conditions

    # ... ports.Endpoints ...

    def statuses(self) -> Sequence[EndpointStatus]:
        """None: only their share is simulated."""
        return ()

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        """Nobody probes."""

    def health(self, path: Path) -> float:
        """Share of the path's endpoints that may take traffic, 0..1."""
        conditions = self._scene.conditions
        return conditions.v1.health if path is Path.V1 else conditions.v2.health

    def breaker(self, rollout: str) -> str:
        """State of the breaker."""
        return str(self._scene.breaker.state)

    # ... ports.Vitals ...

    def latest(self) -> BackendReport:
        """What v2's backend reports of itself, if the scenario lets it."""
        v2 = self._scene.conditions.v2
        if v2 is not self._reported:
            self._reported = v2
            report = BackendReport(v2.cpu, v2.memory, v2.cache_hit_rate)
            if report != self._report:
                self._report = report
        return self._report

    # ... ports.Router ...

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a key goes where it goes, now."""
        return self._scene.split.explain(None if key is None else key.encode())

    # ... webhooks ...

    async def post(
        self, url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        """Every webhook answers with the scenario's status."""
        status = self._conditions.webhook
        if not _FIRST_OK <= status < _FIRST_FAILURE:
            raise WebhookError(f"answered {status}")
