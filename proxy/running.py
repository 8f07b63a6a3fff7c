"""`serve` and `demo` on uvloop, as functions that end with an exit code.

Owns the event loop of what runs here, in place of asking somebody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from proxy.demo.run import run_demo
from proxy.serving import serve

if TYPE_CHECKING:
    from proxy.demo.play import DemoOptions
    from proxy.reload import ConfigSource


def run_serve(file: ConfigSource) -> int:
    """Until it is told to end."""
    return uvloop.run(serve(file))


def run_the_demo(options: DemoOptions) -> int:
    """To its end."""
    return uvloop.run(run_demo(options))
