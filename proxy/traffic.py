"""What carries the requests, as the composition root sees it: a data plane here, or worker processes.

Owns the seam between the two and the control plane, and the one for a single process. It must never know what
a state means or why a configuration has changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from proxy.dataplane.plane import DataPlane
from proxy.telemetry.recorder import TallyRecorder

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from proxy.config.schema import Config, Rollout
    from proxy.core.tally import Tally
    from proxy.dataplane.ledger import Ages
    from proxy.ports import Census, Clock, Endpoints, Evidence, OverrideSink, Random, RolloutSink, Router


_OLDER: Final = 8
"""How many earlier configurations are listened to: what outlasts as many reloads goes uncounted."""


class Seen(Protocol):
    """Where the control plane reaches the traffic. The same objects for as long as the traffic lives."""

    @property
    def evidence(self) -> Evidence:
        """Drained by the controller, in the configuration's order."""

    @property
    def sinks(self) -> Sequence[RolloutSink]:
        """Where states take effect."""

    @property
    def override_sinks(self) -> Sequence[OverrideSink]:
        """Where overrides of keys take effect."""

    @property
    def endpoints(self) -> Endpoints:
        """Both backends' endpoints."""

    @property
    def router(self) -> Router:
        """Says where a request would go."""

    @property
    def census(self) -> Census:
        """Counts users."""

    @property
    def workers_alive(self) -> int:
        """How many processes serve requests."""

    @property
    def refused(self) -> Mapping[str, int]:
        """What was turned away since the start, by the reasons of `core.refusals`."""

    @property
    def tunnels(self) -> tuple[int, int]:
        """How many tunnels are open, on v1 and v2."""


class Trial(Protocol):
    """Serving beside a process that may go on after all."""

    def on_trial(self) -> None:
        """Call it before `start`: whatever serves ends if this process dies."""

    def confirm(self) -> None:
        """The other process is over: from now on workers outlive this one, as they do without a trial."""


class Traffic(Seen, Trial, Protocol):
    """Accepts on sockets that somebody else has bound, and serves what arrives."""

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen and accept. `sockets` are bound, one per worker, and the traffic's to close from now on.

        Raises `StartError`; what was begun is ended by `stop`."""

    async def replace(self, config: Config) -> None:
        """New settings for new requests; running ones finish under the old, and no connection suffers.

        What was last published stays in force for rollouts of the same name; a new name is at weight 0 until
        it is published. The order of `evidence` turns with the return of this call, nothing awaited between.
        Raises `StartError` or `ConfigError`, and has then changed nothing.
        """

    async def drain(self) -> None:
        """Stop accepting and let running requests finish, within `listen.drain_timeout`."""

    async def stop(self) -> None:
        """End everything. May be called at any time, and more than once."""

    def missing(self) -> list[str]:
        """What readiness waits for; empty when every worker accepts."""

    async def failed(self) -> None:
        """Returns never. Raises `StartError` once it is in vain to go on: workers end as they start."""


class LocalTraffic:
    """`Traffic` in this process: one data plane on one socket."""

    workers_alive = 1

    def __init__(self, config: Config, *, clock: Clock, rng: Random) -> None:
        self.evidence = SuccessiveEvidence(config.rollouts)
        self.plane = DataPlane(config, recorder=self.evidence.recorder, clock=clock, random=rng)
        self.evidence.under_way = self.plane.under_way

    def __repr__(self) -> str:
        return f"<LocalTraffic {self.plane}>"

    @property
    def sinks(self) -> Sequence[RolloutSink]:
        """The live routes."""
        return (self.plane,)

    @property
    def override_sinks(self) -> Sequence[OverrideSink]:
        """The live routes."""
        return (self.plane,)

    @property
    def endpoints(self) -> Endpoints:
        """The data plane's."""
        return self.plane

    @property
    def router(self) -> Router:
        """The live routes."""
        return self.plane

    @property
    def census(self) -> Census:
        """The live routes."""
        return self.plane

    @property
    def refused(self) -> Mapping[str, int]:
        """What the data plane has turned away."""
        return self.plane.context.refusals.counts

    @property
    def tunnels(self) -> tuple[int, int]:
        """The data plane's."""
        return self.plane.tunnels()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on all of them: more than one are left over from a process with workers."""
        await self.plane.start(sockets[0])
        for sock in sockets[1:]:
            await self.plane.listen(sock)

    def on_trial(self) -> None:
        """Nothing here outlives the process."""

    def confirm(self) -> None:
        """Nothing here outlives the process."""

    async def failed(self) -> None:
        """Nothing here can fail apart from the process itself: waits for ever."""
        await asyncio.Event().wait()

    async def listen(self, sock: socket.socket) -> None:
        """Accept on one more socket. Raises `StartError`."""
        await self.plane.listen(sock)

    def unlisten(self, sock: socket.socket) -> None:
        """Accept no more on that socket, which is closed; its connections stay."""
        self.plane.unlisten(sock)

    async def replace(self, config: Config) -> None:
        """New settings for new requests. Nothing is awaited: it happens between two callbacks."""
        recorder = TallyRecorder(len(config.rollouts))
        self.plane.replace(config, recorder)
        self.evidence.succeed(config.rollouts, recorder)

    async def drain(self) -> None:
        """Let what runs finish."""
        await self.plane.drain()

    async def stop(self) -> None:
        """Cut what is left."""
        await self.plane.stop()

    def missing(self) -> list[str]:
        """The listener, until it accepts."""
        return [] if self.plane.accepting else ["listener"]


class SuccessiveEvidence:
    """`ports.Evidence` over reloads: each configuration has its own recorder, because a request that began
    under an older one writes under that one's numbering.

    What is written late counts for the rollout of that name if its table is still the same, else for none: it
    tells of something that is no longer judged.
    """

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        self.recorder = TallyRecorder(len(rollouts))
        self.under_way: Callable[[], Ages] = dict
        self._rollouts = tuple(rollouts)
        self._older: list[_Older] = []

    def __repr__(self) -> str:
        return f"SuccessiveEvidence({self.recorder!r}, {len(self._older)} older)"

    def succeed(self, rollouts: Sequence[Rollout], recorder: TallyRecorder) -> None:
        """From now on it is this recorder, for these rollouts."""
        places = {rollout.name: place for place, rollout in enumerate(rollouts)}
        moved = [places.get(rollout.name, -1) for rollout in self._rollouts]
        goes = [
            place if place >= 0 and rollouts[place] == before else -1
            for place, before in zip(moved, self._rollouts, strict=True)
        ]
        older = [
            _Older(one.recorder, [goes[at] if at >= 0 else -1 for at in one.goes]) for one in self._older
        ]
        self._older = [*older, _Older(self.recorder, goes)][-_OLDER:]
        self._rollouts = tuple(rollouts)
        self.recorder = recorder

    def late(self) -> Sequence[Tally]:
        """Nothing: what is counted here is here."""
        return ()

    def drain(self) -> Sequence[Tally]:
        """The tallies since the last call, in the present configuration's order, and the ages of what is
        under way now."""
        drained = self.recorder.drain()
        for older in self._older:
            for place, late in zip(older.goes, older.recorder.drain(), strict=True):
                if place >= 0:
                    drained[place].add(late)
        for place, (on_v1, on_v2) in self.under_way().items():
            drained[place].in_flight_v1, drained[place].in_flight_v2 = on_v1, on_v2
        return drained


@dataclass(frozen=True, slots=True)
class _Older:
    """The recorder of an earlier configuration; per rollout of it the place of the same one now, or -1."""

    recorder: TallyRecorder
    goes: Sequence[int]
