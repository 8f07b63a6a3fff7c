"""The demo's configuration, in the file's own keys: what a `proxy.toml` for it would say."""

from __future__ import annotations

from proxy.config.schema import Config

ROLLOUT = "restaurants"
FIRST_PERCENTAGE, SECOND_PERCENTAGE = 20.0, 50.0


def demo_config(v1_url: str, v2_url: str, listen: str, admin: str) -> Config:
    """Guards for every fault: rates for failures, p95 for slowness; a timeout turns silence into failure."""
    # Without `for`, the rollback would come within a third of a second: too soon to watch v1 stand in.
    guard = {"window": "10s", "for": "1s", "min_requests": 20, "action": "rollback"}
    probe = {"path": "/health", "interval": "1s"}
    return Config.model_validate(
        {
            "listen": {"address": listen, "expose_path": True, "drain_timeout": "2s"},
            "admin": {"address": admin},
            "store": {"url": "memory://"},
            "log": {"level": "error"},
            "backends": {
                "v1": {"endpoints": [v1_url], "health": probe},
                "v2": {"endpoints": [v2_url], "health": probe, "response_timeout": "500ms"},
            },
            "rollouts": [
                {
                    "name": ROLLOUT,
                    "key": ["header:X-User-Id", "client_ip"],
                    "percentage": FIRST_PERCENTAGE,
                    "timeout": "4s",
                    "judge": {"tick": "250ms"},
                    "guards": [
                        {"metric": "fallback_rate", "above": 0.25, **guard},
                        {"metric": "error_rate", "above": 0.10, **guard},
                        {"metric": "latency_p95", "above": "300ms", **guard},
                    ],
                }
            ],
        }
    )
