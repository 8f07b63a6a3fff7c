"""The seams between packages of one layer: Protocols of at most five methods.

Packages of layer 2 never import each other; they are handed these by the composition root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from proxy.core.alert_book import AlertsReport, Silence, SinkTrial
    from proxy.core.audit import Record, TrailPage
    from proxy.core.gauges import SystemReport
    from proxy.core.minute import Minute
    from proxy.core.notice import Notice
    from proxy.core.observed import ObservedRequest
    from proxy.core.peers import (
        Dispatch,
        Exchange,
        Followed,
        Journalled,
        Kept,
        Lease,
        Member,
        Presence,
    )
    from proxy.core.tally import Tally
    from proxy.model import (
        BackendReport,
        EndpointStatus,
        ErrorClass,
        Event,
        Explanation,
        FallbackReason,
        KeyOverride,
        Path,
        RolloutState,
        Transition,
        Users,
    )


class Clock(Protocol):
    """Time as an argument. `monotonic` for durations, `wall` (seconds since the Unix epoch) for records."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...


class Random(Protocol):
    """Chance as an argument; `random.Random` and `secrets.SystemRandom` both satisfy it."""

    def getrandbits(self, k: int, /) -> int: ...
    def random(self) -> float: ...


class Store(Protocol):
    """State and audit. Raises `StoreUnavailable`, `StoreCorrupt`, `RevisionConflict`."""

    async def open(self) -> None: ...

    async def load(self) -> Mapping[str, RolloutState]:
        """The present state of every rollout, by name."""

    async def commit(self, transition: Transition) -> Event:
        """Write state and audit record in one step, if `before.revision` is still the stored revision."""

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with `seq` > `after`, oldest first, at most `limit`; `after=-1` gives the newest `limit`."""

    async def close(self) -> None: ...


class OverrideStore(Protocol):
    """Keys that people have sent to one path. What changes them is written together with its audit record,
    an event of the rollout that changes no state. Raises as `Store` does."""

    async def overrides(self) -> Sequence[KeyOverride]:
        """All that are kept, by rollout and key; also those that have expired and were not removed yet."""

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        """Keep `override`, in place of one of the same rollout and key."""

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        """Keep the rollout's override of `key` no longer, if there is one."""


class Trail(Protocol):
    """The audit as it was written, for those who check it. Raises `StoreUnavailable`, `StoreCorrupt`."""

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """Records with `seq` > `after`, oldest first, and where the chain ended when they were read."""


class Trimming(Protocol):
    """An audit that need not be kept whole. Raises `StoreUnavailable`, `StoreCorrupt`."""

    async def trim(self, upto: Record) -> bool:
        """Forget this event and all before it, and remember its hash: what is kept follows that. In one step;
        False, and nothing done, if it is not there as it was read, or is the last one."""


class History(Protocol):
    """The audit to be read. Raises `StoreUnavailable`, `StoreCorrupt`."""

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """As `Store.events`."""

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """As `Trail.records`."""


class Minutes(Protocol):
    """What was counted of each rollout, minute by minute. Raises `StoreUnavailable`, `StoreCorrupt`."""

    async def append(self, minutes: Sequence[Minute]) -> None:
        """Keep them all, or none."""

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        """Those that began at `start` or later and before `end`, oldest first, at most `limit`."""

    async def prune(self, before: float, limit: int) -> int:
        """Forget the oldest of those that began before `before`, at most `limit`. Returns how many."""


class Fenced(Protocol):
    """A store that several instances share."""

    def fence(self, lease: Lease | None) -> None:
        """From now on `Store.commit` writes what only a judge may (`core.peers.needs_fence`) as the holder of
        `lease`: it raises `StaleFence`, and writes nothing, once the store knows another, or none. With None,
        which is how it begins, it raises so at once."""


class Peers(Protocol):
    """The instances that share a store, of which this is one. Raises `StoreUnavailable`, `StoreCorrupt`; no
    call takes longer than the store's timeout."""

    async def exchange(self, presence: Presence) -> Exchange:
        """Tell what there is to tell, stay a member, keep or try for the lease, and learn the rest: one round
        trip. Without an answer it may have been done all the same."""

    async def members(self) -> Sequence[Member]:
        """All that are present, by name."""

    async def dispatches(
        self, after: str = "", *, since: float = 0.0, limit: int = 1000
    ) -> Sequence[Dispatch]:
        """Reports behind the one with the id `after`, or that came at `since` or later, in the order in which
        they came, at most `limit`, and none only at the end; this instance's own are among them."""

    def changes(self) -> AsyncGenerator[int | None, None]:
        """The numbers of events as they are written, by whomever; None whenever some may have been missed, at
        the beginning and after each loss of the connection. It never ends and never raises for the store's
        sake: it connects again, with pauses. Whoever listens closes it."""

    async def leave(self) -> None:
        """Give up lease and membership, so that nobody waits until they run out."""


class Journal(Protocol):
    """What a judge leaves to its successor. Raises `StoreUnavailable`, `StoreCorrupt`."""

    async def keep(
        self, lease: Lease, entries: Sequence[tuple[int, bytes]], heard: bytes, *, window_s: float, anew: bool
    ) -> bool:
        """Keep these, each with the second at which it ends, and `heard` with the last of them, for
        `window_s`; `anew` in place of all that is there. What is kept already is passed over. In one step;
        False, and nothing done, if `lease` is no longer the present one."""

    async def kept(self, since: int, after: int, limit: int) -> Journalled:
        """Entries that end after second `since`, and after second `after`, in order, at most `limit`, and
        none only at the end, where `heard` is."""


class Copy(Protocol):
    """What the shared store holds, kept with this instance too. Raises `StoreUnavailable` and `StoreCorrupt`,
    for either place."""

    async def open(self) -> Kept:
        """What was last followed; empty the first time."""

    async def follow(self) -> Followed:
        """Copy what is new, unless the shared chain is not a continuation of the copy's: then nothing changes
        and `standing` says so. `shared` is what the store holds, as of one moment. Of many events it copies
        some, so that nobody waits for long, and `left` says how many are to follow."""

    async def refill(self) -> Kept:
        """Give the shared store what it has lost, all at once or not at all, and nothing unless its chain is
        a beginning of the copy's. Returns what it holds then. Whoever has the longest copy does it, before
        anything else is written."""

    async def adopt(self) -> Kept:
        """Take the shared chain in place of the copy's from where they diverge. Comes after the loss has been
        written down."""

    async def close(self) -> None: ...


class Recorder(Protocol):
    """Where the data plane writes down what happened. `rollout` is the rollout's index in the configuration.

    Called on the hot path: an implementation does index arithmetic and nothing else.
    """

    def assigned(self, rollout: int, path: Path, *, overridden: bool) -> None:
        """Routing chose `path`; an overridden request is counted apart and yields no attempt samples."""

    def attempt(self, rollout: int, path: Path, latency_s: float, error: ErrorClass | None) -> None:
        """A first-choice attempt ended through no fault of the client."""

    def fallback(self, rollout: int, reason: FallbackReason, *, failed: bool) -> None:
        """v1 stood in for v2; `failed` if its answer was an error too."""

    def over_budget(self, rollout: int, reason: FallbackReason) -> None:
        """A fallback was wanted and the budget refused it."""

    def outcome(self, rollout: int, *, failed: bool, aborted: bool) -> None:
        """The request ended as its client saw it: `failed` by a 5xx or a broken answer, `aborted` by
        leaving."""


class Meter(Protocol):
    """Where the data plane writes down how long requests and attempts took, for metrics. `rollout` is the
    rollout's index in the configuration, -1 outside any; `status` is 0 where no answer began.

    Called on the hot path, as the recorder is. A request that was one attempt and took as long is told once.
    """

    def answered(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """A request ended, and with it the one attempt that it was."""

    def attempt_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """An attempt ended that was not all of its request."""

    def request_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """A request ended, which routing had sent to `path`, and its attempts are told already."""


class Evidence(Protocol):
    """What the recorder has gathered, drained by the control plane once a tick."""

    def drain(self) -> Sequence[Tally]:
        """The tallies since the last call, one per rollout in the configuration's order; the caller owns
        them."""

    def late(self) -> Sequence[Tally]:
        """Like `drain`, of what has come since then but was counted under an earlier revision than the one in
        force: it belongs to the totals, and tells a judge nothing. Empty where nothing can come late."""


class RolloutSink(Protocol):
    """Where a rollout's state takes effect: the data plane, or what carries it there."""

    def publish(self, state: RolloutState) -> None: ...


class OverrideSink(Protocol):
    """Where overrides of keys take effect."""

    def publish_overrides(self, rollout: str, keys: Mapping[str, Path]) -> None:
        """From now on exactly these keys of that rollout go to these paths, before any list or bucket; those
        to v2 do not while it is rolled back or aborted. Of a rollout that is not known nothing is kept."""


class Router(Protocol):
    """Answers why a request would go where it would go, without sending it."""

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation: ...


class Census(Protocol):
    """Counts users."""

    def users(self, rollout: str) -> Users:
        """About how many the rollout has split."""


class Vitals(Protocol):
    """How v2's endpoints are, beside what their answers tell."""

    def latest(self) -> BackendReport:
        """What is known now. Asked at every tick: it waits for nobody."""


class Machine(Protocol):
    """How busy this machine is, and our own processes on it."""

    def system(self) -> SystemReport:
        """What is known now. Asked at every tick: it waits for nobody."""


class Endpoints(Protocol):
    """The endpoints of both backends: probes write here, the admin and the health guard read."""

    def statuses(self) -> Sequence[EndpointStatus]: ...

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None: ...

    def health(self, path: Path) -> float:
        """Share of the path's endpoints that may take traffic, 0..1."""

    def breaker(self, rollout: str) -> str:
        """State of the rollout's breaker: `closed`, `open` or `half_open`."""


class Observer(Protocol):
    """Who writes down what was seen of requests: the access log, the traces."""

    def request_ended(self, request: ObservedRequest) -> None:
        """It is over. Called on the hot path, of few requests: waits for nothing, drops and counts what it
        has no room for."""


class Announcer(Protocol):
    """Who listens to what the deciding process has to tell: alerts, decision traces, the log."""

    def announce(self, notice: Notice) -> None:
        """It has happened, and is in force. Called between decisions: waits for nothing, drops and counts
        what it has no room for."""


class Post(Protocol):
    """POSTs JSON to a webhook, again while that may help."""

    async def __call__(
        self, url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        """Returns once it was answered 2xx, within so many seconds. Raises `DualpathError` that says why
        not, and holds nothing of the answer but its status."""


class Alerting(Protocol):
    """Alerts as people see them."""

    def report(self) -> AlertsReport: ...

    def silence(self, wanted: Silence) -> None:
        """Send nothing that it covers until it ends. Raises `InvalidCommand` if there are too many."""

    def unsilence(self, id: str, actor: str) -> Silence:  # noqa: A002 - what a silence calls it
        """End a silence that a person has made. Raises `UnknownSilence`."""

    async def test(self, actor: str, severity: str, reason: str, sink: str | None) -> Sequence[SinkTrial]:
        """Send a test notice to every sink, or one, past queues and silences. Raises `UnknownSink`."""


class Exemplars(Protocol):
    """Requests by which a rollout can be understood."""

    def exemplars(self, rollout: str) -> Sequence[str]:
        """Trace ids of a few that failed, fell back or were slow of late, the newest first."""
