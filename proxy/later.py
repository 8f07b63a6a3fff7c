"""What is imported when it is needed first: a command does not wait for parts that it does not use.

`dualpath status` would else import the data plane, the simulation and the whole configuration before it asks
its first question. The places stand in the source as text of the form "proxy.module:name", by which
tests/test_layering.py counts them as imports of the module that they stand in. No other module imports by
name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def later(place: str) -> Any:
    """What stands at "proxy.module:name"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
