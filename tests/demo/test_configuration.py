"""The demo's configuration holds what the demo is to show."""

from __future__ import annotations

from proxy.demo.configuration import demo_config
from proxy.demo.faults import SLOWNESS_S
from proxy.judgment import Action, Metric

CONFIG = demo_config("http://127.0.0.1:9001", "http://127.0.0.1:9002", "127.0.0.1:0", "127.0.0.1:0")


def test_clients_are_told_who_answered() -> None:
    assert CONFIG.listen.expose_path


def test_nothing_is_left_on_disk() -> None:
    assert CONFIG.store.url == "memory://"


def test_users_are_known_by_the_header_that_the_traffic_sends() -> None:
    (rollout,) = CONFIG.rollouts
    assert rollout.key[0] == "header:X-User-Id"


def test_every_fault_crosses_a_guard_that_rolls_back() -> None:
    (rollout,) = CONFIG.rollouts
    limits = {guard.metric: guard.limit for guard in rollout.guards}
    assert set(limits) == {Metric.FALLBACK_RATE, Metric.ERROR_RATE, Metric.LATENCY_P95}
    assert {guard.action for guard in rollout.guards} == {Action.ROLLBACK}
    assert limits[Metric.LATENCY_P95] < SLOWNESS_S < CONFIG.backends.v2.response_timeout_s


def test_a_hanging_v2_leaves_v1_time_to_answer() -> None:
    (rollout,) = CONFIG.rollouts
    assert CONFIG.backends.v2.response_timeout_s < rollout.timeout_s * (1 - rollout.fallback.reserve)
