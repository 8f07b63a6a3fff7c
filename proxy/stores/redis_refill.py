"""Giving a Redis back what it has lost.

Owns the two steps: what is missing goes to a place of its own, which runs out, and one script then moves it
behind the chain together with states and overrides. So nobody ever sees the beginning of an audit with the
weights of that time. Must never know whose copy it is.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from proxy.stores.redis_keys import FORMAT
from proxy.stores.redis_records import (
    encode_override,
    encode_state,
    override_field,
    present_head,
)
from proxy.stores.redis_scripts import LOOK, REFILL, STAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from proxy.core.audit import Head, Record
    from proxy.core.peers import Kept
    from proxy.stores.redis_store import RedisStore

_STAGED_MS: Final = 60_000


async def refill(
    store: RedisStore, present: Head, kept: Kept, missing: AsyncIterator[Sequence[Record]]
) -> bool:
    """Put the `missing` records behind `present`, with the states of `kept`, which they lead to. False, and
    nothing done, if the store does not end there any more."""
    link, keys = store.link, store.keys
    staged, count = keys.refill(secrets.token_hex(8)), 0
    async for records in missing:
        values: list[str | int] = [_STAGED_MS]
        for record in records:
            values += [record.seq, record.rollout or "", record.text, record.hash]
        await link.run(STAGE, (staged,), *values)
        count += len(records)
    told, _, _ = await link.run(LOOK, (keys.head, keys.audit, keys.states), "")
    if present_head(str(link.place), told) != present:
        return False
    states = [part for one in kept.states.values() for part in (one.name, encode_state(one))]
    overrides = [
        part
        for one in kept.overrides
        for part in (override_field(one.rollout, one.key), encode_override(one))
    ]
    answer = await link.run(
        REFILL,
        (keys.head, keys.states, keys.overrides, keys.audit, staged),
        *(FORMAT, told[1] or b"", told[2] or b"", count),
        *(kept.head.seq, kept.head.hash, kept.head.adopted, keys.changes),
        *((kept.begin.seq, kept.begin.hash) if kept.begin.seq > present.seq else ("", "")),
        len(kept.states),
        *states,
        *overrides,
    )
    return bool(answer == b"done")
