"""One request and its answer, over at most two paths: the life of a request from its start to its samples.

Owns the order of attempts. The decisions (may it fall back? how long may it take?) are `core.fallback`'s, the
limits of time `deadlines`', back-pressure is `flow`'s, the bytes of the answer are `relay`'s, the counting is
`ledger`'s. It is the one mutable object of a request.

    queued → connecting → uploading → waiting → streaming → finished
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from proxy.core.fallback import FallbackPolicy, may_repeat
from proxy.core.request_head import PATH_LINE
from proxy.dataplane import deadlines, flow, ledger, recovery, relay, tunnel
from proxy.dataplane.answers import RETRY_SOON, interim
from proxy.dataplane.body import NO_BODY, RequestBody
from proxy.dataplane.endpoint import OUR_OWN
from proxy.dataplane.stages import CONNECTING, FINISHED, PENDING, QUEUED, STAGES, STREAMING, UPLOADING
from proxy.model import ErrorClass, FallbackReason, Path

if TYPE_CHECKING:
    from proxy.core.request_head import RequestHead
    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.backend import BackendPool
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.endpoint import Endpoint
    from proxy.dataplane.observing import Note
    from proxy.dataplane.routes import LiveRollout
    from proxy.dataplane.upstream import Upstream

_V1: Final = Path.V1
_V2: Final = Path.V2

_UNROUTED: Final = FallbackPolicy(False, frozenset(), frozenset(), False, 0)
_UNROUTED_TIMEOUT_S: Final = 30.0
_UNSENT_BYTES: Final = 64 << 10
_CONTINUE_AFTER_S: Final = 1.0
_FRESH_ENOUGH_S: Final = 1.0
"""A request that must not be sent twice takes only a connection that was in use this recently: the longer one
has idled, the likelier it dies under the request, and then nobody could tell whether it was carried out."""


class Exchange:
    """One request of one client. Made by `admission`, started by `downstream` when its turn has come.

    Not slotted: half of its state is of interest only when something goes wrong, and a class default costs
    nothing per request. `assigned` is routing's choice, `path` where the present attempt runs.
    """

    # ... settled by admission ...
    assigned: Path = _V1
    overridden = False
    keep_alive = False
    extra_lines = b""  # for the answer: the issued cookie
    key: bytes | None = None
    by_header = False  # whether an override header sent it to its path
    wanted = 0  # by those who see requests: bits of `observing`
    # ... the present attempt ...
    path: Path = _V1
    pool: BackendPool
    endpoint: Endpoint
    attempt_at = 0.0
    head_at = 0.0  # set where only the head's arrival is a latency
    stalled_s = 0.0  # that the upstream waited for the client
    breaker_epoch = 0
    upstream: Upstream | None = None
    _dialing: asyncio.Task[None] | None = None
    sent = False
    detail = ""  # of its failure, in words
    noted = False  # whether it is over, and stands in `notes`
    # ... what has happened ...
    sent_bytes = 0  # of the answer's content
    answered_here = False  # whether the answer is one of ours
    restored = False  # whether it is v2's that v1 could not better
    notes: list[Note] | None = None  # the attempts that are over
    started_at = 0.0
    status = 0  # of the present answer; 0 while there is none
    told_in_s = -1.0  # how long its one attempt took, if that is all that is to be told
    deadline = math.inf
    chunked = False  # the answer's framing towards the client
    fallback: FallbackReason | None = None
    stage = QUEUED
    overall = math.inf
    error: ErrorClass | None = None
    original: tuple[ResponseHead, list[bytes]] | None = None  # v2's answer that a fallback replaces
    retried = False
    rerouted = False
    continued = False
    unsent_bytes = 0  # on the side that takes no more, when last looked at
    moved_at = 0.0  # when that side was last seen to have taken something
    _answered_early = False
    stalled_at = 0.0

    def __init__(
        self,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        head_parts: list[bytes],
        rollout: LiveRollout | None,
    ) -> None:
        self.context = context
        self.downstream = downstream
        self.head = head
        self.rollout = rollout
        self.head_parts = head_parts  # to be joined, `request_head.PATH_LINE` being each path's own
        policy = self.policy = _UNROUTED if rollout is None else rollout.policy
        self.body = NO_BODY if head.length == 0 else RequestBody(head.length, policy.max_body_bytes)
        self.repeatable = may_repeat(head.method, keyed=head.keyed, sent=True, policy=policy)

    def __repr__(self) -> str:
        target = self.head.target.decode("latin-1")
        return f"<Exchange {self.head.method.decode()} {target} {self.path} {STAGES[self.stage]}>"

    @property
    def answered(self) -> bool:
        """Whether the client has had a byte of a final answer."""
        return self.stage >= STREAMING

    # ... start ...

    def start(self) -> None:
        """Its turn has come: send it to the assigned path."""
        context = self.context
        now = self.started_at = context.monotonic()
        context.active.add(self)
        rollout = self.rollout
        if self.body.complete:
            self.overall = now + (_UNROUTED_TIMEOUT_S if rollout is None else rollout.timeout_s)
        if rollout is not None:
            context.recorder.assigned(rollout.index, self.assigned, overridden=self.overridden)
            if rollout.budget is not None:
                rollout.budget.request(now)
        if self.head.max_forwards == 0:
            relay.recipient_answer(self)
            self._end(now, failed=False)
        elif rollout is None or self.assigned is _V1:
            recovery.ask_v1(self, now)
        else:
            recovery.ask_v2(self, rollout, now)

    def admitted(self) -> None:
        """It has waited for room at its backend, and there is some."""
        now = self.context.monotonic()
        if self.path is _V1 or self.rollout is None:
            self.attempt(_V1, now)
        else:
            recovery.send_to_v2(self, self.rollout, now)

    # ... one attempt ...

    def attempt(
        self, path: Path, now: float, endpoint: Endpoint | None = None, *, fresh: bool = False
    ) -> None:
        """Sends the request to `path`, on a pooled connection if there is one and it is not to be `fresh`."""
        pool = self.context.v1 if path is _V1 else self.context.v2
        if endpoint is None:
            endpoint = pool.choose(now) or pool.choose_any()
        if self.noted and (watch := self.context.watch) is not None:
            watch.begin_another(self)
        self.path = path
        self.pool = pool
        self.endpoint = endpoint
        self.attempt_at = now
        self.sent = False
        endpoint.outstanding += 1
        if not fresh:
            upstream = endpoint.take(0.0 if self.repeatable else now - _FRESH_ENOUGH_S)
            if upstream is not None:
                self._send(upstream, now)
                return
        self.stage = CONNECTING
        self.deadline = min(now + pool.connect_timeout_s, self.overall)
        self._dialing = asyncio.get_running_loop().create_task(self._dial(endpoint))

    async def _dial(self, endpoint: Endpoint) -> None:
        try:
            upstream = await endpoint.connect()
        except OSError as error:
            self._dialing = None
            if error.errno in OUR_OWN:
                recovery.lack_means(self, self.context.monotonic())
                return
            self.upstream_failed(ErrorClass.CONNECT, f"cannot connect: {error.strerror or error}")
            return
        self._dialing = None
        self._send(upstream, self.context.monotonic())

    def _send(self, upstream: Upstream, now: float) -> None:
        self.upstream = upstream
        self.sent = True
        body = self.body
        if body.complete:
            deadlines.await_answer(self, now)
        else:
            self.stage = UPLOADING
            self.extend_upload(now)
        self.head_parts[PATH_LINE] = self.pool.path_line
        opening = body.opening(b"".join(self.head_parts))
        upstream.begin(self, opening, bodiless=self.head.method == b"HEAD")
        if body is not NO_BODY:
            stalled = upstream.write_paused and not body.complete
            self.downstream.pause_reading() if stalled else self.downstream.resume_reading()

    # ... the request's body, told by downstream ...

    def body_piece(self, piece: bytes) -> None:
        """The next bytes of the request's body."""
        upstream = self.upstream
        if upstream is None:
            self.body.push(piece, None)
            if self.body.held_bytes > _UNSENT_BYTES:
                self.downstream.pause_reading()
            return
        self.continued = True
        if self.stage == UPLOADING:
            self.deadline = self.context.now + self.context.listen.body_idle_timeout_s
        elif not self.stalled_at:
            self.deadline = self.context.now + self.pool.idle_timeout_s
        self.body.push(piece, upstream.send)

    def request_complete(self) -> None:
        """The client has sent all of the request."""
        upstream = self.upstream
        self.body.finish(upstream.send if upstream is not None else None)
        if self.stage == QUEUED:
            return
        now = self.context.monotonic()
        self.overall = now + (_UNROUTED_TIMEOUT_S if self.rollout is None else self.rollout.timeout_s)
        if self.stage == UPLOADING:
            deadlines.await_answer(self, now)

    def extend_upload(self, now: float) -> None:
        """The upload has moved."""
        waits = _CONTINUE_AFTER_S if self.awaits_continue() else self.context.listen.body_idle_timeout_s
        self.deadline = now + waits

    def awaits_continue(self) -> bool:
        """Whether the client still waits for 100 (Continue)."""
        return self.head.expects_continue and not self.continued

    # ... flow control ...

    def pause_request(self) -> None:
        """The upstream takes no more for now."""
        flow.pause_request(self)

    def resume_request(self) -> None:
        """The upstream takes more again."""
        flow.resume_request(self)

    def pause_response(self) -> None:
        """The client takes no more for now."""
        flow.pause_response(self)

    def resume_response(self) -> None:
        """The client takes more again."""
        flow.resume_response(self)

    # ... the answer, told by upstream ...

    def interim(self, status: int, lines: list[bytes]) -> None:
        """A 1xx of the upstream: relayed, but for a 100 that the client has not asked for or has had."""
        if self.head.minor_version == 0:
            return
        if status == 100:
            if not self.awaits_continue():
                return
            self.continued = True
            self.extend_upload(self.context.now)
        self.downstream.write(interim(status, lines))

    def switched(self, lines: list[bytes], rest: bytes) -> None:
        """The 101 that the client asked for: its end-to-end fields with Upgrade and Connection, and what came
        after it. The upstream has nothing more to do with its connection."""
        tunnel.switch(self, lines, rest)

    def response(self, head: ResponseHead | None, pieces: list[bytes], complete: bool, skip: int = 0) -> None:
        """What one read brought: the final head once, its body after `skip` bytes, whether that is all."""
        first = b""
        if head is not None:
            self.status = head.status
            if head.status >= 500 and recovery.replaces(self, head, pieces, complete=complete):
                return
            self.stage = STREAMING
            self._answered_early = not self.body.complete
            first = relay.opening(self, head)
            if head.event_stream:
                ledger.stream_begun(self, self.context.monotonic())
        self.deadline = self.context.now + self.pool.idle_timeout_s
        relay.write(self, first, pieces, complete=complete, skip=skip)
        if complete:
            self._finish()
        elif self.downstream.write_paused and not self.stalled_at:
            self.pause_response()

    def _finish(self) -> None:
        now = self.context.monotonic()
        ledger.attempt_ended(self, now, self.error)
        upstream = self.upstream
        if upstream is not None:
            if self.stalled_at:  # by the last piece: the pool wants no paused connection
                upstream.transport.resume_reading()
            self.upstream = None
            # A backend that answered early may still have to read the rest of this request.
            taken = not self._answered_early and flow.is_request_taken(self, upstream)
            upstream.detach(now, request_complete=taken)
        self._end(now, failed=self.error is not None)

    # ... failure: recovery decides, these carry it out ...

    def upstream_failed(self, kind: ErrorClass, detail: str, *, status: int = 502) -> None:
        """The attempt came to nothing: retry, fall back, answer, or break off what the client reads."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.close()
        now = self.context.monotonic()
        self.detail = detail
        if self.stage == STREAMING:
            ledger.attempt_ended(self, now, kind if kind is ErrorClass.TIMEOUT else ErrorClass.TRUNCATED)
            self.stage = FINISHED
            ledger.request_ended(self, now, failed=True)
            self.downstream.abort()
        elif (
            kind is ErrorClass.RESET and upstream is not None and recovery.replaces_stale(self, upstream, now)
        ) or (kind is ErrorClass.CONNECT and recovery.goes_elsewhere(self, now)):
            return
        else:
            ledger.attempt_ended(self, now, kind)
            recovery.after_failure(self, kind, now, status, detail)

    def fall_back(self, reason: FallbackReason, now: float) -> None:
        """v1 stands in."""
        self.fallback = reason
        self.retried = self.rerouted = False
        recovery.ask_v1(self, now)

    def drop_answer(self, now: float) -> None:
        """The present answer is an error that another one replaces; its connection may still be of use."""
        ledger.attempt_ended(self, now, ErrorClass.STATUS)
        self.status = 0
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.discard(now, request_complete=flow.is_request_taken(self, upstream))

    def answer(self, status: int, detail: str) -> None:
        """An answer of our own, or the one of v2 that v1 could not better."""
        if self.original is None:
            relay.own_answer(self, status, detail)
        else:
            relay.kept_answer(self, *self.original)
        self._end(self.context.monotonic(), failed=True)

    def turn_away(self) -> None:
        """There is no room anywhere: the client may come again."""
        self.stage = FINISHED
        relay.own_answer(self, 503, "too many requests at present", RETRY_SOON)
        ledger.request_refused(self, self.context.monotonic())
        self.downstream.exchange_done(self)

    # ... the end ...

    def expired(self, now: float) -> None:
        """The sweep found the deadline passed."""
        deadlines.expire(self, now)

    def client_gone(self) -> None:
        """The client left or is to be cut off: cancel at once, count against no path."""
        stage, self.stage = self.stage, FINISHED
        self.cancel_dial()
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.close()
        if stage == STREAMING and self.head_at:
            # So event streams end: the backend has served it, and the client has had what it wanted.
            ledger.attempt_ended(self, self.context.now, self.error)
            ledger.request_ended(self, self.context.now, failed=self.error is not None)
        elif QUEUED < stage < FINISHED:
            if stage == PENDING:
                recovery.stop_waiting(self)
            else:
                ledger.attempt_dropped(self, self.context.now)
            ledger.request_ended(self, self.context.now, failed=False, aborted=True)

    def cancel_dial(self) -> None:
        """Gives up a connection that is being made."""
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None

    def _end(self, now: float, *, failed: bool) -> None:
        self.stage = FINISHED
        ledger.request_ended(self, now, failed=failed)
        self.downstream.exchange_done(self)
