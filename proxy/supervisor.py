"""The supervisor's side of the workers: starts them, keeps them running, passes on what both sides say.

Owns the life of the worker processes. What their reports amount to is `crew_view`'s affair, when one is
started again `core.restarts`'. It must never know a request, nor why a state is what it is.

Each worker has a socket pair to us and its place, that is, its own listening socket. It inherits the others'
too: while a sibling is down, it accepts for it. A worker that cannot be talked to keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from proxy.closing_socket import numbers_of
from proxy.config.logs import is_on_stdout
from proxy.core.delta import read
from proxy.core.notice import of_worker
from proxy.core.restarts import PROVEN_S, Restarts
from proxy.crew_view import CrewView, SeenThroughView
from proxy.errors import StartError, WireError
from proxy.hand import Hand, hired
from proxy.rendezvous import Rendezvous

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Mapping, Sequence

    from proxy.config.schema import Config
    from proxy.core.delta import Load
    from proxy.core.notice import Notice
    from proxy.orders import Frame
    from proxy.ports import Announcer, Clock, Random

log = logging.getLogger("dualpath")

_START_S: Final = 60.0
_ANSWER_S: Final = 1.5  # what a worker that has started does within milliseconds
_BYTES_PER_S: Final = 4 << 20  # but lists of a million users: it reads them six times as fast
_GRACE_S: Final = 2.0
_LOOK_S: Final = 1.0
_SILENT_S: Final = 3.0  # a dozen reports


class Crew(SeenThroughView):
    """`traffic.Traffic` by `workers` processes."""

    def __init__(
        self, config: Config, *, clock: Clock, rng: Random, workers: int, announcer: Announcer | None = None
    ) -> None:
        super().__init__(CrewView(config, self._tell))
        self._config = config
        self._clock = clock
        self._rng = rng
        self._announcer = announcer
        self._falling: set[int] = set()  # places whose workers do not stay up, as was announced
        self._present: list[Hand | None] = [None] * workers
        self._leaving: set[Hand] = set()
        self._stood_in: set[int] = set()  # places whose sockets the siblings accept on
        self._asking: set[asyncio.Task[None]] = set()
        self._is_on_trial = False
        self._sockets: list[socket.socket] = []
        self._rendezvous: Rendezvous | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()
        self._news = asyncio.Event()  # a worker accepts, or all is in vain
        self._in_vain = ""

    def __repr__(self) -> str:
        return f"<Crew {self.workers_alive} of {len(self._present)} {self._view}>"

    # ... traffic.Seen, the rest of it

    @property
    def workers_alive(self) -> int:
        """How many workers accept."""
        return sum(hand is not None and hand.accepts for hand in self._present)

    @property
    def processes(self) -> Mapping[str, tuple[int, Load]]:
        """The workers' process ids, and how busy each is. Those that leave are not among them."""
        present = {f"worker-{place}": hand for place, hand in enumerate(self._present) if hand is not None}
        return {name: (hand.pid, self._view.load(hand.source)) for name, hand in present.items()}

    def missing(self) -> list[str]:
        """The workers that do not accept."""
        return [
            f"worker {place}"
            for place, hand in enumerate(self._present)
            if self._ending.is_set() or hand is None or not hand.accepts
        ]

    # ... start

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Start all workers, each on its socket, and wait until they accept. Raises `StartError`.

        Sockets beyond the number of workers, from a predecessor that had more, are dealt out among them.
        """
        if len(sockets) < len(self._present):
            raise StartError(f"{len(self._present)} workers need as many sockets, not {len(sockets)}")
        self._view.check(self._config, len(self._present))
        self._sockets = list(sockets)
        self._rendezvous = Rendezvous(sockets[0].getsockname()[:2])
        await self._rendezvous.open()
        self._keeping = [
            asyncio.create_task(self._keep(place), name=f"worker {place}")
            for place in range(len(self._present))
        ]
        self._keeping.append(asyncio.create_task(self._notice_silence(), name="silence"))
        try:
            async with asyncio.timeout(_START_S):
                while self.missing() and not self._in_vain:
                    await self._next_news()
        except TimeoutError:
            self._give_up(f"{', '.join(self.missing())}: not ready after {_START_S:g} s")
        if self._in_vain:
            raise StartError(self._in_vain)
        self._rendezvous.release(numbers_of(self._sockets))

    def on_trial(self) -> None:
        """Before `start`: somebody else still decides, and serves. Workers end with us until `confirm`."""
        self._is_on_trial = True

    def confirm(self) -> None:
        """We decide from now on: the workers outlive us."""
        self._is_on_trial = False
        self._tell({"kind": "confirm"}, "confirm")

    async def failed(self) -> None:
        """Never returns. Raises `StartError` once a worker cannot be kept running."""
        while not self._in_vain:
            await self._next_news()
        raise StartError(self._in_vain)

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    # ... one place

    async def _keep(self, place: int) -> None:
        """Have a worker at `place` for as long as we run."""
        restarts = Restarts(self._rng)
        try:
            while not self._ending.is_set():
                up_s, end = await self._one_life(place)
                if self._ending.is_set() or end is None:
                    continue
                now = self._clock.monotonic()
                wait_s = restarts.crashed(now, up_s, others_run=self._has_proven(now))
                if wait_s != 0.0:
                    self._announce_fall(place, end, wait_s)
                if wait_s is None:
                    return self._give_up(f"worker {place} does not stay up; the last time it {end}")
                log.error("worker %d %s; starting it again in %.1f s", place, end, wait_s)
                await asyncio.sleep(wait_s)
        except Exception:
            log.exception("worker %d", place)
            self._give_up(f"worker {place} cannot be kept")

    def _announce_fall(self, place: int, end: str, wait_s: float | None) -> None:
        """A worker falls again and again: one crash may be an accident, and is only logged."""
        self._falling.add(place)
        done = "it is given up" if wait_s is None else f"it is started again in {wait_s:.1f} s"
        self._announce(
            of_worker(f"worker {place}", f"worker {place} {end}, again; {done}", self._clock.wall())
        )

    def _announce_stand(self, place: int, hand: Hand) -> None:
        """One that had fallen again and again has been up for long enough."""
        if hand.accepts and self._clock.monotonic() - hand.ready_at >= PROVEN_S:
            self._falling.discard(place)
            worker, at = f"worker {place}", self._clock.wall()
            self._announce(of_worker(worker, f"{worker} has been up for {PROVEN_S:g} s", at, resolved=True))

    def _announce(self, notice: Notice) -> None:
        if self._announcer is not None:
            self._announcer.announce(notice)

    def _has_proven(self, now: float) -> bool:
        """Whether any worker runs well."""
        return any(hand and hand.accepts and now - hand.ready_at >= PROVEN_S for hand in self._present)

    async def _one_life(self, place: int) -> tuple[float, str | None]:
        """A worker from start to end: for how many seconds it accepted, and how it ended if not by order."""
        try:
            address, speaks = self._sockets[0].getsockname(), is_on_stdout(self._config.log)
            hand = await hired(self._sockets, address, speaks)
        except OSError as error:
            return 0.0, f"could not be started: {error}"
        self._present[place] = hand
        hand.heard_at = self._clock.monotonic()
        self._instruct(hand, place)
        try:
            async for frame in hand.frames():
                match frame["kind"]:
                    case "ready":
                        hand.is_ready = True
                        self._news.set()
                        hand.ready_at = hand.heard_at = self._clock.monotonic()
                        self._stand_in(place, "release")
                    case "leaving":
                        # It drains by itself; its successor starts now.
                        self._present[place] = None
                        self._see_off(hand)
                        self._stand_in(place, "adopt")
                        return 0.0, None
                    case _:
                        self._hear(hand, frame)
        except (WireError, KeyError) as error:
            log.error("worker %d is not understood and is ended: %s", place, error)
            hand.kill()
        up_s = self._clock.monotonic() - hand.ready_at if hand.is_ready else 0.0
        hand.is_ready = False
        if not self._ending.is_set():
            self._stand_in(place, "adopt")
        end = await hand.ended_within(_GRACE_S)
        await hand.dismissed()
        self._view.gone(hand.source)
        if self._present[place] is hand:
            self._present[place] = None
        return up_s, end

    def _instruct(self, hand: Hand, place: int) -> None:
        """What a worker that begins must know."""
        hand.outbox.put(self._first_order(place))
        for other in sorted(self._stood_in - {place}):
            hand.outbox.put({"kind": "adopt", "sockets": self._owned(other)}, f"place {other}")

    def _first_order(self, place: int) -> Frame:
        return {
            **self._view.serve_frame(self._config, len(self._present)),
            "on_trial": self._is_on_trial,
            "place": place,
            "own": self._owned(place),
            "sockets": [sock.fileno() for sock in self._sockets],
            "rendezvous": self._rendezvous.place if self._rendezvous is not None else "",
        }

    async def _notice_silence(self) -> None:
        """A worker that stands still, stopped or starved, stays; its siblings accept for it meanwhile. One
        that does so before it accepts is of no use to anybody."""
        while True:
            looked_at = self._clock.monotonic()
            await asyncio.sleep(_LOOK_S)
            if self._clock.monotonic() - looked_at > 2 * _LOOK_S:
                continue  # it was us who stood still: what they have said meanwhile is still to be heard
            for place, hand in enumerate(self._present):
                if hand is not None:
                    self._look_at(place, hand)

    def _look_at(self, place: int, hand: Hand) -> None:
        unheard_s = self._clock.monotonic() - hand.heard_at
        if not hand.is_ready:
            if unheard_s > _START_S:
                log.error("worker %d does not accept after %g s: it is ended", place, _START_S)
                hand.kill()
            return
        silent = unheard_s > _SILENT_S
        if silent is not hand.is_silent:
            hand.is_silent = silent
            log.warning("worker %d %s", place, "is silent" if silent else "reports again")
            self._stand_in(place, "adopt" if silent else "release")
        if place in self._falling:
            self._announce_stand(place, hand)

    def _owned(self, place: int) -> list[int]:
        return list(range(place, len(self._sockets), len(self._present)))

    def _stand_in(self, place: int, kind: str) -> None:
        """Have the siblings `adopt` the sockets of a place, or `release` them."""
        if kind == "adopt":
            self._stood_in.add(place)
        else:
            self._stood_in.discard(place)
        frame = {"kind": kind, "sockets": self._owned(place)}
        for hand in self._hands:
            if hand is not self._present[place]:
                hand.outbox.put(frame, f"place {place}")

    def _hear(self, hand: Hand, frame: Frame) -> None:
        """Raises `WireError`."""
        if frame["kind"] != "report":
            hand.answered(frame)
            return
        delta = read(frame["report"])
        hand.source = delta.source
        hand.heard_at = self._clock.monotonic()
        self._view.take(delta)

    def _see_off(self, hand: Hand) -> None:
        async def listen_to_the_end() -> None:
            with contextlib.suppress(WireError, KeyError):
                async for frame in hand.frames():
                    self._hear(hand, frame)
            await hand.ended_within(_GRACE_S)
            await hand.dismissed()
            self._view.gone(hand.source)
            self._leaving.discard(hand)

        self._leaving.add(hand)
        hand.farewell = asyncio.create_task(listen_to_the_end())

    def _give_up(self, why: str) -> None:
        self._in_vain = self._in_vain or why
        self._news.set()

    # ... all of them

    @property
    def _hands(self) -> list[Hand]:
        return [*(hand for hand in self._present if hand is not None), *self._leaving]

    def _tell(self, frame: Frame, topic: str) -> None:
        for hand in self._hands:
            hand.outbox.put(frame, topic)

    async def replace(self, config: Config) -> None:
        """A new configuration in every worker; one that does not take it in time is started anew with it.

        Nobody waits for those that are silent, nor for those that only begin. Raises `StartError` for one
        that no worker can be told, and has then changed nothing.
        """
        size = self._view.check(config, len(self._present))
        self._config = config
        frame = self._view.replace_frame(config, len(self._present))
        within_s = _ANSWER_S + size / _BYTES_PER_S
        waiting = []
        for hand in self._hands:
            if hand in self._leaving:
                hand.outbox.put(frame)
            elif hand.is_silent:
                log.error("%s is silent: it is ended, and started anew with the new configuration", hand)
                hand.kill()
            elif hand.is_ready:
                waiting.append(self._replace_one(hand, frame, within_s))
            else:
                self._ask_aside(self._replace_one(hand, frame, _START_S))
        await asyncio.gather(*waiting)
        self._view.replace(config)

    def _ask_aside(self, asking: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _replace_one(self, hand: Hand, frame: Frame, within_s: float) -> None:
        answer = await hand.ask(frame, within_s)
        if answer is None or answer["kind"] == "refused":
            log.error("%s does not take the new configuration: it is ended", hand)
            hand.kill()

    def reopen_logs(self) -> None:
        """Have every worker open the files of the log anew."""
        self._tell({"kind": "reopen"}, "reopen")

    async def drain(self) -> None:
        """Stop accepting and let running requests finish, within `listen.drain_timeout`."""
        self._ending.set()
        # Whoever closes a socket last throws away what its queue holds: that must be its own worker, which
        # accepts the rest first. So all others let go of it before.
        await asyncio.gather(*(hand.ask({"kind": "alone"}, _GRACE_S) for hand in self._hands))
        self._close_sockets()
        for hand in self._hands:
            hand.outbox.put({"kind": "drain"})
        ending = [asyncio.create_task(hand.gone()) for hand in self._hands]
        if ending:
            await asyncio.wait(ending, timeout=self._config.listen.drain_timeout_s + _GRACE_S)
        for task in ending:
            task.cancel()

    async def stop(self) -> None:
        """End every worker now."""
        self._ending.set()
        if self._rendezvous is not None:
            await self._rendezvous.close()
        self._close_sockets()
        tasks = [*self._keeping, *self._asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(hand.dismissed() for hand in self._hands))
        self._present = [None] * len(self._present)
        self._leaving.clear()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
