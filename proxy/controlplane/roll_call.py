"""Who is in the fleet, as each has told of itself.

Owns reading the members' records, and what of them says that one lags behind. A record that cannot be read is
that of an instance of another version: it is shown, and reckoned with as little as possible. Must never know
what an instance is to do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import orjson

from proxy.core import delta, members
from proxy.core.members import MemberRecord, MemberView
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.peers import Identity, Member
    from proxy.ports import Peers


log = logging.getLogger("dualpath.fleet")

_NAMESAKE_LEASES: Final = 5.0  # longer than a process and the one that replaces it both speak


class RollCall:
    """The members as they were last asked for; `identity` is ours. Whoever is there speaks at least once
    within `lease_s`."""

    def __init__(self, peers: Peers, identity: Identity, lease_s: float) -> None:
        self._peers = peers
        self._identity = identity
        self._lease_s = lease_s
        self._members: Sequence[Member] = ()
        self._records: dict[Identity, MemberRecord | WireError] = {}
        self._namesakes: dict[Identity, float] = {}  # other lives of our name, and when each was first seen
        self._has_told = False

    async def ask(self) -> None:
        """Who is there. Raises as `peers` does."""
        self._members = await self._peers.members()
        self._records = {one.identity: _read(one.record) for one in self._members}
        if not self._has_told:
            self._look_for_namesakes()

    def _look_for_namesakes(self) -> None:
        """The process before us falls silent; another machine of our name does not."""
        ours, since = self._identity, self._namesakes
        others = [one for one in self._members if one.identity.instance == ours.instance]
        others = [one for one in others if one.identity != ours]
        self._namesakes = {one.identity: since.get(one.identity, one.seen_at) for one in others}
        patience_s = self._lease_s * _NAMESAKE_LEASES
        if any(one.seen_at - self._namesakes[one.identity] > patience_s for one in others):
            log.error("another instance is called %s too; give each a name of its own", ours.instance)
            self._has_told = True

    def most_copied(self) -> int:
        """How much of the audit those others have who have most of it."""
        return max((one.copied for one in self._readable(self._others())), default=0)

    def reports(self) -> int:
        """The newest version of reports that all others can read, as far as it is one that we can write."""
        newest = min((one.reports for one in self._readable(self._others())), default=delta.VERSION)
        return max(min(newest, delta.VERSION), delta.READS[0])

    def _readable(self, those: Sequence[Member]) -> list[MemberRecord]:
        records = [self._records[one.identity] for one in those]
        return [record for record in records if isinstance(record, MemberRecord)]

    def before_us(self) -> int:
        """How many others come before us by name, and of our name by their life."""
        ours = self._identity
        return sum(_place(one.identity) < _place(ours) for one in self._others())

    def _others(self) -> list[Member]:
        return [one for one in self._present() if one.identity != self._identity]

    def views(self, now: float, revisions: Mapping[str, int]) -> list[MemberView]:
        """Each at `now` by the store's clock, beside the revisions that are stored."""
        return [self._view(one, now, revisions) for one in self._present()]

    def _present(self) -> list[Member]:
        """By name. Of several lives of one name those that have ended are left out: each spoke last more than
        a lease before another one did."""
        newest: dict[str, float] = {}
        for one in self._members:
            name = one.identity.instance
            newest[name] = max(newest.get(name, one.seen_at), one.seen_at)
        present = (
            one for one in self._members if one.seen_at >= newest[one.identity.instance] - self._lease_s
        )
        return sorted(present, key=lambda one: _place(one.identity))

    def _view(self, one: Member, now: float, revisions: Mapping[str, int]) -> MemberView:
        instance, seen_s_ago = one.identity.instance, max(now - one.seen_at, 0.0)
        record = self._records[one.identity]
        if not isinstance(record, MemberRecord):
            return MemberView(instance, seen_s_ago, None, unread=str(record))
        skew_s, behind = record.wall - one.seen_at, members.behind(record, revisions)
        return MemberView(instance, seen_s_ago, record, skew_s, behind)

    def __repr__(self) -> str:
        return f"RollCall({len(self._members)} present)"


def _place(identity: Identity) -> tuple[str, str]:
    return identity.instance, identity.epoch


def _read(told: bytes) -> MemberRecord | WireError:
    try:
        return members.read(orjson.loads(told))
    except WireError as error:
        return error
    except orjson.JSONDecodeError:
        return WireError("member: is no JSON")
