"""What a person sees of an answer: printed by rich, which is imported once there is something to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(renderable: RenderableType) -> None:
    """Print for a person: lines stay whole, so that a pipe can search them; styles only on a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(renderable, soft_wrap=True)
