"""How decisions read as spans."""

from __future__ import annotations

from typing import Any

from proxy.config.schema import Config
from proxy.core.notice import Notice, NoticeKind, Severity
from proxy.core.series import CLIENT, Exemplar, Increment, Labels, SeriesTable, Sighting
from proxy.model import State
from proxy.telemetry.decision_traces import DecisionTraces, _encoded, _span, decision_traces
from proxy.telemetry.span_wire import ERROR, INTERNAL, Event
from tests.telemetry.observed import AT, SPAN_ID, TRACE_ID
from tests.telemetry.test_tracing import BACKENDS, Export, config

ROLLBACK = Notice(
    kind=NoticeKind.ROLLBACK,
    severity=Severity.CRITICAL,
    at=AT,
    reason="error rate 0.2 is over 0.05",
    rollout="default",
    state=State.ROLLED_BACK,
    phase_before="canary",
    phase=None,
    percentage_before=5.0,
    percentage=0.0,
    revision=7,
    cause="guard:error_rate",
    action="rollback",
    metric="error_rate",
    value=0.2,
    limit=0.05,
    sample=200,
    exemplars=(TRACE_ID, "f" * 32),
)


def measured() -> SeriesTable:
    table = SeriesTable(10)
    labels = Labels("default", "v2", "GET", "5xx")
    table.add([Increment(CLIENT, labels, ((3, 1),), 4_000)])
    table.see([Sighting(CLIENT, labels, Exemplar(TRACE_ID, SPAN_ID, 0.004, AT))])
    return table


def announced(*notices: Notice) -> list[Any]:
    export = Export()
    listener = DecisionTraces(export, measured)  # type: ignore[arg-type]
    for notice in notices:
        listener.announce(notice)
    return [thing for thing, _ in export.taken]


def test_a_rollback_is_a_trace_of_its_own_linked_to_requests_that_show_why() -> None:
    [decision] = announced(ROLLBACK)
    span = _span(decision)
    assert (span.name, span.kind, span.parent_id) == ("rollback default", INTERNAL, "")
    assert (span.start_s, span.end_s) == (AT, AT)
    assert span.links == ((TRACE_ID, SPAN_ID), ("f" * 32, "0" * 16))
    assert (span.status, span.status_message) == (ERROR, ROLLBACK.reason)
    assert span.events == (Event("dualpath.rollback", AT, [("dualpath.rollout", "default")]),)
    assert dict(span.attributes) == {
        "dualpath.rollout": "default",
        "dualpath.decision": "rollback",
        "dualpath.severity": "critical",
        "dualpath.reason": ROLLBACK.reason,
        "dualpath.cause": "guard:error_rate",
        "dualpath.action": "rollback",
        "dualpath.actor": "controller",
        "dualpath.state": "rolled_back",
        "dualpath.revision": 7,
        "dualpath.phase_before": "canary",
        "dualpath.weight": 0,
        "dualpath.weight_before": 5000,
        "dualpath.metric": "error_rate",
        "dualpath.value": 0.2,
        "dualpath.limit": 0.05,
        "dualpath.sample": 200,
    }
    assert len(_encoded(decision)) == 1
    assert len({_span(decision).trace_id for _ in range(3)}) == 3


def test_a_promotion_is_no_error() -> None:
    raised = Notice(NoticeKind.PHASE, Severity.INFO, AT, "all is well", rollout="default", phase="half")
    span = _span(announced(raised)[0])
    assert (span.name, span.status, span.status_message, span.events) == ("phase default", 0, "", ())
    assert "dualpath.weight" not in dict(span.attributes)


def test_what_is_no_move_of_a_rollout_is_no_decision() -> None:
    assert announced(Notice(NoticeKind.STORE, Severity.CRITICAL, AT, "no store", subject="store")) == []


def test_nothing_is_sent_unless_there_is_a_collector() -> None:
    def count(name: str, n: int) -> None: ...

    assert decision_traces(Config.read({"backends": BACKENDS}), count, measured) is None
    first = decision_traces(config(), count, measured)
    assert first is not None
    assert decision_traces(config(), count, measured, first) is first
    assert decision_traces(config(service_name="x"), count, measured, first) is not first
