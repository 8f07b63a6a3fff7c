"""`history --verify`: what is wrong with the chain is named, and nothing is taken on trust."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.cli import main
from proxy.core.audit import GENESIS, Begin, Head, Record, TrailPage, link
from proxy.stores.records import encode_transition
from tests.fake_admin import FakeAdmin, FakeOutside
from tests.stores.states import chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.admin_client import JsonDocument

REVISION = 4
"""Of the rollout that the fake admin shows."""


def records(count: int, name: str = "default") -> list[Record]:
    found, previous = [], GENESIS
    for seq, transition in enumerate(chain(name, list(range(1, count + 1))), 1):
        text = encode_transition(transition)
        previous = link(previous, seq, text)
        found.append(Record(seq, text, previous))
    return found


def page(kept: Sequence[Record], *, adopted: int = 0, head: Record | None = None) -> TrailPage:
    last = head or kept[-1]
    return TrailPage(tuple(kept), Head(last.seq, last.hash, adopted))


def run(
    trail: TrailPage, *arguments: str, waiting: int = 0, weight: int = REVISION, local_only: bool = False
) -> int:
    outside = FakeOutside()
    outside.admin.local_only = local_only
    (rollout,) = outside.admin.rollouts
    outside.admin.rollouts = [{**rollout, "state": "running", "weight": weight, "phase": None}]
    outside.admin.trail = trail
    outside.admin.waiting = waiting
    return main(["history", "--verify", *arguments], outside=outside.build())


def test_a_whole_chain_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    assert run(page(whole)) == 0
    assert capsys.readouterr().out == f"verified: 4 events, the chain ends at 4:{whole[-1].hash}\n"


def test_of_an_instances_own_copy_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    outside = FakeOutside()
    outside.admin.local_only = True
    outside.admin.rollouts = []
    outside.admin.trail = page(records(2))
    assert main(["history", "--verify"], outside=outside.build()) == 0
    assert "own copy, because the shared store cannot be reached" in capsys.readouterr().out
    assert main(["history"], outside=outside.build()) == 0
    assert "own copy, because the shared store cannot be reached" in capsys.readouterr().out


def test_a_copy_that_lacks_the_newest_is_no_sign_of_tampering() -> None:
    whole = records(REVISION)
    assert run(page(whole[:-1])) == 1
    assert run(page(whole[:-1]), local_only=True) == 0
    assert run(page(whole[:-1]), "--head", f"{len(whole)}:{whole[-1].hash[:12]}", local_only=True) == 0
    assert run(page(whole[:-1], head=whole[-1]), local_only=True) == 1
    assert run(page(whole[1:]), local_only=True) == 1


def trimmed(whole: list[Record], upto: int) -> TrailPage:
    begin = Begin(upto, whole[upto - 1].hash)
    return replace(page(whole[upto:], head=whole[-1]), begin=begin)


def test_what_is_kept_is_verified_from_where_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    assert run(trimmed(whole, 2)) == 0
    told = capsys.readouterr().out
    assert told.startswith("verified: 2 events")
    assert f"what is kept follows event 2:{whole[1].hash[:12]}" in told


def test_a_beginning_that_was_not_the_one_before_shows(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    wrong = replace(trimmed(whole, 2), begin=Begin(1, whole[0].hash))
    assert run(wrong) == 1
    assert "event 2 is missing" in capsys.readouterr().out
    assert run(replace(trimmed(whole, 2), begin=Begin(2, whole[0].hash))) == 1


def test_of_what_is_forgotten_nothing_that_was_noted_can_be_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = records(REVISION)
    assert run(trimmed(whole, 2), "--head", f"1:{whole[0].hash[:12]}") == 1
    assert "event 1, which was noted, cannot be compared" in capsys.readouterr().out
    assert run(trimmed(whole, 2), "--head", f"2:{whole[1].hash[:12]}") == 0
    assert run(trimmed(whole, 2), "--head", f"3:{whole[2].hash[:12]}") == 0


def test_a_rollout_whose_last_event_is_forgotten_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    others, previous = [], GENESIS
    for seq, transition in enumerate([*chain("default", [1, 2, 3, 4]), *chain("other", [1])], 1):
        previous = link(previous, seq, text := encode_transition(transition))
        others.append(Record(seq, text, previous))
    assert run(trimmed(others, 4)) == 0
    assert "verified: 1 event," in capsys.readouterr().out


def test_a_long_chain_is_read_in_pages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page(records(2_345))) == 0
    assert capsys.readouterr().out.startswith("verified: 2345 events")


@pytest.mark.parametrize(
    ("places", "rc", "told"),
    [  # of each page whether it is the copy's: the store goes away, or comes back, between two of them
        ("s c ccccc", 0, "own copy, because"),
        ("c s sssss", 0, "verified: 2345 events"),
        ("s s s s c c s s c", 1, "comes and goes"),
    ],
)
def test_parts_of_the_store_and_of_a_copy_are_not_verified_as_one_chain(
    places: str, rc: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = FakeOutside()
    outside.admin.rollouts = []
    whole = records(2_345)
    given = iter(places.replace(" ", ""))

    async def read(*, after: int, limit: int) -> JsonDocument:
        outside.admin.local_only = next(given) == "c"
        # The copy is another chain from its second page on, as after a failover that has lost writes.
        outside.admin.trail = page(whole if after < 500 or not outside.admin.local_only else whole[:-1])
        return await FakeAdmin.records(outside.admin, after=after, limit=limit)

    outside.admin.records = read  # type: ignore[method-assign]
    assert main(["history", "--verify"], outside=outside.build()) == rc
    out = capsys.readouterr()
    assert told in out.out + out.err


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([0, 1, 3], "event 3 is missing: event 4 follows event 2 (gap)"),
        ([0, 1, 2], "event 4 is missing at the end (truncated)"),
        ([], "events 1 to 4 are missing at the end (truncated)"),
    ],
)
def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], kept: list[int], told: str) -> None:
    whole = records(REVISION)
    assert run(page([whole[place] for place in kept], head=whole[-1])) == 1
    assert capsys.readouterr().out == f"NOT verified: {told}\n"


def test_an_edit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    whole[1] = replace(whole[1], text=whole[1].text.replace("tess", "eve"))
    assert run(page(whole)) == 1
    assert "NOT verified: event 2 does not carry its hash" in capsys.readouterr().out


def test_a_cut_that_moved_the_end_too_is_missed_by_what_is_in_force(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut = records(REVISION - 1)
    assert run(page(cut)) == 1
    assert "default is at revision 4, and its last event is of revision 3" in capsys.readouterr().out
    assert run(page(cut), waiting=1) == 0, "what is in force waits for the store"


def test_a_state_that_no_event_tells_of_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    assert run(page(whole), weight=REVISION + 1) == 1
    assert (
        "default is running at 0.005 %, and its last event left it running at 0.004 %"
        in capsys.readouterr().out
    )


def test_an_event_that_was_filed_under_another_rollout_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """By that it is found, or not found: `history --name default` would no longer show it."""
    whole = [replace(record, rollout="default") for record in records(REVISION)]
    assert run(page(whole)) == 0
    capsys.readouterr()
    whole[1] = replace(whole[1], rollout="other")
    assert run(page(whole)) == 1
    assert (
        capsys.readouterr().out == "NOT verified: event 2 is of 'default', and was moved to 'other' (edit)\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("not JSON", "17", "[]", "null", "{}", '{"after": 7}', '{"after": {"name": "default"}}'),
        '{"after": {"name": [], "state": "idle", "weight": 0, "revision": 5}}',
        '{"after": {"name": "default", "state": "idle", "weight": "0", "revision": 5}}',
        '{"after": {"name": "default", "state": "idle", "weight": 0, "revision": null}}',
    ],
)
def test_a_record_that_is_chained_and_tells_nothing_is_named(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """A file of the first version may have held anything when its events were chained."""
    whole = records(REVISION)
    mark = link(whole[-1].hash, REVISION + 1, text)
    assert run(page([*whole, Record(REVISION + 1, text, mark)], adopted=REVISION + 1)) == 1
    assert capsys.readouterr().out == (
        "NOT verified: event 5 cannot be read: no dualpath has written it (foreign)\n"
    )


def test_a_chain_that_was_computed_anew_differs_from_what_was_noted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, other = records(REVISION), records(REVISION, "default")
    assert run(page(other), "--head", f"3:{whole[2].hash[:12]}") == 0
    capsys.readouterr()
    assert run(page(other), "--head", "3:0123456789ab") == 1
    assert "event 3 has the hash" in capsys.readouterr().out
    assert run(page(other), "--head", "9:0123456789ab") == 1
    assert "events 5 to 9 are missing at the end" in capsys.readouterr().out


def test_events_from_before_the_chain_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page(records(REVISION), adopted=2)) == 0
    assert "the chain begins after event 2" in capsys.readouterr().out


def test_for_scripts_it_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    whole = records(REVISION)
    assert run(page(whole), "--json") == 0
    assert orjson.loads(capsys.readouterr().out) == {
        "verified": True,
        "events": 4,
        "adopted": 0,
        "begin": {"seq": 0, "hash": GENESIS},
        "head": {"seq": 4, "hash": whole[-1].hash},
        "local_only": False,
        "fault": None,
    }
    assert run(page(whole[1:]), "--json") == 1
    assert orjson.loads(capsys.readouterr().out)["fault"] == {
        "kind": "gap",
        "seq": 1,
        "text": "event 1 is missing: event 2 follows event 0",
    }


@pytest.mark.parametrize("head", ["3", "3:xyz", "x:0123456789ab", "3:01234", ":0123456789ab"])
def test_a_head_that_is_none_is_a_mistake(capsys: pytest.CaptureFixture[str], head: str) -> None:
    assert run(page(records(REVISION)), "--head", head) == 2
    assert "--head must be a number" in capsys.readouterr().err


def test_a_head_without_a_check_is_a_mistake() -> None:
    assert main(["history", "--head", "3:0123456789ab"], outside=FakeOutside().build()) == 2
