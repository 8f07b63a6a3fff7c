"""`demo` on uvloop, as a function that ends with an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from proxy.demo.run import run_demo

if TYPE_CHECKING:
    from proxy.demo.play import DemoOptions


def run_the_demo(options: DemoOptions) -> int:
    """To its end."""
    return uvloop.run(run_demo(options))
