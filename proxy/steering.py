"""What decides, as one part that can be let go and taken up again: controller, admin, probes, ticks.

Owns the order in which these begin and end. Must never know a request, nor why the process begins or ends.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.admin.archive import Archive
from proxy.admin.site import AdminSite
from proxy.controlplane.announcing import Announcers
from proxy.controlplane.controller import Controller
from proxy.controlplane.health import Prober
from proxy.controlplane.machine import MachineWatch
from proxy.controlplane.minutes import MinuteKeeper
from proxy.controlplane.reports import Reporter, VitalSigns, asks_machine
from proxy.controlplane.ticker import Ticker
from proxy.controlplane.trimmer import Trimmer
from proxy.controlplane.webhook import Webhooks
from proxy.joining import Joining, ground
from proxy.summing_up import SummingUp
from proxy.telemetry.alerts.desk import AlertDesk
from proxy.telemetry.decision_traces import decision_traces

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from proxy.admin.application import Surroundings
    from proxy.config.schema import Config
    from proxy.controlplane.overrides import OverrideChange
    from proxy.core.alert_book import Handed
    from proxy.core.members import FleetReport
    from proxy.model import RolloutState
    from proxy.ports import Post
    from proxy.traffic import Traffic

log = logging.getLogger("dualpath")


class Relay:
    """A `RolloutSink` that tells whoever listens; nobody at first."""

    def __init__(self) -> None:
        self.listener: Callable[[RolloutState], None] | None = None

    def publish(self, state: RolloutState) -> None:
        """Pass `state` on."""
        if self.listener is not None:
            self.listener(state)

    def __repr__(self) -> str:
        return f"Relay({'heard' if self.listener else 'unheard'})"


class Steering:
    """The control plane of one process and its admin.

    `open`, then `receive` (people) and `begin` (judging) in the order that suits, at last `end`. In between
    `replace` takes another configuration, and `let_go` and `take_up` hand over to another process and back.
    """

    def __init__(
        self,
        config: Config,
        traffic: Traffic,
        around: Surroundings,
        announcers: Announcers | None = None,
        joining: Joining | None = None,
    ) -> None:
        self.config = config
        self.announcers = Announcers() if announcers is None else announcers
        self._desk = AlertDesk(around.instance, around.clock, traffic.telemetry.count)
        self._desk.follow(self._desk.prepare(config, _post(config)))
        self._traces = decision_traces(config, traffic.telemetry.count, lambda: traffic.measured)
        self._others = (*self.announcers.listeners, self._desk)
        self._listen()
        self.relay = Relay()
        self._ground = ground(config, traffic.evidence, around.clock, lambda: self.controller, joining)
        self._fleet = self._ground.fleet
        around = replace(around, clock=self._ground.clock)
        self._vitals = VitalSigns(around.clock, traffic.drain_cache)
        self._machine = MachineWatch(around.clock)
        self.controller = Controller(
            config,
            store=self._ground.store,
            evidence=self._ground.evidence,
            sinks=[*traffic.sinks, self.relay],
            endpoints=traffic.endpoints,
            router=traffic.router,
            clock=around.clock,
            overrides=self._ground.overrides,
            role=self._ground.role,
            override_sinks=traffic.override_sinks,
            census=traffic.census,
            vitals=self._vitals,
            announcers=[self.announcers],
            machine=self._machine,
            exemplars=traffic,
            history=self._ground.history,
        )
        self.is_open = False
        self._has_let_go = False
        self._traffic = traffic
        self._around = self._with_what_is_shown(around)
        self._admin: AdminSite | None = None
        self._ticker: Ticker | None = None
        self._keeper: MinuteKeeper | None = None
        self._probing = AsyncExitStack()
        self._summing_up = SummingUp(config, self.controller, traffic, around.clock)

    def __repr__(self) -> str:
        return f"<Steering {self.controller!r} {self._admin!r} {self._ticker!r}>"

    def _with_what_is_shown(self, around: Surroundings) -> Surroundings:
        return replace(
            around,
            archive=Archive(self._ground.trail, self._ground.minutes, is_local=self._ground.is_history_local),
            alerting=self._desk,
            fleet=None if self._fleet is None else self._fleet.report,
        )

    def _listen(self) -> None:
        """From now on these are told what is decided."""
        self.announcers.listeners = (*self._others, *([] if self._traces is None else [self._traces]))

    def fleet_report(self) -> FleetReport | None:
        """The fleet as it is seen from here; None without one."""
        return None if self._fleet is None else self._fleet.report()

    async def open(self) -> None:
        """The stored weights are in force from here on; nothing is decided yet. Raises as the store does."""
        await (self.controller if self._fleet is None else self._fleet).open()
        self.is_open = True

    async def open_beside(
        self, handed: Iterable[RolloutState], overrides: Iterable[OverrideChange] = ()
    ) -> None:
        """As `open`, by what is in force in the process that still decides, and nothing is written."""
        await self.controller.open_beside(handed, overrides)
        self.is_open = True

    async def receive(self, sock: socket.socket) -> None:
        """Answer people on `sock`, which stays the caller's. Raises `StartError`."""
        self._admin = AdminSite(self.config, self.controller, self._around)
        await self._admin.start(sock)

    async def begin(self) -> None:
        """Probe and judge."""
        if self._fleet is not None:
            await self._fleet.begin()
        await self._probe()
        self._machine.follow(self.config)
        self._ticker = Ticker(self.controller, self.config)
        await self._ticker.__aenter__()
        self._keeper = MinuteKeeper(
            self._ground.minutes,
            self.controller.minutes,
            self.controller.watches,
            self._around.clock,
            self.config.store.retention_s,
            also=self._trimmer().look,
        )
        await self._keeper.__aenter__()
        await self._summing_up.__aenter__()

    def _trimmer(self) -> Trimmer:
        storage, ground = self._ground.storage, self._ground
        return Trimmer(
            storage.trail,
            storage.trimming,
            ground.clock,
            ground.role,
            lambda: self.config.store.audit_retention_s,
        )

    async def _keep_minutes_no_more(self) -> None:
        await self._summing_up.__aexit__()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self.controller.look()
            await keeper.__aexit__(None, None, None)

    async def _probe(self) -> None:
        await self._probing.aclose()
        prober = Prober(self.config.backends, self._traffic.endpoints)
        await self._probing.enter_async_context(prober)
        await self._probing.enter_async_context(Reporter(self.config, self._vitals))

    async def replace(self, config: Config) -> None:
        """Decide and answer by `config`. Raises as `Controller.replace` does, or `ConfigError`, with nothing
        changed."""
        # In a thread: it imports a user's own code, which may take its time, and deciding goes on meanwhile.
        sending = await asyncio.to_thread(self._desk.prepare, config, _post(config))
        telemetry = self._traffic.telemetry
        traces = decision_traces(config, telemetry.count, lambda: self._traffic.measured, self._traces)
        await self.controller.replace(config, self._ground.following(self._traffic.replace))
        probed_otherwise = config.backends != self.config.backends
        probed_otherwise = probed_otherwise or asks_machine(config) is not asks_machine(self.config)
        self.config = config
        self._desk.follow(sending)
        if self._traces is not None and traces is not self._traces:
            self._traces.export.leave()
        self._traces = traces
        self._listen()
        if self._admin is not None:
            self._admin.follow(config)
        if self._ticker is not None:
            self._ticker.follow(config)
            self._machine.follow(config)
        self._summing_up.follow(config)
        if self._keeper is not None:
            self._keeper.retention_s = config.store.retention_s
        if probed_otherwise:
            await self._probe()

    # ... to another process, and back

    async def let_go(self) -> list[RolloutState]:
        """Decide nothing more, and give what is in force. Whoever has reached the admin is answered."""
        self._has_let_go = True
        await self._quiet()
        return await self.controller.hand_over()

    def alerts(self) -> Handed:
        """What lasts, and people's silences, for the process that decides from now on."""
        return self._desk.hand_over()

    def adopt(self, handed: Handed) -> None:
        """Go on with what was alerted by the process that decided before."""
        self._desk.adopt(handed)

    async def take_up(self, sock: socket.socket) -> None:
        """Decide again after all, if that was let go."""
        if not self._has_let_go:
            return
        self._has_let_go = False
        self._desk.take_back()
        await self.controller.take_back()
        await self.receive(sock)
        await self.begin()

    async def _quiet(self) -> None:
        ticker, self._ticker = self._ticker, None
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.leave()
        if ticker is not None:
            await ticker.__aexit__(None, None, None)
        await self._keep_minutes_no_more()
        if self._fleet is not None:
            await self._fleet.end()
        await self._probing.aclose()
        await self._machine.close()

    # ... the end

    async def end(self) -> None:
        """Let everything go, the store last."""
        ticker, self._ticker = self._ticker, None
        admin, self._admin = self._admin, None
        if ticker is not None:
            await ticker.__aexit__(None, None, None)
        await self._keep_minutes_no_more()
        await self._probing.aclose()
        await self._machine.close()
        if admin is not None:
            await admin.stop()
        if self._fleet is not None:
            await self._fleet.end()
        if self.is_open:
            self.is_open = False
            await self.controller.close()
        await self._desk.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.export.close)


def _post(config: Config) -> Post:
    """How alerts are POSTed: with the care that every webhook takes."""
    return Webhooks(config.webhooks.allow_networks).post
