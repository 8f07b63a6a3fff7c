"""Who sees the requests that are wanted: the access log, the traces, the exemplars of the metrics.

Owns the fan-out, which stays the same over every reload, so that a request that began under an earlier
configuration is told to those who look now. Must never know how a request came to be seen, nor what is made
of it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from proxy.core.sampling import Sampling, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.schema import Config
    from proxy.core.observed import ObservedRequest
    from proxy.ports import Observer

log = logging.getLogger("dualpath.telemetry")

USER_AGENT = b"user-agent"
"""The one request header field that traces show."""


class Observers:
    """`ports.Observer` over all of them, each on its own: one that fails hides nothing from the others."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self.observers = tuple(observers)

    def __repr__(self) -> str:
        return f"Observers({', '.join(map(repr, self.observers))})"

    def request_ended(self, request: ObservedRequest) -> None:
        """Each is told."""
        for observer in self.observers:
            try:
                observer.request_ended(request)
            except Exception:
                log.exception("a request cannot be written down")


def wanted(config: Config) -> Wanted | None:
    """What is to be seen of requests under a configuration; None if nobody wants to see any."""
    traces, access = _for_traces(config), _for_log(config)
    if traces is None and access is None:
        return None
    fields = set(config.log.access.wanted) if access is not None else set()
    if traces is not None:
        fields.add(USER_AGENT.decode())
    return Wanted(traces, access, frozenset(name.encode() for name in fields))


def _for_traces(config: Config) -> Sampling | None:
    telemetry = config.telemetry
    traces = telemetry.traces
    if telemetry.otlp_endpoint is None or not traces.enabled:
        return None
    return Sampling(
        share=traces.sample / 100,
        heeds_parent=traces.parent == "respect",
        fallbacks="fallback" in traces.keep,
        errors="error" in traces.keep,
        slow_s=traces.slow_above_s if "slow" in traces.keep else math.inf,
    )


def _for_log(config: Config) -> Sampling | None:
    access = config.log.access
    if not access.enabled:
        return None
    return Sampling(
        share=access.sample / 100,
        fallbacks="fallback" in access.keep,
        errors="error" in access.keep,
        slow_s=access.slow_above_s if "slow" in access.keep else math.inf,
    )
