from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from proxy.core.delta import Load
from proxy.core.fleet import Role
from proxy.core.members import FleetReport, MemberView
from proxy.core.refusals import REASONS
from proxy.core.series import BOTH, BOUNDS_S, Exemplar, Increment, Labels, SeriesTable, Sighting
from proxy.model import Path
from proxy.telemetry import catalogue as c
from proxy.telemetry.catalogue import FAMILIES, HISTOGRAM
from proxy.telemetry.exposition import exposition
from proxy.telemetry.readings import ProcessReading, Readings, copied, points
from tests.admin.builders import EMPTY_REPORT, ENDPOINTS, REPORT
from tests.telemetry.reference import DOCUMENT, with_table

GET = Labels("default", "v2", "GET", "2xx")
TRACE = "ab" * 16


def measured() -> SeriesTable:
    table = SeriesTable(100)
    table.add([Increment(BOTH, GET, ((0, 2), (18, 1)), 40_000_500)])
    table.see([Sighting("client", GET, Exemplar(TRACE, "cd" * 8, 40.0, 1_767_225_600.0))])
    return table


READINGS = Readings(
    reports=[REPORT],
    phases={"default": ["canary", "half"]},
    endpoints=ENDPOINTS,
    available={Path.V1: 1.0, Path.V2: 0.0},
    processes={"worker-0": ProcessReading(Load(3, 2, 0.25, 0), 1.5, 4096, 17, 1_767_225_600.0)},
    workers=1,
    refused=dict.fromkeys(REASONS, 1),
    tunnels=(1, 2),
    store_waiting=3,
    fleet=FleetReport(
        "a", Role.JUDGE, reached=True, skew_s=0.5, members=(MemberView("a", 0.1, None),), sent=7
    ),
    loaded_at=1_767_225_600.0,
    loaded_well=False,
    version="1.2.3",
    python="3.11",
    telemetry={"traces.dropped": 5},
    histograms=copied(measured()),
)


def values(family: c.Family, readings: Readings = READINGS) -> dict[tuple[str, ...], float]:
    return dict(points(readings)[family])


def test_a_fleet_is_told_where_there_is_one() -> None:
    assert values(c.FLEET_JUDGE) == values(c.FLEET_REACHED) == values(c.FLEET_MEMBERS) == {(): 1.0}
    assert values(c.FLEET_REPORTS)["sent",] == 7
    assert values(c.FLEET_SKEW) == {(): 0.5}
    assert values(c.FLEET_JUDGE, replace(READINGS, fleet=None)) == {}


def test_a_report_is_counted_as_it_says() -> None:
    assert values(c.ASSIGNED) == {("default", "v1"): 700, ("default", "v2"): 300}
    assert values(c.OUTCOMES)["default", "v2", "ok"] == 140
    assert values(c.OUTCOMES)["default", "v2", "reset"] == 20
    assert values(c.OUTCOMES)["default", "v1", "connect"] == 0
    assert values(c.FALLBACKS)["default", "status"] == 60
    assert sum(values(c.FALLBACKS).values()) == 75
    assert values(c.FALLBACKS_REFUSED) == {("default",): 2}
    assert values(c.CLIENT_ANSWERS) == {
        ("default", "ok"): 992,
        ("default", "error"): 8,
        ("default", "aborted"): 4,
    }


def test_of_the_words_of_a_state_one_is_true() -> None:
    for family, word in (
        (c.STATE, "running"),
        (c.PHASE, "half"),
        (c.VERDICT, "fail"),
        (c.BREAKER, "half_open"),
    ):
        assert [labels[1] for labels, value in values(family).items() if value] == [word]
        assert len(values(family)) > 1


def test_a_phase_that_the_plan_does_not_know_is_shown_all_the_same() -> None:
    without = replace(READINGS, phases={})
    assert values(c.PHASE, without) == {("default", "half"): True}
    nowhere = replace(REPORT, state=replace(REPORT.state, phase=None))
    assert not any(values(c.PHASE, replace(READINGS, reports=[nowhere])).values())


def test_what_a_decision_rests_on_is_there() -> None:
    assert values(c.GUARD) == {("default", "error_rate above 0.1"): 0.3}
    assert values(c.GUARD_LIMIT) == {("default", "error_rate above 0.1"): 0.1}
    assert values(c.DETECTOR) == {("default", "errors", "against"): 4.7}
    assert values(c.DETECTOR_NEEDED) == {("default", "errors", "against"): 4.60517}


@pytest.mark.parametrize("eta_s", [None, float("inf")])
def test_what_cannot_be_known_has_no_point(eta_s: float | None) -> None:
    unread = replace(REPORT.judgment.readings[0], value=None)
    report = replace(REPORT, judgment=replace(REPORT.judgment, readings=(unread,), eta_s=eta_s))
    readings = replace(READINGS, reports=[report], processes={"main": ProcessReading()})
    assert values(c.GUARD, readings) == values(c.ETA, readings) == values(c.CPU, readings) == {}
    assert values(c.GUARD_LIMIT, readings) != {}
    known = replace(report, judgment=replace(report.judgment, eta_s=60.0))
    assert values(c.ETA, replace(readings, reports=[known])) == {("default",): 60.0}


def test_no_series_comes_twice() -> None:
    twice = replace(REPORT.judgment, readings=REPORT.judgment.readings * 2)
    readings = replace(READINGS, reports=[replace(REPORT, judgment=twice)], endpoints=ENDPOINTS * 2)
    for family, found in points(readings).items():
        assert len(found) == len(dict(found)), family.name


def test_every_point_has_the_labels_of_its_family() -> None:
    for family, found in points(READINGS).items():
        assert all(len(labels) == len(family.labels) for labels, _ in found), family.name


def test_every_family_is_exposed_under_its_name_and_meaning() -> None:
    known = replace(REPORT, judgment=replace(REPORT.judgment, eta_s=60.0))
    body, media_type = exposition(replace(READINGS, reports=[known]), "")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    found = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert set(found) == {family.name.removesuffix("_total") for family in FAMILIES}
    for family in FAMILIES:
        exposed = found[family.name.removesuffix("_total")]
        assert (exposed.type, exposed.documentation) == (family.type, family.meaning)
        extra = {"le"} if family.type == HISTOGRAM else set()
        assert {label for one in exposed.samples for label in one.labels} == {*family.labels, *extra}


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    body, _ = exposition(READINGS, "text/plain")
    (family,) = [one for one in text_string_to_metric_families(body.decode()) if one.name == c.REQUESTS.name]
    buckets = {one.labels["le"]: one.value for one in family.samples if one.name.endswith("_bucket")}
    assert [float(bound) for bound in buckets] == [*BOUNDS_S, float("inf")]
    assert list(buckets.values()) == [2] * len(BOUNDS_S) + [3]
    rest = {one.name.rpartition("_")[2]: one.value for one in family.samples if "le" not in one.labels}
    assert rest == {"count": 3, "sum": pytest.approx(40.0005)}


def test_exemplars_are_for_those_who_read_openmetrics() -> None:
    accept = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3,*/*;q=0.2"
    )
    body, media_type = exposition(READINGS, accept)
    assert media_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in openmetrics_families(body.decode())}  # type: ignore[no-untyped-call]
    (seen,) = [one.exemplar for one in families[c.ATTEMPTS.name].samples if one.exemplar is not None]
    assert seen.labels == {"trace_id": TRACE, "span_id": "cd" * 8}
    assert seen.value == 40.0
    assert b"trace_id" not in exposition(READINGS, "text/plain")[0]


@pytest.mark.parametrize(
    "accept",
    [
        *("", "*/*", "text/plain;version=0.0.4", ";;;,,=", "a" * 10_000),
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=9.9.9",
        "application/openmetrics-text;version=x\x00",
    ],
)
def test_whoever_does_not_ask_for_openmetrics_gets_text(accept: str) -> None:
    assert exposition(READINGS, accept)[1].startswith("text/plain; version=0.0.4")


def test_names_that_people_give_do_not_break_the_text() -> None:
    name = 'a"b\\c\nd\u00e9'
    state = replace(EMPTY_REPORT.state, name=name)
    body, _ = exposition(Readings(reports=[replace(EMPTY_REPORT, state=state)]), "")
    (weight,) = [one for one in text_string_to_metric_families(body.decode()) if one.name == c.WEIGHT.name]
    assert [one.labels["rollout"] for one in weight.samples] == [name]


def test_the_document_lists_all_metrics() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text


def test_names_are_as_prometheus_wants_them() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert len({family.otel_name for family in FAMILIES}) == len(names)
    for family in FAMILIES:
        assert family.name.endswith("_total") is (family.type == c.COUNTER)
        assert family.name.removesuffix("_total").endswith(family.unit), family.name
