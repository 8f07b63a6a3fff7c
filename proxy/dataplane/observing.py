"""What is seen of requests by those who write them down one by one: who is wanted, and what is told of them.

Owns the choice, once by chance as a request begins and once for what became of it, and the making of
`core.observed` values. Of a request that nobody wants it keeps nothing: what is told stands on the exchange
anyway. It must never know who looks, nor touch the course of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.observed import ObservedAttempt, ObservedRequest
from proxy.core.request_head import PASSED_ON, REQUEST_ID, SAMPLED, SPAN_ID, TRACE_ID, UNSAMPLED
from proxy.core.sampling import Sampling, bound_of
from proxy.model import ErrorClass, Path

if TYPE_CHECKING:
    from proxy.core.request_head import RequestHead
    from proxy.core.sampling import Wanted
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.routes import LiveRollout
    from proxy.ports import Clock, Observer

TRACED: Final = 1
LOGGED: Final = 2

_NOTHING: Final = Sampling()
_ODD: Final = b"13579bdf"


class Watch:
    """Who looks at requests, and at which: of one configuration, in the terms of the hot path.

    `continues_traces` is whether requests get spans of ours, so that upstreams are told these.
    """

    __slots__ = (
        "_fields",
        "_heeds_parent",
        "_log_below",
        "_log_slow_s",
        "_observer",
        "_on_failure",
        "_on_fallback",
        "_slow_s",
        "_trace_below",
        "_trace_slow_s",
        "_wall",
        "continues_traces",
    )

    def __init__(self, wanted: Wanted, observer: Observer, clock: Clock) -> None:
        traces = wanted.traces or _NOTHING
        log = wanted.log or _NOTHING
        self._observer = observer
        self._wall = clock.wall
        self._fields = wanted.fields
        self.continues_traces = wanted.traces is not None
        self._heeds_parent = traces.heeds_parent
        self._trace_below = bound_of(traces.share)
        self._log_below = bound_of(log.share)
        self._on_failure = (TRACED if traces.errors else 0) | (LOGGED if log.errors else 0)
        self._on_fallback = (TRACED if traces.fallbacks else 0) | (LOGGED if log.fallbacks else 0)
        self._trace_slow_s = traces.slow_s
        self._log_slow_s = log.slow_s
        self._slow_s = min(traces.slow_s, log.slow_s)

    def __repr__(self) -> str:
        return f"<Watch traces={self.continues_traces} {self._observer!r}>"

    # ... as a request begins ...

    def choose(self, head: RequestHead, ids: bytes) -> int:
        """By whom it is wanted, whatever becomes of it; `ids` are its own random digits."""
        wanted = LOGGED if ids < self._log_below else 0
        if not self.continues_traces:
            return wanted
        given = head.traceparent
        # Never by the digits of a client's trace: it could choose those that are always wanted.
        sampled = given[54] in _ODD if given and self._heeds_parent else ids < self._trace_below
        return wanted | TRACED if sampled else wanted

    def sampled_flag(self, wanted: int) -> int:
        """How the head for an upstream is to speak of the trace: as `core.request_head` has it."""
        if not self.continues_traces:
            return PASSED_ON
        return SAMPLED if wanted & TRACED else UNSAMPLED

    # ... while it runs ...

    def attempt_over(self, exchange: Exchange, now: float, error: ErrorClass | None, detail: str) -> None:
        """An attempt has come to nothing, and the request may go on: the next one overwrites what is known
        of it."""
        exchange.noted = True
        self._note(exchange, now, error, detail)

    def begin_another(self, exchange: Exchange) -> None:
        """One more attempt begins: the upstream is told its own span."""
        exchange.noted = False
        if self.continues_traces:
            exchange.head_parts[SPAN_ID] = exchange.context.identifiers.next()[:16]

    def _note(self, exchange: Exchange, now: float, error: ErrorClass | None, detail: str) -> None:
        notes = exchange.notes
        if notes is None:
            notes = exchange.notes = []
        notes.append(Note(exchange, now, error, detail))

    # ... when it is over ...

    def request_ended(self, exchange: Exchange, now: float, *, failed: bool, aborted: bool) -> None:
        """It is over; tells those who want to see it."""
        wanted = exchange.wanted
        if failed:
            wanted |= self._on_failure
        if exchange.fallback is not None:
            wanted |= self._on_fallback
        # An event stream lasts as long as its client likes: it is as slow as its head.
        if (exchange.head_at or now) - exchange.started_at >= self._slow_s and exchange.started_at:
            took_s = (exchange.head_at or now) - exchange.started_at - exchange.stalled_s
            if took_s >= self._trace_slow_s:
                wanted |= TRACED
            if took_s >= self._log_slow_s:
                wanted |= LOGGED
        if wanted:
            self._tell(exchange, now, wanted, failed=failed, aborted=aborted)

    def request_shed(self, exchange: Exchange) -> None:
        """It was answered 503 before it began, because there is too much to do: chance alone decides whether
        it is seen, for to tell of all would be still more to do."""
        if exchange.wanted:
            exchange.status = 503
            exchange.answered_here = True
            self._tell(exchange, exchange.context.now, exchange.wanted, failed=True, aborted=False)

    def request_refused(self, context: Context, downstream: Downstream, status: int) -> None:
        """What a client has sent is no request that can be served, and may be none at all: chance alone
        decides whether it is seen."""
        ids = context.identifiers.next()
        traced = ids < self._trace_below
        logged = ids < self._log_below
        if not traced and not logged:
            return
        self._observer.request_ended(
            ObservedRequest(
                rollout="",
                assigned=Path.V1,
                answered_by="",
                overridden=False,
                bucket=None,
                weight=0,
                phase=None,
                breaker="",
                fallback=None,
                method="",
                target="",
                host="",
                scheme=_text(downstream.scheme),
                minor_version=1,
                client=downstream.peer,
                request_id=_text(ids),
                status=status,
                failed=False,
                aborted=False,
                started_at=self._wall(),
                duration_s=0.0,
                received_bytes=0,
                sent_bytes=0,
                trace_id=_text(ids),
                span_id=_text(ids[:16]),
                parent_id="",
                trace_state="",
                traced=traced,
                logged=logged,
            )
        )

    def _tell(self, exchange: Exchange, now: float, wanted: int, *, failed: bool, aborted: bool) -> None:
        """The value for the observers: all that is known, read at the end."""
        head = exchange.head
        context = exchange.context
        parts = exchange.head_parts
        rollout = exchange.rollout
        offset_s = self._wall() - now
        started_at = exchange.started_at or now
        now = max(now, started_at)  # a client's leaving is told by a clock that is up to a sweep behind
        split = _split_of(rollout, exchange)
        given = head.traceparent
        if exchange.attempt_at and not exchange.noted:
            self._note(exchange, now, None, "")
        self._observer.request_ended(
            ObservedRequest(
                rollout="" if rollout is None else rollout.name,
                assigned=exchange.assigned,
                answered_by=_answered_by(exchange),
                overridden=exchange.overridden,
                bucket=split.bucket,
                weight=split.weight,
                phase=split.phase,
                breaker=split.breaker,
                fallback=exchange.fallback,
                method=_text(head.method),
                target=_text(head.target),
                host=_text(head.host),
                scheme=_text(exchange.downstream.scheme),
                minor_version=head.minor_version,
                client=context.client_ip(exchange.downstream, head),
                request_id=_text(parts[REQUEST_ID]),
                status=exchange.status,
                failed=failed,
                aborted=aborted,
                started_at=started_at + offset_s,
                duration_s=now - started_at,
                received_bytes=exchange.body.received_bytes,
                sent_bytes=exchange.sent_bytes,
                trace_id=_text(given[3:35] if given else parts[TRACE_ID]),
                span_id=_text(context.identifiers.next()[:16]) if self.continues_traces or not given else "",
                parent_id=_text(given[36:52]) if given else "",
                trace_state=_text(head.tracestate) if given and head.tracestate else "",
                traced=bool(wanted & TRACED),
                logged=bool(wanted & LOGGED),
                fields=_fields(head, self._fields),
                attempts=_attempts(exchange.notes, offset_s),
                route=split.route,
                withdrawn_at=split.withdrawn_at + offset_s if split.withdrawn_at else 0.0,
            )
        )


class Note:
    """An attempt as it ended, by the monotonic clock."""

    __slots__ = ("began_at", "detail", "ended_at", "error", "path", "span_id", "status", "url")

    def __init__(self, exchange: Exchange, ended_at: float, error: ErrorClass | None, detail: str) -> None:
        self.path = exchange.path
        self.url = exchange.endpoint.url
        self.span_id = exchange.head_parts[SPAN_ID]
        self.began_at = exchange.attempt_at
        self.ended_at = max(ended_at, self.began_at)
        self.status = exchange.status
        self.error = error
        self.detail = detail

    def __repr__(self) -> str:
        return f"<Note {self.path} {self.url} {self.status} {self.error}>"


class _SplitThen:
    """How the rollout stood when the request began, as far as that is still known."""

    bucket: int | None = None
    weight = 0
    phase: str | None = None
    breaker = ""
    route = ""
    withdrawn_at = 0.0


def _split_of(rollout: LiveRollout | None, exchange: Exchange) -> _SplitThen:
    then = _SplitThen()
    if rollout is None:
        return then
    key = exchange.key
    changed = rollout.changed_at >= exchange.started_at
    then.bucket = None if key is None else rollout.split.bucket(key)
    then.weight = rollout.weight_before if changed else rollout.split.weight
    then.phase = rollout.phase_before if changed else rollout.phase
    then.breaker = str(rollout.breaker.state) if rollout.breaker_enabled else "disabled"
    then.route = rollout.route_of(exchange.head)
    if rollout.withdrawn_at >= exchange.started_at:
        then.withdrawn_at = rollout.withdrawn_at
    return then


def _answered_by(exchange: Exchange) -> str:
    if exchange.restored:
        return "v2"
    if exchange.answered_here or not exchange.status:
        return ""
    return str(exchange.path) if exchange.fallback is None else "v1-fallback"


def _attempts(notes: list[Note] | None, offset_s: float) -> tuple[ObservedAttempt, ...]:
    tries = {Path.V1: 0, Path.V2: 0}
    attempts: list[ObservedAttempt] = []
    for note in notes or ():
        attempts.append(
            ObservedAttempt(
                path=note.path,
                endpoint=note.url,
                span_id=_text(note.span_id),
                started_at=note.began_at + offset_s,
                duration_s=note.ended_at - note.began_at,
                status=note.status,
                error=note.error,
                resend=tries[note.path],
                detail=note.detail,
            )
        )
        tries[note.path] += 1
    return tuple(attempts)


def _fields(head: RequestHead, names: frozenset[bytes]) -> tuple[tuple[str, str], ...]:
    """Those of the request's fields that are asked for and go on to upstreams."""
    if not names:
        return ()
    found: list[tuple[str, str]] = []
    for line in head.lines:
        name = line[: line.index(b":")].lower()
        if name in names:
            found.append((_text(name), _text(line[len(name) + 1 :].strip())))
    found += [(_text(field.name), _text(field.value)) for field in head.forwarding if field.name in names]
    return tuple(found)


def _text(value: bytes) -> str:
    return value.decode("latin-1")
