"""`dualpath demo`: its options. Annotations are read at run time: typer makes the options from them."""

from typing import TYPE_CHECKING, Annotated

import typer

from proxy.demo.faults import Fault
from proxy.demo.play import DemoOptions

if TYPE_CHECKING:
    from proxy.session import Session

_DEMO = DemoOptions()


def demo(
    ctx: typer.Context,
    fault: Annotated[Fault, typer.Option("--fault", help="What goes wrong with v2.")] = _DEMO.fault,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long it takes.")] = _DEMO.seconds,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up until Ctrl-C.")] = _DEMO.stay,
    rate: Annotated[float, typer.Option("--rate", min=1, help="Requests a second.")] = _DEMO.rate,
) -> int:
    """Watch v2 take traffic, break, be covered by v1 and be rolled back, with sample backends."""
    session: Session = ctx.obj
    return session.outside.demo(DemoOptions(fault=fault, seconds=seconds, stay=stay, rate=rate))
