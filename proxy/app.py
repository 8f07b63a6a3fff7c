"""The composition root: builds every part, starts them in order, stops them in the opposite one.

Owns which implementation stands behind each port, and the parts of one process. It holds no logic of its own:
what a request or a decision goes through is the data plane's and the control plane's affair.
"""

from __future__ import annotations

import logging
import random
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from proxy.admin.application import Loaded, Surroundings
from proxy.clock import SystemClock
from proxy.closing_socket import numbers_of
from proxy.config.workers import resolved
from proxy.controlplane.announcing import Announcers
from proxy.controlplane.fleet import About
from proxy.core.peers import Identity
from proxy.joining import AgreedDigest, Joining
from proxy.listening import Inherited, Listeners, bound_at, listeners, written_address
from proxy.pushing import Pushing
from proxy.rendezvous import Rendezvous, path_of, supervised
from proxy.scraping import Scraping
from proxy.steering import Steering
from proxy.supervisor import Crew
from proxy.takeover import Link, Predecessor
from proxy.traffic import LocalTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller
    from proxy.controlplane.overrides import OverrideChange
    from proxy.core.alert_book import Handed
    from proxy.model import Path, RolloutState
    from proxy.ports import Clock, Random
    from proxy.telemetry.log_writer import Writers
    from proxy.traffic import Traffic

log = logging.getLogger("dualpath")


class Proxy:
    """One running dualpath: traffic, steering, and the sockets of both.

    `listen_address` and `admin_address` are (host, port) as bound, once `start` has returned. `start` raises
    `DualpathError` and leaves nothing behind; `stop` may be called at any time and more than once. It is the
    `takeover.Office` too: deciding can be let go and taken up again.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        rng: Random | None = None,
        writers: Writers | None = None,
    ) -> None:
        clock = SystemClock() if clock is None else clock
        # For identifiers and the choice of endpoints, which need to be spread, not secret.
        rng = random.Random() if rng is None else rng  # noqa: S311
        self.listeners = Listeners("", "")
        self.listen_address = ("", 0)
        self.admin_address = ("", 0)
        loaded = Loaded(clock.wall())
        self.loaded: Callable[[], Loaded] = lambda: loaded
        self._workers = resolved(config.listen.workers)
        announcers = Announcers()
        self.traffic: Traffic = (
            LocalTraffic(config, clock=clock, rng=rng, writers=writers)
            if self._workers == 1
            else Crew(config, clock=clock, rng=rng, workers=self._workers, announcer=announcers)
        )
        if writers is not None:
            writers.count = self.traffic.telemetry.count
        instance = config.fleet.instance or socket.gethostname()
        around = Surroundings(
            instance=instance,
            ready=self.missing,
            clock=clock,
            workers=lambda: self.traffic.workers_alive,
            refused=lambda: self.traffic.refused,
            tunnels=lambda: self.traffic.tunnels,
            loaded=lambda: self.loaded(),
            metrics=lambda accept: self.scraping.text(accept),
        )
        self._agreed = AgreedDigest()
        about = About(
            lambda: config.fleet.advertise or written_address(self.admin_address),
            lambda: self.traffic.workers_alive,
            lambda: self._agreed(self.config),
        )
        joining = Joining(Identity(instance, f"{rng.getrandbits(48):012x}"), about, rng)
        self.steering = Steering(config, self.traffic, around, announcers, joining)
        self.scraping = Scraping(self.steering, self.traffic, around)
        self._pushing = Pushing(self.scraping, lambda: self.config.telemetry, clock, self.traffic.telemetry)
        self._accepts = False
        self._predecessor: Predecessor | None = None
        self._rendezvous: Rendezvous | None = None
        self._running = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Proxy listen={self.listen_address} admin={self.admin_address} {self.traffic}>"

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.steering.config

    @property
    def controller(self) -> Controller:
        """Where commands go."""
        return self.steering.controller

    # ... start ...

    async def start(self, came: Inherited | None = None) -> None:
        """Addresses first, because a start that fails must not have written anything; then the store, so that
        the stored weight is in force before the first client; then it serves.

        `came` is what the process before, or systemd, has passed on.
        """
        came = Inherited() if came is None else came
        try:
            self.listeners = listeners(self.config, self._workers, came, orphaned)
            self._running.callback(self.listeners.close)
            self._running.push_async_callback(self.steering.end)
            if came.link is None:
                await self._start_alone()
            else:
                await self._start_after(Predecessor(await Link.over(came.link)))
            await self._accept_visitors()
        except BaseException:
            if self._accepts:  # beside a process that goes on: whoever has come here is served to the end
                await self.drain()
            await self.stop()
            raise

    async def _start_alone(self) -> None:
        await self._be_found()
        await self.steering.open()
        await self.steering.receive(self.listeners.administering[0])
        await self._serve()
        await self.steering.begin()

    async def _start_after(self, before: Predecessor) -> None:
        """Serve first, by what the process before has in force; decide only once it has let go."""
        self._running.callback(before.close)
        self.traffic.on_trial()
        await self.steering.open_beside(await before.states(), before.overrides)
        for path, url in before.unhealthy:
            if self.config.backends.of(path).health is not None:
                self.traffic.endpoints.set_health(path, url, healthy=False)
        await self._serve()
        last = await before.relieve(self.controller.follow)
        self.steering.adopt(before.alerts)
        if self._workers == 1:
            await self._be_found()
        await self.controller.catch_up(last, before.overrides)
        await self.steering.receive(self.listeners.administering[0])
        await self.steering.begin()
        self._predecessor = before

    def dismiss_predecessor(self) -> None:
        """Tell the process before, if there is one, that it may go. Until then it may have to end this one,
        and then nothing of it may stay."""
        if self._predecessor is not None:
            self.traffic.confirm()
            self._predecessor.dismiss()

    async def _be_found(self) -> None:
        """By a second process on this address, which ends then, and by workers that a killed one has left;
        they are sent home once others accept."""
        self._rendezvous = Rendezvous(self.listeners.serving[0].getsockname()[:2])
        self._running.push_async_callback(self._rendezvous.close)
        await self._rendezvous.open()

    async def _accept_visitors(self) -> None:
        if self._rendezvous is None:
            return
        if self._workers == 1:
            self._rendezvous.release(numbers_of(self.listeners.serving))
        else:  # a crew has its own by now
            await self._rendezvous.close()

    async def _serve(self) -> None:
        self._running.push_async_callback(self.traffic.stop)
        self._accepts = True  # a part of it may, even if it cannot start as a whole
        await self.traffic.start([sock.dup() for sock in self.listeners.serving])
        await self._running.enter_async_context(self._pushing)
        self.listen_address = self.listeners.serving[0].getsockname()[:2]
        self.admin_address = bound_at(self.listeners.administering[0])

    def missing(self) -> list[str]:
        """What readiness still waits for; empty when ready."""
        return [*([] if self.steering.is_open else ["store"]), *self.traffic.missing()]

    # ... the end ...

    async def drain(self) -> None:
        """Stops accepting and lets running requests finish, within `listen.drain_timeout`."""
        for sock in self.listeners.serving:
            sock.close()
        await self.traffic.drain()

    async def stop(self) -> None:
        """Ends everything that `start` began, last first."""
        await self._running.aclose()

    # ... takeover.Office ...

    def states(self) -> Sequence[RolloutState]:
        """What is in force."""
        return self.controller.states()

    def overrides(self) -> Sequence[OverrideChange]:
        """What waits for the store."""
        return self.controller.unwritten_overrides()

    def alerts(self) -> Handed:
        """What lasts, and people's silences."""
        return self.steering.alerts()

    def unhealthy(self) -> Sequence[tuple[Path, str]]:
        """The endpoints that the probes found ill."""
        return [(one.path, one.url) for one in self.traffic.endpoints.statuses() if not one.healthy]

    def relay(self, listener: Callable[[RolloutState], None] | None) -> None:
        """From now on `listener` is told of what comes into force."""
        self.steering.relay.listener = listener

    async def let_go(self) -> Sequence[RolloutState]:
        """Decide nothing more; the last states."""
        return await self.steering.let_go()

    async def take_up(self) -> None:
        """There is no successor after all: decide again."""
        await self.steering.take_up(self.listeners.administering[0])


def orphaned(address: tuple[str, int]) -> bool:
    """Whether the processes that hold this address are workers whose supervisor was killed."""
    try:
        return path_of(address).exists() and not supervised(address)
    except OSError:
        return False
