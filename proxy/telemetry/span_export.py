"""Sending spans: a bounded queue, and a thread that empties it.

Owns the queue, when a batch is sent, and what is counted, in spans: those that there was no room for
("traces.dropped"), those that did not arrive or were not taken ("traces.failed"), and all others
("traces.exported"). Nobody who puts something in ever waits, whatever the collector does. Must never know
what spans are made of.
"""

from __future__ import annotations

import logging
from collections import deque
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from proxy import __version__
from proxy.telemetry.otlp import Collector, ExportError, resource
from proxy.telemetry.span_wire import Envelope, rejected_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.config.schema import Telemetry

    Count = Callable[[str, int], None]

T = TypeVar("T")

log = logging.getLogger("dualpath.telemetry")

FLUSH_S: Final = 2.0
"""How long what still waits may take to be sent when the process ends."""
_SCOPE: Final = "dualpath"
_BREATH: Final = 16
"""After so many, the interpreter is offered to whoever carries requests: else they would wait for 5 ms."""


class SpanExport(Generic[T]):
    """Sends the spans that `encode` makes of each thing that is put in. `count` may be called in any thread.

    Raises `ConfigError` if a file of its TLS cannot be used. The thread starts with the first thing.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        encode: Callable[[T], list[bytes]],
        count: Count,
        collector: Collector | None = None,
    ) -> None:
        self._collector = Collector(telemetry, "traces") if collector is None else collector
        self._envelope = Envelope(resource(telemetry), _SCOPE, __version__)
        self._encode = encode
        self._count = count
        self._most = telemetry.traces.max_queue
        self._batch = min(telemetry.traces.max_batch, self._most)
        self._every_s = telemetry.traces.every_s
        self._queue: deque[tuple[T, int]] = deque()
        self._due = Event()
        self._ending = Event()
        self._flush_until = 0.0
        self._thread: Thread | None = None
        self._is_well = True

    def __repr__(self) -> str:
        return f"<SpanExport {len(self._queue)} of {self._most} to {self._collector!r}>"

    # ... for everybody

    def put(self, thing: T, spans: int) -> None:
        """Have it sent, if there is room; so many spans will be made of it."""
        queue = self._queue
        if len(queue) >= self._most or self._ending.is_set():
            self._count("traces.dropped", spans)
            return
        queue.append((thing, spans))
        if len(queue) == self._batch:
            self._due.set()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="dualpath-traces", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """Send what is there, for a moment, and end. Does not wait for it."""
        if not self._ending.is_set():
            self._flush_until = monotonic() + FLUSH_S
            self._ending.set()
            self._due.set()

    def close(self) -> None:
        """As `leave`, and waits: two seconds at most, whatever the collector does. What has not been sent by
        then is dropped, and counted."""
        self.leave()
        if self._thread is not None:
            self._thread.join(max(0.0, self._flush_until - monotonic()))
            if self._thread.is_alive():
                self._collector.abort()
                self._thread.join(0.1)

    # ... the thread

    def _run(self) -> None:
        while not self._ending.is_set():
            self._due.wait(self._every_s)
            self._due.clear()
            self._send_batch()
            while len(self._queue) >= self._batch and not self._ending.is_set():
                self._send_batch()
        while self._queue and monotonic() < self._flush_until:
            self._send_batch()
        if self._queue:
            self._count("traces.dropped", sum(spans for _, spans in self._queue))
        self._collector.close()

    def _send_batch(self) -> None:
        made: list[bytes] = []
        for number in range(min(len(self._queue), self._batch)):
            thing, spans = self._queue.popleft()
            try:
                made += self._encode(thing)
            except Exception:
                log.exception("traces: spans cannot be written")
                self._count("traces.failed", spans)
            if number % _BREATH == 0:
                sleep(0)
        if made:
            self._send(made)

    def _send(self, spans: list[bytes]) -> None:
        taken, trouble = len(spans), ""
        try:
            answer = self._collector.send(self._envelope.around(spans), self._ending)
        except ExportError as error:
            taken, trouble = 0, str(error)
        except Exception as error:  # the thread goes on, or nothing would be sent ever again
            log.exception("traces: cannot be sent")
            taken, trouble = 0, f"cannot be reached: {error}"
        else:
            rejected = min(rejected_spans(answer), len(spans))
            if rejected:
                taken, trouble = len(spans) - rejected, f"has rejected {rejected} spans"
        if taken:
            self._count("traces.exported", taken)
        if trouble:
            self._count("traces.failed", len(spans) - taken)
        self._tell(trouble)

    def _tell(self, trouble: str) -> None:
        """Says when it begins to fail, and when it works again: not each time."""
        if trouble and self._is_well:
            log.warning("traces: %s %s; what does not arrive is lost", self._collector.url, trouble)
        elif not trouble and not self._is_well:
            log.info("traces: %s takes them again", self._collector.url)
        self._is_well = not trouble
