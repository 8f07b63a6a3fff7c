"""dualpath and the real things: an OpenTelemetry Collector and a Prometheus, as `make interop` runs them.

No part of `make test`, which needs neither: there the receiver of `tests/e2e/otlp_receiver.py` stands in.
"""
