"""Stand-ins for everything that `proxy.ports` names.

Time that tests move, evidence that tests write, a store that fails when told to. Each keeps what it was
asked, so that a test reads as a transcript.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.model import EndpointStatus, ErrorClass, Explanation, FallbackReason, Path
from proxy.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from proxy.model import Event, KeyOverride, RolloutState, Transition


class FakeClock:
    """Time that moves only when told: both clocks together."""

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._monotonic += seconds
        self._wall += seconds


class FakeRandom:
    """Chance that says what it is told, over and over: `random()` gives `value`."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def random(self) -> float:
        return self.value

    def getrandbits(self, k: int, /) -> int:
        return int(self.value * (1 << k))


class FakeStore:
    """A memory store that fails, hangs or is overtaken when told to.

    `failure` is raised by every call while it is set. While `stalled`, nothing is answered; whether a commit
    is written all the same, as by a disk that is merely slow, is `lands_late`.
    """

    def __init__(self) -> None:
        self.kept = MemoryStore()
        self.failure: Exception | None = None
        self.stalled = False
        self.lands_late = False
        self.is_open = False
        self.waits = 0  # how often somebody has waited for an answer, a commit's or another
        self.commits: list[Transition] = []  # what was asked, in order, whether it worked or not
        self.before_commit: Callable[[], None] = lambda: None
        self.resumed = asyncio.Event()

    async def open(self) -> None:
        self._fail()
        self.is_open = True

    async def load(self) -> Mapping[str, RolloutState]:
        await self._answer()
        return await self.kept.load()

    async def commit(self, transition: Transition) -> Event:
        self.commits.append(transition)
        self.before_commit()
        landed = await self.kept.commit(transition) if self.stalled and self.lands_late else None
        await self._answer()
        return landed or await self.kept.commit(transition)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        await self._answer()
        return await self.kept.events(after=after, limit=limit, rollout=rollout)

    async def overrides(self) -> Sequence[KeyOverride]:
        await self._answer()
        return await self.kept.overrides()

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        landed = await self.kept.put(override, event) if self.stalled and self.lands_late else None
        await self._answer()
        return landed or await self.kept.put(override, event)

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        landed = await self.kept.remove(rollout, key, event) if self.stalled and self.lands_late else None
        await self._answer()
        return landed or await self.kept.remove(rollout, key, event)

    async def close(self) -> None:
        await self._answer()
        self.is_open = False

    async def transitions(self) -> list[Transition]:
        """All that was written, oldest first."""
        return [event.transition for event in await self.kept.events(limit=1_000)]

    def resume(self) -> None:
        """End the stall: what waits goes on."""
        self.stalled = False
        self.resumed.set()
        self.resumed = asyncio.Event()

    async def _answer(self) -> None:
        self.waits += 1
        if self.stalled:
            await self.resumed.wait()
        self._fail()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class ScriptedEvidence:
    """What tests let happen between two drains, as a recorder keeps it."""

    def __init__(self, rollouts: int = 1) -> None:
        self._tallies = [Tally() for _ in range(rollouts)]
        self.drains = 0
        self.failure: Exception | None = None

    def happened(self, tally: Tally, rollout: int = 0) -> None:
        """Add `tally` to what the next drain yields."""
        self._tallies[rollout].add(tally)

    def become(self, rollouts: int) -> None:
        """Evidence of another configuration."""
        self._tallies = [Tally() for _ in range(rollouts)]

    def late(self) -> Sequence[Tally]:
        return ()

    def drain(self) -> Sequence[Tally]:
        self.drains += 1
        if self.failure is not None:
            raise self.failure
        drained, self._tallies = self._tallies, [Tally() for _ in self._tallies]
        return drained


class RecordingSink:
    """Keeps every state that was published."""

    def __init__(self) -> None:
        self.published: list[RolloutState] = []
        self.failure: Exception | None = None

    def publish(self, state: RolloutState) -> None:
        self.published.append(state)
        if self.failure is not None:
            raise self.failure

    def weight(self, name: str = "default") -> int:
        """The weight that is in force."""
        return [state.weight for state in self.published if state.name == name][-1]


class RecordingOverrides:
    """Keeps the overrides that are in force, by rollout."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Path]] = {}

    def publish_overrides(self, rollout: str, keys: Mapping[str, Path]) -> None:
        self.keys[rollout] = dict(keys)


class FakeEndpoints:
    """Endpoints by path and URL, all healthy at first."""

    def __init__(self, urls: Iterable[tuple[Path, str]] = ()) -> None:
        self.healthy = dict.fromkeys(urls, True)
        self.heard: list[tuple[Path, str, bool]] = []
        self.breakers: dict[str, str] = {}

    def statuses(self) -> Sequence[EndpointStatus]:
        return [EndpointStatus(path, url, ok, False, 0, 0) for (path, url), ok in self.healthy.items()]

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        self.healthy[path, url] = healthy
        self.heard.append((path, url, healthy))

    def health(self, path: Path) -> float:
        mine = [ok for (of, _), ok in self.healthy.items() if of is path]
        return sum(mine) / len(mine) if mine else 1.0

    def breaker(self, rollout: str) -> str:
        return self.breakers.get(rollout, "closed")


class FakeRouter:
    """Sends every key to v1 and remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str | None]] = []
        self.rule = "bucket >= weight"

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        self.asked.append({"key": key, "host": host, "path": path, "method": method, "rollout": rollout})
        return Explanation(rollout=rollout, path=Path.V1, rule=self.rule, key=key)


def traffic(
    requests: int = 0, v2: int = 0, *, v2_errors: int = 0, fallbacks: int = 0, client_errors: int = 0
) -> Tally:
    """A tally of `requests` in all, `v2` of them for v2, of which `v2_errors` were answered with a 5xx."""
    tally = Tally(
        assigned_v1=requests - v2, assigned_v2=v2, client_requests=requests, client_errors=client_errors
    )
    for path, count in ((Path.V1, requests - v2), (Path.V2, v2)):
        tally.of(path).requests = count
        for _ in range(count):
            tally.of(path).latency.record(0.010)
    tally.v2.errors[ERROR_INDEX[ErrorClass.STATUS]] = v2_errors
    tally.fallbacks[FALLBACK_INDEX[FallbackReason.STATUS]] = fallbacks
    return tally
