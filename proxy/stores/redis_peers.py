"""The instances that share a Redis: who is there, who judges, what each has counted, and what has changed.

Owns the lease, the members, the stream of reports and the channel of changes. Must never know what is in a
report, nor what a judge does.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tenacity import retry, retry_if_exception_type, wait_random_exponential

from proxy.core.peers import Dispatch, Exchange, Identity, Member
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.stores.redis_records import entry_number, identity_of, lease_of, present_head
from proxy.stores.redis_scripts import ENTRIES, EXCHANGE, LEAVE, MEMBERS
from proxy.stores.redis_stream import MOST_AT_ONCE_BYTES, MOST_PACKED_BYTES, entries_of, unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from redis.asyncio.client import PubSub

    from proxy.core.peers import Presence
    from proxy.stores.redis_keys import Keys
    from proxy.stores.redis_link import RedisLink

log = logging.getLogger("dualpath.fleet")

# Anybody who may write to the Redis may write this. An honest member's record has a few KiB.
_MOST_MEMBERS: Final = 2_000
_MOST_MEMBER_BYTES: Final = 128 << 10
_MOST_DIGITS: Final = 15  # of a number that all of ours can count to
_FIELDS: Final = ("epoch", "instance", "number", "report")
_FASTEST: Final = 1
_BREATH: Final = 16  # reports
_SILENCE_S: Final = 5.0  # then the connection is asked whether it lives
_PAUSE_S: Final = 0.1
_MOST_PAUSE_S: Final = 2.0


class RedisPeers:
    """`ports.Peers` in Redis, as the instance `identity`."""

    def __init__(
        self, link: RedisLink, keys: Keys, identity: Identity, silence_s: float = _SILENCE_S
    ) -> None:
        self.identity = identity
        self._link = link
        self._keys = keys
        self._silence_s = silence_s

    async def exchange(self, presence: Presence) -> Exchange:
        """Tell and learn, in one round trip."""
        reports: list[str | bytes | float] = []
        for number, report in presence.reports:
            reports += [number, zlib.compress(report, _FASTEST)]
        keys = self._keys
        now_ms, told, lease, remaining_ms = await self._link.run(
            EXCHANGE,
            (keys.head, keys.audit, keys.lease, keys.fence, keys.reports, keys.members, keys.seen),
            *(self.identity.epoch, self.identity.instance, presence.record, int(presence.stands)),
            *(_ms(presence.lease_s), _ms(presence.member_s), _ms(presence.window_s)),
            *reports,
        )
        place = str(self._link.place)
        return Exchange(now_ms / 1000, present_head(place, told), lease_of(place, lease, remaining_ms))

    async def members(self) -> Sequence[Member]:
        """All that are present, by name."""
        limits = (_MOST_MEMBERS, _MOST_MEMBER_BYTES, MOST_AT_ONCE_BYTES)
        rows = await self._link.run(MEMBERS, (self._keys.members, self._keys.seen), *limits)
        return sorted(
            (self._member(name, kept) for name, kept in rows if kept is not None),
            key=lambda one: (one.identity.instance, one.identity.epoch),
        )

    async def dispatches(
        self, after: str = "", *, since: float = 0.0, limit: int = 1000
    ) -> Sequence[Dispatch]:
        """Reports in the order in which they came; fewer than `limit` if they are long, none at the end."""
        if limit <= 0:
            return []
        start, found = f"({after}" if after else str(_ms(max(since, 0.0))), list[Dispatch]()
        limits = (limit, MOST_PACKED_BYTES, MOST_AT_ONCE_BYTES)
        size = 0
        while not found:
            lengths, parts, _ = await self._link.run(ENTRIES, (self._keys.reports,), start, *limits, *_FIELDS)
            name = b""
            for place, (name, *fields) in enumerate(entries_of(lengths, parts, len(_FIELDS))):
                if (dispatch := self._dispatch(name, *fields)) is not None:
                    found.append(dispatch)
                    size += len(dispatch.report)
                if size > MOST_AT_ONCE_BYTES:
                    break
                if place % _BREATH == _BREATH - 1:
                    await asyncio.sleep(0)  # requests have their turn in between
            if not name:
                break
            start = "(" + name.decode()
        return found

    async def changes(self) -> AsyncGenerator[int | None, None]:
        """Numbers of events as they are written; None whenever some may have been missed."""
        while True:
            listener = await self._subscribed()
            try:
                yield None
                while True:
                    number = await self._next(listener)
                    if number is not None:
                        yield number
            except (StoreUnavailable, StoreCorrupt) as error:
                log.warning("changes are not pushed: %s", error)
            finally:
                await self._let_go(listener)
            await asyncio.sleep(_PAUSE_S)

    async def leave(self) -> None:
        """Give up lease and membership."""
        keys = (self._keys.lease, self._keys.members, self._keys.seen)
        await self._link.run(LEAVE, keys, self.identity.epoch, self.identity.instance)

    def __repr__(self) -> str:
        return f"RedisPeers({str(self._link.place)!r}, {self._keys.prefix!r}, {self.identity.instance!r})"

    # ... what is pushed

    @retry(
        retry=retry_if_exception_type((StoreUnavailable, StoreCorrupt)),
        wait=wait_random_exponential(_PAUSE_S, _MOST_PAUSE_S),
    )
    async def _subscribed(self) -> PubSub:
        """A connection on which Redis has confirmed that it pushes; tried until it does."""
        listener = await self._link.listener()
        try:
            await self._link.ask(listener.subscribe(self._keys.changes))
            if await self._told(listener, self._link.timeout_s) is None:
                raise StoreUnavailable(f"{self._link.place}: has not confirmed the subscription")
        except BaseException:
            await self._let_go(listener)
            raise
        return listener

    async def _next(self, listener: PubSub) -> int | None:
        """What is told next; None if that is no event. A long silence may be that of a dead connection."""
        message = await self._told(listener, self._silence_s)
        if message is None:
            await self._link.ask(listener.ping())
            message = await self._told(listener, self._link.timeout_s)
            if message is None:
                raise StoreUnavailable(f"{self._link.place}: has fallen silent")
        return _count(bytes(message["data"])) if message["type"] == "message" else None

    async def _told(self, listener: PubSub, timeout_s: float) -> dict[str, Any] | None:
        answer = listener.get_message(timeout=timeout_s)
        return await self._link.ask(answer, timeout_s + self._link.timeout_s)

    async def _let_go(self, listener: PubSub) -> None:
        with suppress(StoreUnavailable, StoreCorrupt):
            await self._link.ask(listener.aclose())  # type: ignore[no-untyped-call]

    # ... what was read

    def _member(self, name: bytes, kept: bytes) -> Member:
        seen_ms, _, record = kept.partition(b" ")
        return Member(identity_of(name.decode(errors="replace")), (_count(seen_ms) or 0) / 1000, record)

    def _dispatch(
        self, name: bytes, epoch: bytes, instance: bytes, number: bytes, packed: bytes
    ) -> Dispatch | None:
        """None for what no instance has sent: a judge goes on without it."""
        try:
            report = unpacked(packed)
            if not epoch or not instance:
                raise ValueError("is nobody's")
            identity = Identity(instance.decode(), epoch.decode())
            if (count := _count(number)) is None:
                raise ValueError("has no number")
            return Dispatch(name.decode(), entry_number(name) / 1000, identity, count, report)
        except (ValueError, zlib.error) as error:
            log.warning("report %s is passed over: %r", name.decode(errors="replace"), error)
            return None


def _count(text: bytes) -> int | None:
    """The whole number that is written there, if one of ours could be."""
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
