from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.admin_client import AdminApiError
from proxy.cli import main
from tests.fake_admin import FakeAdmin, FakeOutside
from tests.report.material import EVENTS, MINUTES, PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def outside() -> FakeOutside:
    one = FakeOutside()
    one.admin.past = EVENTS
    one.admin.recorded = MINUTES
    one.admin.configuration = {"rollouts": [{"name": "default", "phases": PHASES, "guards": []}]}
    return one


def run(outside: FakeOutside, *arguments: str) -> int:
    return main(["report", *arguments], outside=outside.build())


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.html", "<!doctype html>"),
        ("r.md", "# Rollout default"),
        ("R.JSON", "{"),
        ("r.pdf-ready", "<!doctype html>"),
    ],
)
def test_the_name_says_the_form(
    outside: FakeOutside, capsys: Captured, tmp_path: Path, name: str, begins: str
) -> None:
    assert run(outside, "-o", str(tmp_path / name)) == 0
    assert (tmp_path / name).read_text("utf-8").startswith(begins)
    assert "It is under way" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["r.pdf-ready", "r.pdf-ready.html", "R.PDF-READY.HTML"])
def test_what_is_for_paper_is_html_of_its_own(outside: FakeOutside, tmp_path: Path, name: str) -> None:
    assert run(outside, "-o", str(tmp_path / name)) == 0
    assert "@page" in (tmp_path / name).read_text("utf-8")


def test_it_begins_where_v2_last_got_something(outside: FakeOutside, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    assert run(outside, "-o", str(file)) == 0
    document = orjson.loads(file.read_bytes())
    assert [one["seq"] for one in document["events"]] == [2, 3, 4, 5]
    assert ("minutes", "1767225600.000") in outside.admin.asked


def test_last_says_how_far_back(outside: FakeOutside, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    assert run(outside, "-o", str(file), "--last", "2m") == 0
    document = orjson.loads(file.read_bytes())
    assert document["made_at"] == "2026-01-01T00:06:40Z"
    assert [one["seq"] for one in document["events"]] == [4, 5]  # those since 00:04:40
    assert [(one["phase"], one["from"]) for one in document["stays"]] == [
        ("half", "2026-01-01T00:04:40Z"),  # as it stood then
        (None, "2026-01-01T00:05:00Z"),
    ]
    assert run(outside, "-o", str(file), "--last", "1m") == 0
    document = orjson.loads(file.read_bytes())
    assert document["events"] == []
    assert [(one["state"], one["from"]) for one in document["stays"]] == [
        ("rolled_back", "2026-01-01T00:05:40Z")
    ]


def test_it_begins_no_earlier_than_anything_is_known(outside: FakeOutside, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    assert run(outside, "-o", str(file), "--last", "7d") == 0
    document = orjson.loads(file.read_bytes())
    assert (document["from"], document["stays"][0]["state"]) == ("2025-12-31T23:51:40Z", "disabled")
    outside.admin.past = []
    for last in ([], ["--last", "7d"]):
        assert run(outside, "-o", str(file), *last) == 0
        document = orjson.loads(file.read_bytes())
        assert [one["state"] for one in document["stays"]] == ["running"]
        assert document["from"] == document["stays"][0]["from"] < document["to"]


class Cut(FakeAdmin):
    """An instance that cannot reach the shared store."""

    has_copy = True

    async def events_after(self, after: int, *, limit: int, rollout: str) -> dict[str, Any]:
        return {
            **await super().events_after(after, limit=limit, rollout=rollout),
            "local_only": self.has_copy,
        }

    async def minutes(self, rollout: str, *, start: str, end: str, limit: int) -> dict[str, Any]:
        raise AdminApiError("the store does not answer")


def test_without_the_shared_store_it_is_made_from_the_copy_and_says_so(capsys: Captured) -> None:
    outside = FakeOutside()
    outside.admin = cut = Cut()
    cut.past = EVENTS
    assert run(outside, "-o", "-") == 0
    told = capsys.readouterr().out
    assert "the newest events may be missing" in told
    assert "No minute was recorded" in told
    cut.has_copy = False
    assert run(outside, "-o", "-") == 1


def test_a_dash_prints_markdown(outside: FakeOutside, capsys: Captured) -> None:
    assert run(outside, "-o", "-") == 0
    assert "## Harm, in requests" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["-o", "r.pdf"], 2), ([], 2), (["-o", "-", "--last", "soon"], 2), (["-o", "-", "--name", "other"], 1)],
)
def test_what_cannot_be_is_said(outside: FakeOutside, arguments: Sequence[str], code: int) -> None:
    assert run(outside, *arguments) == code


def test_a_folder_that_is_not_there_is_an_error(
    outside: FakeOutside, capsys: Captured, tmp_path: Path
) -> None:
    assert run(outside, "-o", str(tmp_path / "no" / "r.md")) == 1
    told = f"dualpath: error: {tmp_path / 'no' / 'r.md'} cannot be written: No such file or directory\n"
    assert capsys.readouterr().err == told


def test_all_pages_of_the_audit_are_read(outside: FakeOutside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.report.gathering._AT_ONCE", 2)
    assert run(outside, "-o", "-") == 0
    assert [one for one in outside.admin.asked if isinstance(one, tuple) and one[0] == "events_after"] == [
        ("events_after", after) for after in (0, 2, 4)
    ]


def test_of_more_events_than_are_kept_it_has_the_newest(
    outside: FakeOutside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("proxy.report.gathering._AT_ONCE", 2)
    monkeypatch.setattr("proxy.report.gathering._MOST_EVENTS", 3)
    file = tmp_path / "r.json"
    assert run(outside, "-o", str(file), "--last", "7d") == 0
    assert [one["seq"] for one in orjson.loads(file.read_bytes())["events"]] == [3, 4, 5]
