"""Who is in the fleet, as each has told of itself.

Owns reading the members' records, and what of them says that one lags behind. A record that cannot be read is
that of an instance of another version: it is shown, and reckoned with as little as possible. Must never know
what an instance is to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from proxy.core import members
from proxy.core.members import MemberView
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.peers import Member
    from proxy.ports import Peers


class RollCall:
    """The members as they were last asked for; `instance` is ours."""

    def __init__(self, peers: Peers, instance: str) -> None:
        self._peers = peers
        self._instance = instance
        self._members: Sequence[Member] = ()

    async def ask(self) -> None:
        """Who is there. Raises as `peers` does."""
        self._members = await self._peers.members()

    def most_copied(self) -> int:
        """How much of the audit those others have who have most of it."""
        records = [one.record for one in self._others()]
        return max((record.copied for record in records if record is not None), default=0)

    def before_us(self) -> int:
        """How many others come before us by name."""
        return sum(one.instance < self._instance for one in self._others())

    def _others(self) -> list[MemberView]:
        return [one for one in self.views(0.0, {}) if one.instance != self._instance]

    def views(self, now: float, revisions: Mapping[str, int]) -> list[MemberView]:
        """Each by its latest life, at `now` by the store's clock, beside the revisions that are stored."""
        newest = {one.identity.instance: one for one in sorted(self._members, key=_seen_at)}
        return [_view(one, now, revisions) for _, one in sorted(newest.items())]

    def __repr__(self) -> str:
        return f"RollCall({len(self._members)} present)"


def _seen_at(one: Member) -> float:
    return one.seen_at


def _view(one: Member, now: float, revisions: Mapping[str, int]) -> MemberView:
    instance, seen_s_ago = one.identity.instance, max(now - one.seen_at, 0.0)
    try:
        record = members.read(orjson.loads(one.record))
    except (WireError, orjson.JSONDecodeError):
        return MemberView(instance, seen_s_ago, None)
    skew_s, behind = record.wall - one.seen_at, members.behind(record, revisions)
    return MemberView(instance, seen_s_ago, record, skew_s, behind)
