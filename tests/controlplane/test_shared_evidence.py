"""What is counted on several instances: told once, counted once, under the revision that it belongs to."""

from __future__ import annotations

import orjson
import pytest

from proxy.controlplane.shared_evidence import SharedEvidence, source_of
from proxy.core.delta import READS, VERSION, Delta, RolloutDelta, read, written
from proxy.core.peers import Dispatch, Identity
from tests.controlplane.rig import config
from tests.fakes import ScriptedEvidence, traffic

HERE, THERE = Identity("a", "1"), Identity("b", "1")
ROLLOUTS = config({"name": "default"}, {"name": "other", "routes": [{"prefix": "/other"}]}).rollouts


class Rig:
    """Evidence over a scripted one; `revisions` are what is in force."""

    def __init__(self) -> None:
        self.own = ScriptedEvidence(2)
        self.revisions = {"default": 1, "other": 1}
        self.evidence = SharedEvidence(self.own, ROLLOUTS, HERE, lambda name: self.revisions[name])

    def told(self) -> list[tuple[str, int, int]]:
        """Rollout, revision and requests of the newest report."""
        report = read(orjson.loads(self.evidence.reports()[-1][1]))
        return [(one.name, one.revision, one.tally.client_requests) for one in report.rollouts]

    def drained(self) -> list[int]:
        return [tally.client_requests for tally in self.evidence.drain()]


def dispatch(
    identity: Identity, number: int, requests: int, revision: int = 1, version: int = VERSION
) -> Dispatch:
    delta = Delta("whatever", number, (RolloutDelta("default", revision, "closed", traffic(requests)),))
    return Dispatch(f"{number}-0", 0.0, identity, number, orjson.dumps(written(delta, version)))


def test_what_is_drained_here_is_told_to_the_others_once() -> None:
    rig = Rig()
    rig.drained()
    rig.own.happened(traffic(3))
    rig.own.happened(traffic(4), 1)
    assert rig.drained() == [3, 4]
    assert sorted(rig.told()) == [("default", 1, 3), ("other", 1, 4)]
    assert rig.told() == []


def test_it_belongs_to_the_revision_that_was_in_force_before_it_was_drained() -> None:
    rig = Rig()
    rig.drained()
    rig.own.happened(traffic(3))
    rig.revisions["default"] = 2  # published; what is there yet is from before
    rig.drained()
    rig.own.happened(traffic(5))
    rig.drained()
    assert rig.told() == [("default", 1, 3), ("default", 2, 5)]


def test_what_has_not_arrived_is_told_again() -> None:
    rig = Rig()
    assert [number for number, _ in rig.evidence.reports()] == [1]
    assert [number for number, _ in rig.evidence.reports()] == [1, 2]
    rig.evidence.arrived(2)
    assert [number for number, _ in rig.evidence.reports()] == [3]
    for _ in range(40):
        rig.evidence.reports()
    assert len(rig.evidence.reports()) == 30, "what is older is no evidence any more"


def test_the_others_count_and_our_own_reports_do_not_come_back() -> None:
    rig = Rig()
    rig.own.happened(traffic(1))
    rig.evidence.hear(0.0, [dispatch(THERE, 1, 10), dispatch(HERE, 1, 100), dispatch(THERE, 1, 10)])
    assert rig.drained() == [11, 0]
    assert rig.evidence.merging.received.repeated == 1
    assert rig.told() == [("default", 0, 1)], "theirs are not ours to tell"


def test_what_was_counted_under_an_earlier_revision_is_late() -> None:
    rig = Rig()
    rig.revisions["default"] = 5
    rig.evidence.hear(0.0, [dispatch(THERE, 1, 10, revision=4)])
    assert rig.drained() == [0, 0]
    assert [tally.client_requests for tally in rig.evidence.late()] == [10, 0]


def test_what_cannot_be_read_is_counted_as_such() -> None:
    rig = Rig()
    rig.evidence.hear(0.0, [Dispatch("1-0", 0.0, THERE, 1, b"{}"), Dispatch("2-0", 0.0, THERE, 2, b"no")])
    assert rig.evidence.merging.received.unread == 2
    assert rig.drained() == [0, 0]


def test_no_report_tells_of_more_rollouts_than_there_can_be() -> None:
    rig = Rig()
    one = b'{"name": "default", "revision": 9, "breaker": "closed", "client_requests": 1}'
    for number, count in ((1, 2_000), (2, 2_001)):
        report = b'{"version": 1, "source": "b/1", "number": 1, "rollouts": [%b]}' % b",".join([one] * count)
        rig.evidence.hear(0.0, [Dispatch(f"{number}-0", 0.0, THERE, number, report)])
    assert rig.drained() == [2_000, 0]
    assert rig.evidence.merging.received.unread == 1


@pytest.mark.parametrize("version", READS)
def test_others_of_the_version_before_are_read_as_those_of_this_one(version: int) -> None:
    rig = Rig()
    rig.evidence.hear(0.0, [dispatch(THERE, 1, 10, version=version)])
    assert rig.drained() == [10, 0]


def test_of_a_newer_version_it_is_said_once_and_nothing_else_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    newer = b'{"version": 3, "source": "b/1", "number": 1, "all": "of it is different"}'
    told = [Dispatch(f"{n}-0", 0.0, THERE, n, newer) for n in range(1, 4)]
    rig.evidence.hear(0.0, [*told, dispatch(Identity("c", "1"), 1, 10)])
    assert [record.getMessage() for record in caplog.records] == [
        "b: its reports are passed over: report: is of version 3, and this dualpath reads 1 and 2"
    ]
    assert rig.evidence.merging.received.unread == 3
    assert rig.drained() == [10, 0]
    rig.evidence.hear(1.0, [dispatch(THERE, 1, 5)])  # what was passed over can be told again
    assert rig.drained() == [5, 0]


def test_it_writes_what_all_others_can_read() -> None:
    rig = Rig()
    rig.own.happened(traffic(3))
    rig.drained()
    written = [orjson.loads(rig.evidence.reports()[-1][1])["version"]]
    for version in READS:
        rig.evidence.version = version
        written.append(orjson.loads(rig.evidence.reports()[-1][1])["version"])
    assert written == [READS[0], *READS], "before it is known who is there, the one that any of them reads"


def test_what_is_in_no_report_yet_is_known() -> None:
    rig = Rig()
    rig.drained()
    rig.own.happened(traffic(1))
    rig.drained()
    rig.evidence.reports()
    rig.own.happened(traffic(2))
    rig.drained()
    rig.evidence.reports()
    rig.own.happened(traffic(4))
    rig.drained()
    after = [
        sum(one.tally.client_requests for one in report.rollouts) for report in rig.evidence.own_after(1)
    ]
    assert after == [2, 4]


def test_a_reload_tells_nothing_of_a_table_that_has_changed() -> None:
    rig = Rig()
    rig.own.happened(traffic(3))
    rig.own.happened(traffic(4), 1)
    rig.drained()
    changed = config(
        {"name": "other", "routes": [{"prefix": "/other"}]}, {"name": "default", "percentage": 5}
    )
    rig.evidence.follow(changed.rollouts)
    assert rig.told() == [("other", 0, 4)]
    rig.own.become(2)
    rig.own.happened(traffic(7))
    rig.evidence.hear(0.0, [dispatch(THERE, 1, 10)])
    assert rig.drained() == [7, 10]


def test_each_life_has_a_name_of_its_own() -> None:
    assert source_of(HERE) != source_of(Identity("a", "2"))
    assert "0 sent" in repr(Rig().evidence)
