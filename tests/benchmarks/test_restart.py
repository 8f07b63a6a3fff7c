"""What a measurement of restarts makes of its answers."""

from __future__ import annotations

import pytest

from benchmarks.restart import Asked, Figure, figure_of, quantile


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value
    assert quantile([7.0], share) == 7.0


def test_requests_belong_to_the_restart_in_which_they_were_due() -> None:
    answers = [
        Asked("kept", 1.0, 5.0, 200),
        Asked("kept", 2.0, 50.0, 0),
        Asked("kept", 2.5, 40.0, 200),
        Asked("fresh", 2.0, 9.0, 503),
    ]
    spans = [(1.5, 3.0), (8.0, 9.0)]
    assert figure_of(answers, spans, "kept", during=True) == Figure(2, 1, 40.0, 50.0, 50.0)
    assert figure_of(answers, spans, "kept", during=False) == Figure(1, 0, 5.0, 5.0, 5.0)
    assert figure_of(answers, spans, "fresh", during=True).failed == 1
    assert figure_of(answers, spans, "admin", during=True) == Figure(0, 0, None, None, None)
