"""What can be configured of an instance among several that share a store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

from proxy.config.store import is_redis
from proxy.config.table import Table
from proxy.config.units import PositiveDuration, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.faults import Problem
    from proxy.config.schema import Config

_NAME: Final = re.compile(r"[A-Za-z0-9._:\-]{0,64}")
_LEAST_LEASE_S: Final = 0.4


def parse_instance(value: str) -> str:
    """What an instance is called; no blanks, which separate it from other words."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be at most 64 of A-Z a-z 0-9 . _ : -, not {shown(value)}")
    return value


InstanceName = Annotated[str, AfterValidator(parse_instance)]


class Fleet(Table):
    """`[fleet]`: this instance among others. It is one as soon as `store.url` is a Redis."""

    instance: InstanceName = ""
    """What this instance is called, in a fleet by one name of its own; the host's name unless given."""
    advertise: str = ""
    """Where others find its admin API, shown to people; the address that it listens on unless given."""
    lease_s: PositiveDuration = 2.0
    """How long the judge is trusted after it was last heard of; it is heard of twice in that time."""


def fleet_agrees(config: Config) -> Iterator[Problem]:
    """The rules between the keys of `[fleet]` and others."""
    if config.fleet.lease_s < _LEAST_LEASE_S:
        yield "fleet.lease", f"must be at least {_LEAST_LEASE_S:g}s"
    if is_redis(config.store.url) and config.store.timeout_s > config.fleet.lease_s / 2:
        yield "store.timeout", "must be at most half of fleet.lease: the judge asks twice in that time"
