"""Who has told what last."""

from __future__ import annotations

from proxy.core.heard import Heard
from tests.core.told import report


def test_by_another_clock_it_is_the_same_but_for_the_instants() -> None:
    one = Heard()
    assert one.take(10.0, report("a/1", 3, ages=2), ["default"]) == 0
    assert one.take(11.0, report("b/1", 1), ["default"]) == 0
    other = one.copy(5.0, without="b/1")
    assert [(source.name, source.at, source.number) for source in other] == [("a/1", 15.0, 3)]
    assert [name for name, _ in other.under_way()] == ["default"]
    assert (one.highest("b/1"), other.highest("b/1")) == (1, 0)
    assert repr(other) == "Heard(1 sources)"


def test_a_copy_is_its_own() -> None:
    one = Heard()
    one.take(10.0, report("a/1", 3), ["default"])
    other = one.copy()
    one.take(11.0, report("a/1", 4), ["default"])
    assert (one.highest("a/1"), other.highest("a/1")) == (4, 3)


def test_of_a_rollout_that_is_unknown_nothing_is_under_way() -> None:
    one = Heard()
    one.take(10.0, report("a/1", 3, ages=2), ["other"])
    assert list(one.under_way()) == []


def test_whoever_is_unknown_is_forgotten_and_whoever_is_silent_has_nothing_under_way() -> None:
    one = Heard()
    for at, source in ((1.0, "a/1"), (2.0, "b/1"), (3.0, "c/1")):
        one.take(at, report(source, 1, ages=1), ["default"])
    one.take(1.5, report("d/1", 1), ["default"])
    one.forget(3.0, 1.2)
    assert {source.name: len(source.under_way) for source in one} == {"b/1": 0, "c/1": 1, "d/1": 0}
