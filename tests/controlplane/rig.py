"""A controller with a fake for everything around it, and the sentences that tests are written in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from proxy.config.schema import Config
from proxy.controlplane.controller import Controller
from proxy.core.fleet import Role
from proxy.model import Command, RolloutState, State, Transition, Verb
from tests.fakes import (
    FakeClock,
    FakeEndpoints,
    FakeRouter,
    FakeStore,
    RecordingOverrides,
    RecordingSink,
    ScriptedEvidence,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from proxy.core.notice import Notice
    from proxy.core.tally import Tally

STORE_TIMEOUT_S = 0.001
"""The fake store answers without waiting, or never: how long that is waited for changes nothing."""

ROLLBACK_GUARD = {"metric": "error_rate", "above": 0.1, "mode": "window", "window": "10s", "min_requests": 20}
ALERT_GUARD = {**ROLLBACK_GUARD, "above": 0.05, "action": "alert"}
CANARY = {"name": "canary", "percentage": 1, "min_duration": "10s", "min_requests": 10}
HALF = {"name": "half", "percentage": 50, "min_duration": "10s", "min_requests": 10}


def config(*rollouts: dict[str, Any], **tables: Any) -> Config:
    """A configuration in the file's form, with one rollout that is called default unless others are given.
    Phases pass by their own criteria: evidence takes more requests than a test should have to send."""
    backends = {
        "v1": {"endpoints": ["http://127.0.0.1:9001"]},
        "v2": {"endpoints": ["http://127.0.0.1:9002"]},
    }
    named = [
        {"name": "default", "judge": {"promotion": "criteria"}, **rollout} for rollout in rollouts or ({},)
    ]
    return Config.read({"backends": backends, "rollouts": named, **tables})


@dataclass
class Rig:
    """Everything around one controller. `restarted` is a new process on the same store."""

    config: Config
    store: FakeStore = field(default_factory=FakeStore)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.evidence = ScriptedEvidence(len(self.config.rollouts))
        self.sink = RecordingSink()
        self.endpoints = FakeEndpoints()
        self.router = FakeRouter()
        self.overrides = RecordingOverrides()
        self.posted: list[tuple[str, bytes, float]] = []
        self.fields: list[dict[str, str]] = []
        self.webhook: Callable[[], Awaitable[None]] = self.well
        self.announced: list[Notice] = []
        self.on_announce: Callable[[Notice], None] = lambda notice: None
        self.role = Role.JUDGE
        self.controller = Controller(
            self.config,
            store=self.store,
            evidence=self.evidence,
            sinks=[self.sink],
            endpoints=self.endpoints,
            router=self.router,
            clock=self.clock,
            store_timeout_s=STORE_TIMEOUT_S,
            overrides=self.store,
            override_sinks=[self.overrides],
            post=self.post,
            announcers=[self],
            exemplars=self,
            role=lambda: self.role,
        )

    async def post(
        self, url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        """Every webhook: remembers what it is told, and does what `webhook` says."""
        self.posted.append((url, body, timeout_s))
        self.fields.append(dict(headers or {}))
        await self.webhook()

    def announce(self, notice: Notice) -> None:
        """`ports.Announcer`: remembers what it is told, and does what `on_announce` says."""
        self.announced.append(notice)
        self.on_announce(notice)

    def exemplars(self, rollout: str) -> Sequence[str]:
        """`ports.Exemplars`: one trace for each rollout."""
        return [f"trace of {rollout}"]

    @classmethod
    async def opened(cls, *rollouts: dict[str, Any]) -> Rig:
        """A rig whose controller is open, with these rollouts."""
        rig = cls(config(*rollouts))
        await rig.controller.open()
        return rig

    @classmethod
    def frozen(cls, seconds: float) -> Rig:
        """A rig, not open yet, of two phases and a freeze that ends in so many seconds."""
        clock = FakeClock()
        freeze = {
            "from": "2020-01-01T00:00:00Z",
            "until": datetime.fromtimestamp(clock.wall() + seconds, UTC).isoformat(),
        }
        return cls(config({"phases": [CANARY, HALF], "autostart": True, "freeze": [freeze]}), clock=clock)

    @staticmethod
    async def well() -> None:
        """A webhook that answers 2xx."""

    def restarted(self, *rollouts: dict[str, Any]) -> Rig:
        """A new process, not open yet, on the same store, with this configuration or the same one."""
        return Rig(config(*rollouts) if rollouts else self.config, self.store, self.clock)

    async def ask(
        self, verb: Verb, weight: int | None = None, *, rollout: str = "default", **more: Any
    ) -> RolloutState:
        """A command by tess."""
        return await self.controller.command(Command(rollout, verb, "tess", weight=weight, **more))

    async def second(self, tally: Tally | None = None, rollout: int = 0) -> None:
        """A second passes in which this happened, and then the tick."""
        self.clock.advance(1.0)
        if tally is not None:
            self.evidence.happened(tally, rollout)
        await self.controller.tick()

    def state(self, name: str = "default") -> RolloutState:
        """The state in force, which is what the sink was told last."""
        state = self.controller.report(name).state
        assert [s for s in self.sink.published if s.name == name][-1] == state
        return state

    async def stored(self, name: str = "default") -> RolloutState:
        """The state in the store."""
        return (await self.store.kept.load())[name]

    async def another_process_sets(self, weight: int, state: State = State.RUNNING) -> None:
        """A commit that this process knows nothing of."""
        before = await self.stored()
        after = replace(before, weight=weight, state=state, revision=before.revision + 1, reason="elsewhere")
        await self.store.kept.commit(Transition(before, after, "command:set", "elsewhere", "eve", at=1.0))

    async def causes(self, name: str = "default") -> list[str]:
        """The stored audit in short; everything in it must follow from what came before."""
        transitions = [t for t in await self.store.transitions() if t.after.name == name]
        require_gapless(transitions)
        return [t.cause for t in transitions]


def require_gapless(transitions: list[Transition]) -> None:
    """Each transition begins where the one before ended, and the revisions have no gaps."""
    for before, after in pairwise(transitions):
        assert after.before == before.after
    for transition in transitions:
        assert transition.after.revision - transition.before.revision == int(transition.changes_state)
