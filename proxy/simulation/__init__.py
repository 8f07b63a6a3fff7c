"""What would have happened: the real controller and judge, on a clock that runs as fast as it is computed.

Layer 4: it composes the control plane as `app.py` does, with traffic that is drawn or recorded in place of
the data plane. It must never decide anything about a rollout itself.
"""
