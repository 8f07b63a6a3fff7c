"""`serve` on uvloop, as a function that ends with an exit code.

Owns the event loop of what runs here, in place of asking somebody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from proxy.serving import serve

if TYPE_CHECKING:
    from proxy.config.source import ConfigSource


def run_serve(file: ConfigSource) -> int:
    """Until it is told to end."""
    return uvloop.run(serve(file))
