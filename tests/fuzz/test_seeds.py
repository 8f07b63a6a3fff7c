"""Every input that the fuzzer begins with, and all that was found once, passes."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_pass(name: str) -> None:
    inputs = seeds(name)
    assert inputs
    for data in inputs:
        TARGETS[name](data)


def test_words_are_short_enough_for_a_dictionary() -> None:
    assert all(1 < len(word) <= 64 for word in words())
