from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from proxy.admin.views import event_view, explanation_view, rollout_view, summary_view
from proxy.history_text import history_lines, history_table
from proxy.model import Explanation, KeyOverride, Path
from proxy.printable import clean
from proxy.rendering import (
    command_text,
    duration,
    endpoint_state,
    explanation_text,
    health_text,
    milliseconds,
    percent,
    status_text,
)
from tests.admin.builders import EMPTY_REPORT, EVENT, REPORT

if TYPE_CHECKING:
    from rich.console import RenderableType


def through_json(document: object) -> dict[str, Any]:
    return cast("dict[str, Any]", orjson.loads(orjson.dumps(document)))


def status(*reports: Any) -> dict[str, Any]:
    rollouts = [rollout_view(report) for report in reports]
    return through_json(
        {
            "instance": "proxy-1",
            "version": "1.2.3",
            "uptime_s": 3723.4,
            "workers": 1,
            "store": {"waiting": 0, "trouble": None},
            "summary": summary_view(reports),
            "rollouts": rollouts,
        }
    )


def printed(renderable: RenderableType, *, terminal: bool = False, width: int = 80) -> str:
    out = io.StringIO()
    Console(
        file=out,
        width=width,
        force_terminal=terminal,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    ).print(renderable, soft_wrap=True)
    return out.getvalue()


def test_status_puts_v2_beside_v1() -> None:
    lines = [line.rstrip() for line in printed(status_text(status(REPORT))).splitlines()]
    assert lines[0] == (
        "1 of 1 rollout enabled (1 disabled), 30% of the traffic on v2, 0 users seen, 0 on v2"
    )
    assert lines[1] == "dualpath 1.2.3 on proxy-1, up 1h 2m, 1 worker"
    assert lines[3] == (
        "default: running at 30%, phase half, revision 4, observed 30%, since 2026-01-01 00:00:00Z"
    )
    rows = {line.split()[0]: line.split()[1:] for line in lines[9:] if line}
    assert rows["requests"] == ["700", "200", "700", "200"]
    assert rows["fallbacks"] == ["75", "75"]
    assert rows["mean"] == ["20.0", "ms", "30.0", "ms", "+10.0", "ms", "20.0", "ms", "30.0", "ms"]


def test_a_rollout_of_which_nothing_is_known_yet_has_no_beginning() -> None:
    document = status(REPORT)
    document["rollouts"][0] |= {"revision": 0, "since": 0.0}
    text = printed(status_text(document))
    assert "revision 0, observed 30%, not known here yet\n" in text
    assert "1970" not in text


def test_status_says_what_was_turned_away_and_nothing_if_nothing_was() -> None:
    document = status(REPORT)
    document["refused"] = {"malformed": 0, "too_large": 0}
    assert "turned away" not in printed(status_text(document))
    document["refused"] = {"malformed": 3, "too_large": 1, "tls": 0}
    assert "\nturned away: 3 malformed, 1 too large\n" in printed(status_text(document))


def test_status_says_how_many_tunnels_are_open() -> None:
    document = status(REPORT)
    document["tunnels"] = {"v1": 0, "v2": 0}
    assert "tunnels" not in printed(status_text(document))
    document["tunnels"] = {"v1": 0, "v2": 12}
    assert "\nopen tunnels: 0 on v1, 12 on v2\n" in printed(status_text(document))


@pytest.mark.parametrize(
    ("waiting", "words"), [(1, "1 change not stored yet"), (2, "2 changes not stored yet")]
)
def test_status_says_what_is_not_stored(waiting: int, words: str) -> None:
    document = status(REPORT)
    document["store"]["waiting"] = waiting
    assert printed(status_text(document)).splitlines()[2] == words


def test_status_says_why_the_store_takes_nothing() -> None:
    document = status(REPORT)
    document["store"]["trouble"] = "state.db: is read-only"
    assert printed(status_text(document)).splitlines()[2] == (
        "the store has not taken what was last written, and until it does nothing is raised"
        ": state.db: is read-only"
    )


def test_status_names_reason_verdict_and_breaker() -> None:
    text = printed(status_text(status(REPORT)))
    for line in ("reason   why", "verdict  fail: guard error_rate above 0.1: 0.3", "breaker  half_open"):
        assert line in text


def test_status_shows_each_guard_with_its_reading() -> None:
    rows = [line.split() for line in printed(status_text(status(REPORT))).splitlines()]
    assert ["error_rate", "above", "0.1", "0.3", "200", "firing", "rollback"] in rows


def test_status_says_what_clients_saw() -> None:
    text = printed(status_text(status(REPORT)))
    assert "clients, last 1m:  1,000 requests, 8 errors (0.80%), 4 left early" in text
    assert "clients, in all:   1,000 requests, 8 errors (0.80%), 4 left early" in text


def test_status_without_traffic_shows_no_latency_and_no_guards() -> None:
    text = printed(status_text(status(EMPTY_REPORT)))
    assert "p95             -" in text
    assert "guard" not in text
    assert "verdict  hold\n" in text


def test_status_without_a_reason_shows_a_dash() -> None:
    document = status(EMPTY_REPORT)
    document["rollouts"][0]["reason"] = ""
    assert "reason   -" in printed(status_text(document))


def test_status_shows_every_rollout() -> None:
    document = status(REPORT, REPORT)
    document["rollouts"][1]["name"] = "checkout"
    document["workers"] = 2
    text = printed(status_text(document))
    assert "default: running" in text
    assert "checkout: running" in text
    assert "2 workers" in text


def test_tables_fit_80_columns_with_large_figures() -> None:
    document = status(REPORT)
    for figures in (document["rollouts"][0], document["rollouts"][0]["recent"]):
        for path in figures["paths"].values():
            path.update(requests=1_234_567, errors=234_567)
            path["latency_ms"] = dict.fromkeys(path["latency_ms"], 12_345.6)
    table = printed(status_text(document)).split("\n\n")[2]
    assert "1,234,567" in table
    assert max(len(line) for line in table.splitlines()) <= 80


def test_nothing_but_text_is_printed_when_it_is_no_terminal() -> None:
    assert "\x1b" not in printed(status_text(status(REPORT)))
    assert "\x1b" in printed(status_text(status(REPORT)), terminal=True)


def guard(**changes: Any) -> list[str]:
    """The words of one guard's row."""
    document = status(REPORT)
    document["rollouts"][0]["guards"][0].update(changes)
    return printed(status_text(document)).splitlines()[-1].split()[3:]


def test_a_guard_is_firing_crossed_ok_or_waiting_for_its_sample() -> None:
    assert guard()[-2] == "firing"
    assert guard(firing=False)[-2] == "crossed"
    assert guard(firing=False, crossed=False)[-2] == "ok"
    assert guard(firing=False, crossed=False, value=None)[-2] == "waiting"


def test_a_guards_value_has_the_unit_of_its_metric() -> None:
    assert guard(metric="latency_p95", value=0.25)[:2] == ["250.0", "ms"]
    assert guard(metric="latency_ratio_p95", value=1.5)[0] == "1.5"
    assert guard(value=None)[0] == "-"


def test_a_guard_that_has_seen_too_little_says_how_much_it_needs() -> None:
    assert guard(sample=12)[1:4] == ["12", "of", "20"]


def test_a_smaller_v2_has_a_minus() -> None:
    document = status(REPORT)
    document["rollouts"][0]["recent"]["comparison"]["p50_ms"]["difference"] = -3.25
    assert "-3.2 ms" in printed(status_text(document))


def test_after_a_verb_one_line_says_where_the_rollout_stands() -> None:
    rollout = {**through_json(rollout_view(REPORT)), "stored": True}
    assert command_text(rollout).plain == "default: running at 30%, phase half, revision 4"
    rollout.update(phase=None, state="disabled", percentage=0.0)
    assert command_text(rollout).plain == "default: disabled at 0%, revision 4"
    rollout.update(stored=False)
    assert command_text(rollout).plain == "default: disabled at 0%, revision 4, not stored yet"


def test_health_lists_endpoints_with_their_state() -> None:
    endpoints = through_json(rollout_view(REPORT))["endpoints"]
    rows = [line.split() for line in printed(health_text(endpoints)).splitlines()]
    assert rows == [
        ["path", "endpoint", "state", "outstanding", "idle"],
        ["v1", "http://127.0.0.1:9001", "healthy", "2", "5"],
        ["v2", "http://127.0.0.1:9002", "ejected", "0", "0"],
    ]


def test_an_unhealthy_endpoint_is_that_before_it_is_ejected() -> None:
    assert endpoint_state({"healthy": False, "ejected": True}) == "unhealthy"


@pytest.mark.parametrize(
    ("explanation", "sentence"),
    [
        (
            Explanation("default", Path.V2, "bucket < weight", "alice", 7, 30_000),
            'key "alice" goes to v2: bucket < weight (rollout default, bucket 7, weight 30000 of 100000)',
        ),
        (
            Explanation("default", Path.V1, "deny v2", "bob", None, 30_000),
            'key "bob" goes to v1: deny v2 (rollout default, weight 30000 of 100000)',
        ),
        (Explanation(None, Path.V1, "no route"), "a request without a key goes to v1: no route"),
    ],
)
def test_an_explanation_is_one_sentence(explanation: Explanation, sentence: str) -> None:
    assert explanation_text(through_json(explanation_view(explanation))).plain == sentence


HOSTILE = "\x1b]0;owned\x07[red]\r\n\u202e"


def test_text_of_others_cannot_steer_the_terminal() -> None:
    document = status(REPORT)
    rollout = document["rollouts"][0]
    for name in ("name", "reason", "phase"):
        rollout[name] = HOSTILE
    rollout["judgment"]["reasons"] = [HOSTILE]
    rollout["guards"][0]["name"] = HOSTILE
    document["instance"] = HOSTILE
    event = through_json(event_view(EVENT))
    event.update(rollout=HOSTILE, cause=HOSTILE, actor=HOSTILE, reason=HOSTILE, at=HOSTILE)
    explained = {"key": HOSTILE, "rollout": HOSTILE, "rule": HOSTILE, "path": "v1", "bucket": 1, "weight": 2}
    endpoints = copy.deepcopy(rollout["endpoints"])
    endpoints[0]["url"] = HOSTILE
    for text in (
        status_text(document),
        history_table({"events": [event]}),
        history_lines({"events": [event]}),
        explanation_text(explained),
        health_text(endpoints),
    ):
        out = printed(text)
        assert "\x1b" not in out
        assert "\r" not in out
        assert "\u202e" not in out
        assert "[red]" in out


@given(st.text())
def test_clean_text_is_printable_and_as_long(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) == len(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.9, "0s"), (60, "1m"), (61.7, "1m 1s"), (3723, "1h 2m"), (86_400, "1d"), (90_061, "1d 1h")],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0%"), (0.001, "0.001%"), (12.5, "12.5%"), (33.33333, "33.333%")]
)
def test_percentages_have_no_idle_zeros(value: float, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0 ms"), (999.9, "999.9 ms"), (1500, "1.50 s")])
def test_latencies_carry_their_unit(value: float, text: str) -> None:
    assert milliseconds(value) == text


def test_an_explanation_says_who_set_an_override_and_until_when() -> None:
    override = KeyOverride("default", "alice", Path.V2, "tess", 1_767_225_600.0, 1_767_229_200.0, "ticket 7")
    explained = Explanation("default", Path.V2, "override v2", "alice", 7, 30_000, override)
    assert printed(explanation_text(through_json(explanation_view(explained)))).splitlines() == [
        'key "alice" goes to v2: override v2 (rollout default, bucket 7, weight 30000 of 100000)',
        "set by tess at 2026-01-01 00:00:00Z, until 2026-01-01 01:00:00Z: ticket 7",
    ]
    forever = replace(explained, override=replace(override, expires_at=None, reason=""))
    told = printed(explanation_text(through_json(explanation_view(forever)))).splitlines()
    assert told[1] == "set by tess at 2026-01-01 00:00:00Z, until it is removed"
