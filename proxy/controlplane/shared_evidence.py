"""One evidence of several instances: our own, told to the others, and theirs while we judge.

Owns what is told (reports, numbered, until they have arrived) and what is judged on. What is counted here
belongs to the revision that was in force when it was drained before: a state comes into force between two
drains. Must never know how reports travel, nor a judgment.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import orjson

from proxy.core.delta import DISABLED, READS, Delta, RolloutDelta, ToldReport, read_told, written
from proxy.core.merging import Merging
from proxy.core.tally import Tally
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from proxy.config.rollout import Rollout
    from proxy.core.journal import Book, Leaf
    from proxy.core.peers import Dispatch, Identity
    from proxy.ports import Evidence

log = logging.getLogger("dualpath.fleet")

_MOST_UNTOLD: Final = 30
"""Reports that are kept while they cannot be told, one a second: what is older is no evidence any more."""
_MOST_SENT: Final = 60
"""Reports that are kept after they have arrived: for longer than a new judge reads what all have told."""
_MOST_ROLLOUTS: Final = 2_000
"""In one report: as many as a member's record may name, each under two revisions. What is told of one takes
up far more room here than where it is stored, and anybody who may write there may tell it."""


_NOTHING: Final = Tally()


def source_of(identity: Identity) -> str:
    """What an instance's reports call it: each of its lives has a name of its own."""
    return f"{identity.instance}/{identity.epoch}"


class SharedEvidence:
    """`ports.Evidence`. `revision` says what is in force of a rollout, 0 for nothing."""

    def __init__(
        self,
        own: Evidence,
        rollouts: Sequence[Rollout],
        identity: Identity,
        revision: Callable[[str], int],
    ) -> None:
        self.merging = Merging(rollout.name for rollout in rollouts)
        self.sent = 0  # reports so far
        self.version = READS[0]  # in which all others can read them, whoever they are
        self.book: Book | None = None  # of all, while we judge
        self.counted = 0  # requests that were split here
        self._own = own
        self._rollouts = tuple(rollouts)
        self._source = source_of(identity)
        self._revision = revision
        self._labels: dict[str, int] = {}
        self._untold: dict[tuple[str, int], Tally] = {}  # by rollout and revision, since the last report
        self._reports: deque[Delta] = deque(maxlen=_MOST_UNTOLD)  # that may not have arrived
        self._sent: deque[Delta] = deque(maxlen=_MOST_SENT)  # whether they have or not

    # ... ports.Evidence

    def drain(self) -> Sequence[Tally]:
        """What is evidence here, in the configuration's order."""
        drained = self._own.drain()
        for rollout, tally in zip(self._rollouts, drained, strict=True):
            self._keep(rollout.name, self._labels.get(rollout.name, 0), tally)
            self._labels[rollout.name] = self._revision(rollout.name)
            self.counted += tally.assigned_v1 + tally.assigned_v2 + tally.overridden
        for tally, theirs in zip(drained, self.merging.drain(), strict=True):
            tally.add(theirs)
            tally.add_in_flight(theirs)
        return drained

    def late(self) -> Sequence[Tally]:
        """What is none any more."""
        late = [Tally() for _ in self._rollouts]
        for place, tally in enumerate(self._own.late()):
            self._keep(self._rollouts[place].name, 0, tally)
            late[place].add(tally)
        for place, tally in enumerate(self.merging.late()):
            late[place].add(tally)
        return late

    def _keep(self, name: str, revision: int, tally: Tally) -> None:
        if tally == _NOTHING:
            return
        untold = self._untold.setdefault((name, revision), Tally())
        untold.add(tally)
        untold.in_flight_v1, untold.in_flight_v2 = tally.in_flight_v1, tally.in_flight_v2

    def follow(self, rollouts: Sequence[Rollout]) -> None:
        """These are the rollouts now, and what is drained comes in their order. What was counted of one whose
        table has changed is told to nobody."""
        before = {rollout.name: rollout for rollout in self._rollouts}
        same = {rollout.name for rollout in rollouts if before.get(rollout.name) == rollout}
        self._rollouts = tuple(rollouts)
        self._untold = {place: tally for place, tally in self._untold.items() if place[0] in same}
        self.merging.follow([rollout.name for rollout in rollouts], same)
        if self.book is not None:
            self.book.follow(rollout.name for rollout in rollouts)

    # ... what the others are told

    def reports(self) -> tuple[tuple[int, bytes], ...]:
        """A report on all since the last call, and before it those that are not known to have arrived."""
        self.sent += 1
        rollouts = tuple(
            RolloutDelta(name, revision, DISABLED, tally) for (name, revision), tally in self._untold.items()
        )
        self._untold = {}
        report = Delta(self._source, self.sent, rollouts)
        self._reports.append(report)
        self._sent.append(report)
        return tuple([(one.number, orjson.dumps(written(one, self.version))) for one in self._reports])

    def arrived(self, number: int) -> None:
        """Reports up to this one need not be told again."""
        while self._reports and self._reports[0].number <= number:
            self._reports.popleft()

    def own_after(self, number: int) -> Iterator[Delta]:
        """What has been counted here and is in no report up to this one, wherever later ones may be."""
        for report in self._sent:
            if report.number > number:
                yield report
        untold = [RolloutDelta(*place, DISABLED, tally) for place, tally in self._untold.items()]
        yield Delta(self._source, self.sent + 1, tuple(untold))

    # ... what the others tell

    def hear(self, now: float, dispatches: Sequence[Dispatch]) -> Sequence[Leaf]:
        """Take in what others have told; our own is here already, and belongs into the book. The leaves of
        that which are full."""
        leaves = []
        for dispatch in dispatches:
            is_own = source_of(dispatch.identity) == self._source
            if is_own and self.book is None:
                continue
            told = told_in(self.merging, now, dispatch)
            if told is None:
                continue
            if not is_own:
                self.merging.take(now, told, self._revision)
            if self.book is not None and (leaf := self.book.take(dispatch.at, told)) is not None:
                leaves.append(leaf)
        return leaves

    def __repr__(self) -> str:
        return f"SharedEvidence({self._source}, {self.sent} sent, {self.merging!r})"


def told_in(merging: Merging, now: float, dispatch: Dispatch) -> ToldReport | None:
    """What is told in one dispatch, by whoever the store says it is from; None for what cannot be read, and
    that is counted."""
    source = source_of(dispatch.identity)
    try:
        report = read_told(orjson.loads(dispatch.report), _MOST_ROLLOUTS)
    except (WireError, orjson.JSONDecodeError) as error:
        if merging.refuse(now, source):
            log.warning("%s: its reports are passed over: %s", dispatch.identity.instance, error)
        return None
    return ToldReport(source, dispatch.number, report.rollouts)
