"""What carries the requests, as the composition root sees it: a data plane here, or worker processes.

Owns the seam between the two and the control plane, and the one for a single process. It must never know what
a state means or why a configuration has changed.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.delta import Load
from proxy.core.series import SeriesTable
from proxy.dataplane.observing import Watch
from proxy.dataplane.plane import DataPlane
from proxy.telemetry.access_log import access_log
from proxy.telemetry.counters import Counters
from proxy.telemetry.log_writer import Writers
from proxy.telemetry.meters import Meters
from proxy.telemetry.observing import Observers, wanted
from proxy.telemetry.recorder import TallyRecorder
from proxy.telemetry.tracing import tracing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from proxy.config.schema import Config, Rollout
    from proxy.core.tally import Tally
    from proxy.dataplane.ledger import Ages
    from proxy.ports import Census, Clock, Endpoints, Evidence, OverrideSink, Random, RolloutSink, Router


HERE: Final = "main"
"""The name of the process that decides."""
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

    @property
    def measured(self) -> SeriesTable:
        """How long requests and attempts took since the start."""

    @property
    def processes(self) -> Mapping[str, tuple[int, Load]]:
        """Those that serve requests, by name: their ids, and how busy each is."""

    @property
    def telemetry(self) -> Counters:
        """What the telemetry of these processes has sent and dropped."""

    def exemplars(self, rollout: str) -> Sequence[str]:
        """As `ports.Exemplars`."""

    def drain_cache(self) -> tuple[int, int]:
        """Cache hits of v2, and its answers that told, since the last call."""


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

    def reopen_logs(self) -> None:
        """Have the files of the log opened anew by whatever serves: somebody has moved them."""

    def missing(self) -> list[str]:
        """What readiness waits for; empty when every worker accepts."""

    async def failed(self) -> None:
        """Returns never. Raises `StartError` once it is in vain to go on: workers end as they start."""


class LocalTraffic:
    """`Traffic` in this process: one data plane on one socket."""

    workers_alive = 1

    def __init__(self, config: Config, *, clock: Clock, rng: Random, writers: Writers | None = None) -> None:
        self.evidence = SuccessiveEvidence(config.rollouts)
        self.telemetry = Counters()
        self.writers = Writers() if writers is None else writers
        self.writers.count = self.telemetry.count
        self.meters = Meters(_names(config))
        self._measured = SeriesTable(config.telemetry.metrics.max_series)
        self.plane = DataPlane(
            config,
            recorder=self.evidence.recorder,
            clock=clock,
            random=rng,
            meter=self.meters.numbered,
        )
        self.evidence.under_way = self.plane.under_way
        self._clock = clock
        self._tracing = tracing(config, self.telemetry.count)
        self.observers = Observers()
        self._observe(config)

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

    @property
    def measured(self) -> SeriesTable:
        """What the meters have counted, by now."""
        while drained := self.meters.drain():
            self._measured.add(drained)
        self._measured.see(self.meters.sightings())
        return self._measured

    def exemplars(self, rollout: str) -> Sequence[str]:
        """Of what the meters have seen by now."""
        return self.measured.exemplars(rollout)

    def drain_cache(self) -> tuple[int, int]:
        """What v2's answers have told, if a field of theirs is named."""
        caches = self.plane.context.v2.caches
        return (0, 0) if caches is None else caches.drain()

    @property
    def processes(self) -> Mapping[str, tuple[int, Load]]:
        """This one."""
        context = self.plane.context
        load = Load(len(context.connections), len(context.active), self.plane.lag_s)
        return {HERE: (os.getpid(), load)}

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
        sending = tracing(config, self.telemetry.count, self._tracing)
        recorder = TallyRecorder(len(config.rollouts))
        self.plane.replace(config, recorder, self.meters.successor(_names(config)))
        if self._tracing is not None and sending is not self._tracing:
            self._tracing.export.leave()
        self._tracing = sending
        self.evidence.succeed(config.rollouts, recorder)
        self.meters.forget_all_but(_names(config))
        self._measured.follow(config.telemetry.metrics.max_series, _names(config))
        self._observe(config)

    def _observe(self, config: Config) -> None:
        """From now on requests are seen as this configuration says."""
        log = access_log(config, self.writers)
        who = (self.meters, self._tracing, log)
        self.observers.observers = tuple([one for one in who if one is not None])
        seen = wanted(config)
        self.plane.be_watched(None if seen is None else Watch(seen, self.observers, self._clock))

    async def drain(self) -> None:
        """Let what runs finish, and send what was seen of it."""
        await self.plane.drain()
        await self._send_the_last()

    async def stop(self) -> None:
        """Cut what is left."""
        await self.plane.stop()
        await self._send_the_last()

    async def _send_the_last(self) -> None:
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.export.close)

    def reopen_logs(self) -> None:
        """Here they are the process's own."""
        self.writers.reopen()

    def missing(self) -> list[str]:
        """The listener, until it accepts."""
        return [] if self.plane.accepting else ["listener"]


def _names(config: Config) -> list[str]:
    return [rollout.name for rollout in config.rollouts]


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
