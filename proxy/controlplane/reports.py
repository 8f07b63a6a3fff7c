"""How busy v2 is: what its endpoints report of themselves, or else what this machine says.

Owns when they are asked, what of an answer is believed, and for how long. An endpoint is not trusted: what it
reports can only be read as three shares, and a report that is not as agreed is none. Must never know what a
figure leads to.

Where no report is configured, v2 is taken to run beside us: `Machine` has the system's own figures then. They
are read by a thread, and only where some guard asks for them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import psutil

from proxy.config.schema import Probe
from proxy.controlplane.health import Line
from proxy.judgment import Metric
from proxy.model import BackendReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Backend, Config
    from proxy.ports import Clock, Random

    Read = Callable[[str, float], Awaitable[bytes]]
    """The body of the answer to a GET of a URL within so many seconds; raises if there is no good one."""

log = logging.getLogger("dualpath.health")

_JITTER: Final = 0.2  # of the interval, as with probes
_FIRST_WITHIN_S: Final = 1.0
_MACHINE_S: Final = 2.0
_GOOD_FOR: Final = 3  # intervals
_CACHE_S: Final = 60.0
_LEAST_ANSWERS: Final = 20
_FIGURES: Final = ("cpu", "memory", "cache_hit_rate")
_OF_MACHINE: Final = frozenset({Metric.CPU, Metric.MEMORY})


class VitalSigns:
    """`ports.Vitals`: what was reported of late. The same object over every reload."""

    def __init__(self, clock: Clock, drain_cache: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        self._clock = clock
        self._drain_cache = drain_cache
        self._answers: deque[tuple[float, int, int]] = deque()  # when they were drained, hits, all that told
        self._good_for_s = 0.0
        self._told: dict[str, tuple[float, BackendReport]] = {}  # by who told it, with when

    def expect(self, interval_s: float) -> None:
        """Forget everything; from now on somebody tells something every so many seconds."""
        self._told.clear()
        self._good_for_s = _GOOD_FOR * interval_s

    def take(self, source: str, report: BackendReport) -> None:
        """What `source` has just told."""
        self._told[source] = (self._clock.monotonic(), report)

    def latest(self) -> BackendReport:
        """The busiest endpoint's load, because it fails first; cache hits of v2's answers over the last
        minute where these tell, else of all reports, on average."""
        since = self._clock.monotonic() - self._good_for_s
        reports = [report for at, report in self._told.values() if at > since]
        hits = [one.cache_hit_rate for one in reports if one.cache_hit_rate is not None]
        told = self._answered_hits()
        return BackendReport(
            cpu=max((one.cpu for one in reports if one.cpu is not None), default=None),
            memory=max((one.memory for one in reports if one.memory is not None), default=None),
            cache_hit_rate=sum(hits) / len(hits) if told is None and hits else told,
        )

    def _answered_hits(self) -> float | None:
        """Share of hits among the answers of the last minute; None if too few have told."""
        now = self._clock.monotonic()
        hits, answers = self._drain_cache()
        if answers:
            self._answers.append((now, hits, answers))
        while self._answers and now - self._answers[0][0] >= _CACHE_S:
            self._answers.popleft()
        total = sum(answers for _, _, answers in self._answers)
        return sum(hits for _, hits, _ in self._answers) / total if total >= _LEAST_ANSWERS else None

    def __repr__(self) -> str:
        return f"VitalSigns({self.latest()})"


class Reporter:
    """Asks v2's endpoints, or this machine, while it is entered, and tells `signs`."""

    def __init__(
        self,
        config: Config,
        signs: VitalSigns,
        *,
        read: Read | None = None,
        machine: Callable[[], BackendReport] | None = None,
        rng: Random | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = config.backends.v2
        self._asks_machine = asks_machine(config)
        self._signs = signs
        self._read = read
        self._machine = machine or Machine()
        self._rng: Random = random.SystemRandom() if rng is None else rng
        self._pause = pause
        self._line: Line | None = None
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        backend = self._backend
        if backend.report is not None:
            interval_s, timeout_s = _rhythm(backend)
            self._signs.expect(interval_s)
            read = self._read
            if read is None:
                self._line = Line(backend, "backends.v2.tls")
                read = self._line.read
            for url in backend.endpoints:
                asking = self._ask(url, url + backend.report, read, interval_s, timeout_s)
                self._running.append(asyncio.create_task(asking, name=f"report {url}"))
        else:
            self._signs.expect(_MACHINE_S)
            if self._asks_machine:
                self._running.append(asyncio.create_task(self._look_here(), name="report of this machine"))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def _ask(self, endpoint: str, url: str, read: Read, interval_s: float, timeout_s: float) -> None:
        problem = ""
        await self._pause(self._rng.random() * min(interval_s, _FIRST_WITHIN_S))
        while True:
            before = problem
            try:
                self._signs.take(endpoint, believed(await read(url, timeout_s)))
                problem = ""
            except TimeoutError:
                problem = f"no answer within {timeout_s:g} s"
            except Exception as error:  # whatever it is, there was no report, and asking goes on
                problem = str(error) or repr(error)
            if problem and not before:
                log.warning("no report of v2 %s: %s", endpoint, problem)
            elif before and not problem:
                log.warning("a report again of v2 %s", endpoint)
            await self._pause(interval_s * (1 + _JITTER * (self._rng.random() - 0.5)))

    async def _look_here(self) -> None:
        while True:
            try:
                self._signs.take("machine", await asyncio.to_thread(self._machine))
            except OSError as error:
                log.debug("this machine does not tell how busy it is: %s", error)
            await self._pause(_MACHINE_S)

    def __repr__(self) -> str:
        return f"Reporter({len(self._running)} asked)"


def asks_machine(config: Config) -> bool:
    """Whether anything is to be known of this machine: where v2 does not report, and a guard or an alert rule
    reads it."""
    if config.backends.v2.report is not None:
        return False
    guards = [guard for rollout in config.rollouts for guard in rollout.guards]
    guards += [guard for rollout in config.rollouts for phase in rollout.phases for guard in phase.abort_if]
    metrics = [guard.metric for guard in guards] + [rule.metric for rule in config.alerts.rules]
    return any(metric in _OF_MACHINE for metric in metrics)


def believed(body: bytes) -> BackendReport:
    """The report in a body. Raises ValueError for what is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ValueError("a report must be a JSON object")
    return BackendReport(*(_share(document.get(name), name) for name in _FIGURES))


def _share(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name}: must be a number from 0 to 1")
    return float(value)


def _rhythm(backend: Backend) -> tuple[float, float]:
    """As often as its endpoints are probed, and with as much patience."""
    probe = backend.health or Probe(path="/")
    return probe.interval_s, probe.timeout_s


class Machine:
    """This machine's CPU since the last look, and its memory. May be called in any thread, by one at a time.

    (`psutil.cpu_percent` remembers the last look of each thread apart.)
    """

    def __init__(self) -> None:
        self._looked = (0.0, 0.0)

    def __call__(self) -> BackendReport:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # A guest's time is in `user` already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        (idle_before, total_before), self._looked = self._looked, (idle, total)
        cpu = None
        if total_before and total > total_before:
            cpu = min(1.0, max(0.0, 1.0 - (idle - idle_before) / (total - total_before)))
        return BackendReport(cpu=cpu, memory=min(1.0, psutil.virtual_memory().percent / 100.0))

    def __repr__(self) -> str:
        return "Machine()"
