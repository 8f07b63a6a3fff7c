from __future__ import annotations

from typing import Any

from proxy.config.schema import Config
from proxy.config_summary import config_text
from tests.admin.builders import TOKENS


def summary(rollout: dict[str, Any] | None = None, **tables: Any) -> list[str]:
    backends = {
        "v1": {"endpoints": ["http://127.0.0.1:9001", "http://127.0.0.1:9003"], "health": {"path": "/up"}},
        "v2": {"endpoints": ["http://127.0.0.1:9002"]},
    }
    rollouts = [{"name": "default", **(rollout or {})}]
    config = Config.read({"backends": backends, "rollouts": rollouts, **tables})
    return config_text("proxy.toml", config).splitlines()


def test_it_says_where_everything_is() -> None:
    assert summary()[:6] == [
        "proxy.toml is valid",
        "listen   127.0.0.1:8080",
        "admin    127.0.0.1:9900, no token",
        "store    sqlite:///dualpath.db",
        "v1       http://127.0.0.1:9001, http://127.0.0.1:9003, probes /up",
        "v2       http://127.0.0.1:9002",
    ]


def test_tokens_are_counted_and_not_shown() -> None:
    assert "admin    127.0.0.1:9900, 1 token" in summary(admin={"tokens": TOKENS[:1]})
    lines = summary(admin={"tokens": TOKENS})
    assert "admin    127.0.0.1:9900, 2 tokens" in lines
    assert not any(token["sha256"] in line for token in TOKENS for line in lines)


def test_a_rollout_without_plan_and_guards_says_that_people_move_it() -> None:
    assert summary()[6:] == [
        "",
        "rollout default, first at 0%",
        "  routes    /",
        "  key       client_ip",
        "  fallback  on connect, timeout, reset, 5xx; idempotent methods, bodies up to 64KiB",
        "  breaker   on",
        "  phases    none, only people raise it",
        "  guards    none, only people lower it",
    ]


def test_a_rollout_with_everything() -> None:
    rollout = {
        "routes": [{"prefix": "/api", "host": "a.example", "methods": ["GET", "HEAD"]}, {"prefix": "/b"}],
        "key": ["header:X-User-Id", "client_ip"],
        "fallback": {"methods": "all", "budget": 0.25, "on": ["connect"]},
        "breaker": {"enabled": False},
        "phases": [{"name": "canary", "percentage": 1}, {"name": "half", "percentage": 50}],
        "guards": [
            {"metric": "error_rate", "above": 0.1, "for": "0s"},
            {"metric": "error_rate", "above": 0.2, "mode": "window"},
            {"metric": "latency_p95", "above": "2s", "for": "90s", "action": "pause"},
        ],
    }
    assert summary(rollout)[8:] == [
        "  routes    GET/HEAD a.example/api, /b",
        "  key       header:X-User-Id, client_ip",
        "  fallback  on connect; all methods, bodies up to 64KiB, at most 25% of requests",
        "  breaker   off",
        "  phases    canary 1%, half 50%",
        "  guards    error_rate above 0.1 by evidence and over 10s: rollback",
        "            error_rate above 0.2 over 10s: rollback",
        "            latency_p95 above 2 over 10s for 90s: pause",
    ]


def test_no_fallback_is_said() -> None:
    assert "  fallback  off" in summary({"fallback": {"enabled": False}})
