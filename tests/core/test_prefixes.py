"""The search for the longest prefix of one host; the rules as a whole are tested with the route table."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.prefixes import PrefixTable


class CountingPath(bytes):
    """A path that counts how often it is cut."""

    cuts = 0

    def __getitem__(self, index: Any) -> Any:
        self.cuts += 1
        return super().__getitem__(index)


def table_of(*prefixes: bytes) -> PrefixTable:
    """Each prefix, for every method, leads to its place in the list."""
    table = PrefixTable()
    for rollout, prefix in enumerate(prefixes):
        table.add(prefix, frozenset(), rollout)
    return table


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", 0),
        (b"/a", 1),
        (b"/a/", 1),
        (b"/a/x", 1),
        (b"/ab", 0),
        (b"/a/b", 1),
        (b"/a/b/", 2),
        (b"/a/b/c/d", 2),
        (b"*", 0),
    ],
)
def test_the_longest_prefix_that_ends_on_a_boundary(path: bytes, expected: int) -> None:
    assert table_of(b"/", b"/a", b"/a/b/").match(path, b"GET") == expected


def test_a_prefix_with_a_slash_goes_before_the_same_without() -> None:
    table = table_of(b"/a/", b"/a", b"//")
    assert table.match(b"/a/x", b"GET") == 0
    assert table.match(b"/a", b"GET") == 1
    assert table.match(b"//x/y", b"GET") == 2


def test_the_empty_table_matches_nothing() -> None:
    assert PrefixTable().match(b"/", b"GET") == -1


def test_a_prefix_whose_methods_do_not_fit_is_passed_over() -> None:
    table = PrefixTable()
    table.add(b"/a/b", frozenset({b"PUT"}), 0)
    assert table.match(b"/a/b", b"GET") == -1
    assert table.match(b"/a/b/c", b"GET") == -1
    assert table.match(b"/a/b/c", b"PUT") == 0


def test_a_slashed_prefix_whose_methods_do_not_fit_is_passed_over_too() -> None:
    table = PrefixTable()
    table.add(b"/a/", frozenset({b"PUT"}), 0)
    table.add(b"/a", frozenset(), 1)
    assert table.match(b"/a/b", b"PUT") == 0
    assert table.match(b"/a/b", b"GET") == 1


def test_without_slashed_prefixes_each_level_of_a_path_is_cut_once() -> None:
    path = CountingPath(b"/a/b/c/d")
    assert table_of(b"/", b"/x/y/z/and/more").match(path, b"GET") == 0
    assert path.cuts == 3


def test_a_prefix_belongs_to_one_rollout_for_each_method() -> None:
    table = table_of(b"/a")
    table.add(b"/a", frozenset(), 0)
    table.add(b"/a", frozenset({b"PUT"}), 1)
    with pytest.raises(ValueError, match="rollouts 0 and 1 both claim b'/a'"):
        table.add(b"/a", frozenset(), 1)
    with pytest.raises(ValueError, match="rollouts 1 and 0 both claim b'/a'"):
        table.add(b"/a", frozenset({b"GET", b"PUT"}), 0)


def test_a_long_path_of_slashes_costs_no_more_than_the_longest_prefix() -> None:
    path = CountingPath(b"/" * 16_384)
    assert table_of(b"/api").match(path, b"GET") == -1
    assert 0 < path.cuts <= 2 * len(b"/api")
