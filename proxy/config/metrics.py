"""`[telemetry.metrics]`: who may read the metrics, and how often they are sent.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together.
"""

from __future__ import annotations

from proxy.config.table import Table
from proxy.config.units import Duration, Flag, PositiveCount


class Metrics(Table):
    """`[telemetry.metrics]`: what is counted, for Prometheus and for OpenTelemetry."""

    open: Flag = False
    """Let anybody who reaches the admin's address read /metrics, without a token."""
    max_series: PositiveCount = 2000
    """Series of each histogram; beyond that, methods share one."""
    push_every_s: Duration = 60.0
    """How often all metrics are sent to `otlp_endpoint`, if there is one; "0s" sends none."""
