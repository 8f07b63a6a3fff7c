from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.admin_client import AdminApiError
from proxy.cli import main
from tests.fake_admin import FakeAdmin, FakeOutside, override

if TYPE_CHECKING:
    from collections.abc import Sequence

Captured = pytest.CaptureFixture[str]


def run(outside: FakeOutside, *arguments: str) -> int:
    return main(arguments, outside=outside.build())


@pytest.fixture
def outside() -> FakeOutside:
    return FakeOutside()


# ... verbs that look ...


def test_status_is_a_text_for_people(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "status") == 0
    out = capsys.readouterr().out
    assert "default: running at 30%" in out
    assert "\x1b" not in out


def test_status_as_json_is_what_the_api_said(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "status", "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["rollouts"] == outside.admin.rollouts


def test_history_asks_for_the_newest(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "history") == 0
    assert run(outside, "history", "--limit", "7") == 0
    assert outside.admin.asked == [20, 7]
    assert "guard:error_rate by controller" in capsys.readouterr().out


def test_history_as_json(outside: FakeOutside, capsys: Captured) -> None:
    run(outside, "history", "--json")
    assert orjson.loads(capsys.readouterr().out)["last"] == 9


def test_json_steers_no_terminal_and_says_the_same(outside: FakeOutside, capsys: Captured) -> None:
    reason = outside.admin.rollouts[0]["reason"] = "é\x1b[31m \x7f \x9b31m \u202e \U000e0041"
    assert run(outside, "status", "--json") == 0
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)
    assert "é" in out
    assert orjson.loads(out)["rollouts"][0]["reason"] == reason


def test_explain_says_where_a_key_goes(outside: FakeOutside, capsys: Captured) -> None:
    arguments = ("--key", "alice", "--path", "/menu", "--host", "a.example", "--method", "POST")
    assert run(outside, "explain", *arguments) == 0
    assert outside.admin.asked == [{"key": "alice", "path": "/menu", "host": "a.example", "method": "POST"}]
    assert 'key "alice" goes to v2' in capsys.readouterr().out


def test_explain_as_json(outside: FakeOutside, capsys: Captured) -> None:
    run(outside, "explain", "--key", "alice", "--json")
    assert orjson.loads(capsys.readouterr().out)["bucket"] == 7


def endpoint(path: str, port: int, *, healthy: bool = True, ejected: bool = False) -> dict[str, object]:
    return {
        "path": path,
        "url": f"http://127.0.0.1:{port}",
        "healthy": healthy,
        "ejected": ejected,
        "outstanding": 0,
        "idle_connections": 0,
    }


def test_health_is_0_while_each_path_has_an_endpoint(capsys: Captured) -> None:
    outside = FakeOutside("a", "b")
    for rollout in outside.admin.rollouts:
        rollout["endpoints"] = [
            endpoint("v2", 3),
            endpoint("v1", 1),
            endpoint("v2", 2, healthy=False),
        ]
    assert run(outside, "health") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in out[1:]] == [
        ["v1", "http://127.0.0.1:1", "healthy"],
        ["v2", "http://127.0.0.1:2", "unhealthy"],
        ["v2", "http://127.0.0.1:3", "healthy"],
    ]


@pytest.mark.parametrize(
    ("endpoints", "lost"),
    [
        ([endpoint("v1", 1), endpoint("v2", 2, healthy=False)], ["v2"]),
        ([endpoint("v1", 1, ejected=True), endpoint("v2", 2)], ["v1"]),
        ([], ["v1", "v2"]),
    ],
)
def test_health_is_1_when_a_path_has_none(
    endpoints: list[dict[str, object]], lost: list[str], outside: FakeOutside, capsys: Captured
) -> None:
    outside.admin.rollouts[0]["endpoints"] = endpoints
    assert run(outside, "health", "--json") == 1
    out, err = capsys.readouterr()
    assert orjson.loads(out)["endpoints"] == endpoints
    assert err.splitlines() == [f"dualpath: error: {path} has no healthy endpoint" for path in lost]


@pytest.mark.parametrize("arguments", [["status"], ["health"], ["history"], ["rollout", "pause"]])
def test_an_admin_that_cannot_be_reached_is_one_line_and_exit_1(
    arguments: Sequence[str], outside: FakeOutside, capsys: Captured
) -> None:
    outside.failure = AdminApiError("cannot reach the admin API at http://127.0.0.1:9900: Connection refused")
    assert run(outside, *arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"dualpath: error: {outside.failure}\n")


# ... verbs that act ...


@pytest.mark.parametrize(
    ("arguments", "verb", "body"),
    [
        (["start"], "start", {}),
        (["pause", "--reason", "lunch"], "pause", {"reason": "lunch"}),
        (["resume"], "resume", {}),
        (["promote"], "promote", {}),
        (["promote", "--full"], "promote", {"full": True}),
        (["rollback"], "rollback", {}),
        (["rollback", "--to", "5"], "rollback", {"percentage": 5.0}),
        (["rollback", "--to", "0"], "rollback", {"percentage": 0.0}),
        (["set", "0"], "set", {"percentage": 0.0}),
        (["set", "12.5%"], "set", {"percentage": 12.5}),
        (["set", "100", "--reason", "all of it"], "set", {"percentage": 100.0, "reason": "all of it"}),
        (["abort"], "abort", {}),
        (["step-down", "--reason", "slow"], "step_down", {"reason": "slow"}),
    ],
)
def test_a_verb_is_sent_with_what_it_was_given(
    arguments: list[str], verb: str, body: dict[str, object], outside: FakeOutside, capsys: Captured
) -> None:
    assert run(outside, "rollout", *arguments) == 0
    assert outside.admin.commands == [("default", verb, body)]
    assert capsys.readouterr().out == "default: running at 30%, phase half, revision 4\n"


@pytest.mark.parametrize(
    "percentage",
    ["101", "-1", "nan", "inf", "12.3456", "abc", "", "1e3", "1e1", "5%%", "1_0", "٣", "5\n", "."],
)
@pytest.mark.parametrize("arguments", [["set", "--"], ["rollback", "--to"]])
def test_what_is_no_percentage_is_not_sent(
    arguments: list[str], percentage: str, outside: FakeOutside, capsys: Captured
) -> None:
    assert run(outside, "rollout", *arguments, percentage) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dualpath: error: Invalid value for '")
    assert err.count("\n") == 1
    assert outside.connected == []


def test_a_named_rollout_is_not_looked_for(outside: FakeOutside) -> None:
    assert run(outside, "rollout", "pause", "--name", "checkout") == 0
    assert outside.admin.commands[0][0] == "checkout"
    assert outside.admin.asked == []


def test_an_empty_name_is_a_usage_error(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "rollout", "pause", "--name", "") == 2
    assert capsys.readouterr().err == "dualpath: error: --name must not be empty\n"
    assert outside.admin.commands == []


def test_what_is_not_stored_yet_is_said(outside: FakeOutside, capsys: Captured) -> None:
    outside.admin.stored = False
    assert run(outside, "rollout", "rollback") == 0
    assert capsys.readouterr().out.endswith(", revision 4, not stored yet\n")


def test_several_rollouts_and_none_named_is_a_usage_error_that_lists_them(capsys: Captured) -> None:
    outside = FakeOutside("checkout", "search")
    assert run(outside, "rollout", "pause") == 2
    words = "there are several rollouts, choose with --name or --all: checkout, search"
    assert capsys.readouterr().err == f"dualpath: error: {words}\n"
    assert outside.admin.commands == []


def test_all_means_each(capsys: Captured) -> None:
    outside = FakeOutside("checkout", "search")
    assert run(outside, "rollout", "rollback", "--all") == 0
    assert [name for name, _, _ in outside.admin.commands] == ["checkout", "search"]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_rollout_that_refuses_does_not_spare_the_next(capsys: Captured) -> None:
    outside = FakeOutside("checkout", "search")
    outside.admin.failures["checkout"] = AdminApiError("cannot resume what is running")
    assert run(outside, "rollout", "resume", "--all") == 1
    out, err = capsys.readouterr()
    assert out.startswith("search: ")
    assert err == "dualpath: error: checkout: cannot resume what is running\n"


def test_a_refusal_of_the_only_one_is_one_line(outside: FakeOutside, capsys: Captured) -> None:
    outside.admin.failures["default"] = AdminApiError("cannot resume what is running")
    assert run(outside, "rollout", "resume") == 1
    assert capsys.readouterr().err == "dualpath: error: cannot resume what is running\n"


def test_name_and_all_exclude_each_other(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "rollout", "pause", "--name", "a", "--all") == 2
    assert "exclude each other" in capsys.readouterr().err
    assert outside.admin.commands == []


def test_a_pattern_means_those_that_it_names(capsys: Captured) -> None:
    outside = FakeOutside("checkout-a", "search", "checkout-b")
    assert run(outside, "rollout", "set", "5", "--name", "checkout-*", "--reason", "x") == 0
    assert outside.admin.commands == [
        ("checkout-a", "set", {"percentage": 5.0, "reason": "x"}),
        ("checkout-b", "set", {"percentage": 5.0, "reason": "x"}),
    ]
    assert len(capsys.readouterr().out.splitlines()) == 2


# ... everything at once ...


def test_an_emergency_stop_says_what_it_stopped(capsys: Captured) -> None:
    outside = FakeOutside("checkout", "search")
    outside.admin.stored = False
    assert run(outside, "emergency-stop", "--reason", "fire") == 0
    assert outside.admin.asked == [("emergency_stop", "fire")]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["checkout", "search"]
    assert all(line.endswith("not stored yet") for line in lines)


def test_an_emergency_stop_whose_reason_was_dropped_is_done_and_says_so(
    outside: FakeOutside, capsys: Captured
) -> None:
    outside.admin.dropped = "reason: String should have at most 500 characters"
    assert run(outside, "emergency-stop", "--reason", "x" * 501) == 0
    said = capsys.readouterr()
    assert said.out.startswith("default: ")
    assert said.err == "dualpath: the reason was dropped: reason: String should have at most 500 characters\n"


def test_an_emergency_stop_of_nothing_says_so(outside: FakeOutside, capsys: Captured) -> None:
    outside.admin.rollouts = []
    assert run(outside, "emergency-stop") == 0
    assert capsys.readouterr().out == "no rollout gave v2 anything\n"


# ... overrides ...


def test_a_key_is_sent_to_one_path(outside: FakeOutside, capsys: Captured) -> None:
    arguments = ("ada", "v2", "--for", "2h", "--name", "search", "--reason", "to look")
    assert run(outside, "override", "set", *arguments) == 0
    body = {"key": "ada", "path": "v2", "expires_in": "2h", "reason": "to look"}
    assert outside.admin.asked == [("override", "search", body)]
    assert capsys.readouterr().out == "search: key ada goes to v2 until 2027-01-01 00:00:00Z\n"
    assert run(outside, "override", "set", "ada", "v1") == 0
    assert outside.admin.asked[-1] == ("override", "default", {"key": "ada", "path": "v1"})
    assert capsys.readouterr().out == "default: key ada goes to v1\n"


def test_a_key_that_is_sent_to_v2_while_the_rollout_is_taken_back_is_not_there_yet(
    outside: FakeOutside, capsys: Captured
) -> None:
    outside.admin.suspended = True
    assert run(outside, "override", "set", "ada", "v2") == 0
    assert capsys.readouterr().out == (
        "default: key ada is to go to v2, suspended: the rollout was taken back, "
        "and overrides to v2 count again once it is started\n"
    )
    outside.admin.overridden = [override("default", suspended=True), override("default", "bob", "v1")]
    assert run(outside, "override", "list") == 0
    _, first, second, note = capsys.readouterr().out.splitlines()
    assert first.split() == ["default", "ada", "v2", "(suspended)", "-", "tess", "-"]
    assert second.split() == ["default", "bob", "v1", "-", "tess", "-"]
    assert note.startswith("suspended: ")


def test_overrides_are_listed(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "override", "list") == 0
    assert capsys.readouterr().out == "no key is overridden\n"
    outside.admin.overridden = [override("default", "a\x1b[2J", expires_in="1h"), override("default")]
    assert run(outside, "override", "list", "--name", "default") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["key", "path", "until", "by", "reason"]
    assert "\x1b" not in first
    assert second.split() == ["ada", "v2", "-", "tess", "-"]
    assert run(outside, "override", "list", "--json") == 0
    assert len(orjson.loads(capsys.readouterr().out)["overrides"]) == 2


def test_overrides_of_all_rollouts_are_listed_unless_one_is_named(
    outside: FakeOutside, capsys: Captured
) -> None:
    outside.admin = FakeAdmin("checkout", "search")
    outside.admin.overridden = [override("search", "bob", "v1"), override("checkout")]
    assert run(outside, "override", "list") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["rollout", "key"]
    assert (first.split()[:2], second.split()[:2]) == (["checkout", "ada"], ["search", "bob"])
    assert run(outside, "override", "list", "--name", "search", "--json") == 0
    assert [one["key"] for one in orjson.loads(capsys.readouterr().out)["overrides"]] == ["bob"]


def test_an_override_asks_for_a_name_where_it_must_have_one(outside: FakeOutside, capsys: Captured) -> None:
    outside.admin = FakeAdmin("checkout", "search")
    assert run(outside, "override", "set", "ada", "v2") == 2
    words = "there are several rollouts, choose with --name: checkout, search"
    assert words in capsys.readouterr().err


def test_a_key_is_split_again(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "override", "remove", "ada") == 0
    assert outside.admin.asked[-1] == ("take_override_back", "default", "ada")
    assert capsys.readouterr().out == "default: key ada is split like all others, no longer v2\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "ada"],
        ["set", "ada", "v3"],
        ["set", "ada", "v1", "--for", "soon"],
        ["remove"],
        ["list", "--name", ""],
    ],
)
def test_an_override_that_says_too_little_is_a_usage_error(
    arguments: list[str], outside: FakeOutside, capsys: Captured
) -> None:
    assert run(outside, "override", *arguments) == 2
    assert capsys.readouterr().err.startswith("dualpath: error: ")
