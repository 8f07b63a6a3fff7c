"""What the judge's tests are told: tolerances and levels, as plain numbers.

Owns their names and defaults. Must never know how a configuration spells them, or what a test makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgePolicy:
    """Rates are shares 0..1 of requests: a tenth of a percentage point is 0.001."""

    tolerable_ratio: float = 1.1
    """v2's error rate is tolerable up to this many times v1's …"""
    tolerable_points: float = 0.001
    """… and this much on top."""
    unacceptable_ratio: float = 1.0
    """v2's error rate stands in the way of a promotion from this many times v1's …"""
    unacceptable_points: float = 0.01
    """… and this much on top."""
    latency_tolerable_ratio: float = 1.25
    latency_tolerable_s: float = 0.010
    latency_unacceptable_ratio: float = 1.5
    latency_unacceptable_s: float = 0.010
    false_alarms: float = 0.01
    """α: how often per day, at most, a tolerable v2 may be called worse."""
    wrong_promotions: float = 0.05
    """How often per phase, at most, an unacceptable v2 may be called good."""
    noise_margin: float = 4.0
    """κ: how many standard deviations of v1's own noise are added to what is tolerable."""
