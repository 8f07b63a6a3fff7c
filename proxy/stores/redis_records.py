"""How states, overrides, leases and records stand in Redis, and how they are read back with suspicion.

Owns the forms. What anybody else has written there gives one `StoreCorrupt` that names the place, and never a
half-read state. Must never know how it was fetched.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.core.audit import GENESIS, NO_HEAD, NOTHING_FORGOTTEN, Begin, Head, Record
from proxy.core.peers import Identity, Lease
from proxy.errors import StoreCorrupt
from proxy.stores.records import decode_override, decode_state
from proxy.stores.redis_keys import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from proxy.model import KeyOverride, RolloutState

_HEX: Final = frozenset("0123456789abcdef")
_HASH_LENGTH: Final = 64

NOTHING: Final = "0-0"
"""The last id of a stream that has never been."""


def encode_state(state: RolloutState) -> bytes:
    """JSON of the state."""
    return orjson.dumps(state)


def encode_override(override: KeyOverride) -> str:
    """JSON of the override."""
    return orjson.dumps(override).decode()


def override_field(rollout: str, key: str) -> str:
    """Under which an override is kept."""
    return orjson.dumps([rollout, key]).decode()


def kept_head(place: str, told: Sequence[bytes | None]) -> Head:
    """Where the chain ends, as it was written down; `NO_HEAD` if somebody has removed that, or written
    nonsense. Raises `StoreCorrupt` if it is in a format that this version does not know."""
    version, seq, mark, adopted, last = (
        None if one is None else one.decode(errors="replace") for one in told[:5]
    )
    if version is not None and version != FORMAT:
        raise StoreCorrupt(f"{place}: has format {version[:20]!r}, this dualpath knows {FORMAT}")
    if seq is None and mark is None and last == NOTHING:
        return Head()
    if seq is None or mark is None or not _is_count(seq) or not _is_hash(mark):
        return NO_HEAD
    return Head(int(seq), mark, int(adopted) if adopted is not None and _is_count(adopted) else 0)


def present_head(place: str, told: Sequence[bytes | None]) -> Head:
    """Where the chain goes on. Where its end was removed, that is behind the last record: a change must find
    its place all the same, and what was before is unknown. Raises as `kept_head` does."""
    kept = kept_head(place, told)
    last, mark = told[4] or b"0-0", told[5]
    if kept != NO_HEAD:
        return kept
    seq = entry_number(last)
    return Head(seq, GENESIS if mark is None else mark.decode(errors="replace"), adopted=seq)


def begin_of(told: Sequence[bytes | None]) -> Begin:
    """What the first record that is kept follows. Nonsense that somebody has written there is nothing, such
    as a number that no record is behind: copies would forget all that they have."""
    seq, mark = ("" if one is None else one.decode(errors="replace") for one in told[6:8])
    if not (_is_count(seq) and _is_hash(mark)) or int(seq) >= entry_number(told[4] or b"0-0"):
        return NOTHING_FORGOTTEN
    return Begin(int(seq), mark)


def entry_number(entry_id: bytes) -> int:
    """The number in the id of an entry."""
    return int(entry_id.partition(b"-")[0])


def states_of(place: str, pairs: Sequence[bytes]) -> Mapping[str, RolloutState]:
    """All states, by name."""
    states = (state_of(place, name, text) for name, text in _paired(pairs))
    return MappingProxyType({state.name: state for state in sorted(states, key=lambda one: one.name)})


def state_of(place: str, name: bytes, text: bytes) -> RolloutState:
    """The state that is kept under this name."""
    at = f"{place}: rollout {name.decode(errors='replace')!r}"
    with _named(at):
        state = decode_state(_table(text))
    if state.name.encode() != name:
        raise StoreCorrupt(f"{at}: is that of {state.name!r}")
    return state


def overrides_of(place: str, pairs: Sequence[bytes]) -> tuple[KeyOverride, ...]:
    """All overrides, by rollout and key."""
    overrides = [_override(place, field, text) for field, text in _paired(pairs)]
    return tuple(sorted(overrides, key=lambda one: (one.rollout, one.key)))


def record_of(entry: Sequence[Any]) -> Record:
    """An entry of the audit, whatever somebody has put there: it is to be read, and to be found wrong."""
    name, fields = entry
    known = {key: text.decode(errors="replace") for key, text in _paired(fields or ())}
    return Record(entry_number(name), known.get(b"record", ""), known.get(b"hash", ""), known.get(b"rollout"))


def lease_text(lease: Lease) -> str:
    """As the lease is kept."""
    return f"{lease.token} {lease.holder.epoch} {lease.holder.instance}"


def lease_of(place: str, text: bytes | None, remaining_ms: int) -> Lease | None:
    """Whose lease that is. Raises `StoreCorrupt`."""
    if text is None:
        return None
    token, _, holder = text.decode(errors="replace").partition(" ")
    if not _is_count(token) or " " not in holder:
        raise StoreCorrupt(f"{place}: the lease is nonsense: {text!r:.80}")
    return Lease(identity_of(holder), int(token), max(remaining_ms, 0) / 1000)


def identity_of(text: str) -> Identity:
    """Of "EPOCH INSTANCE"."""
    epoch, _, instance = text.partition(" ")
    return Identity(instance, epoch)


def _override(place: str, field: bytes, text: bytes) -> KeyOverride:
    at = f"{place}: override {field.decode(errors='replace')}"
    with _named(at):
        override = decode_override(_table(text))
    if override_field(override.rollout, override.key).encode() != field:
        raise StoreCorrupt(f"{at}: is that of {override.key!r} of {override.rollout!r}")
    return override


@contextmanager
def _named(at: str) -> Iterator[None]:
    try:
        yield
    except StoreCorrupt as error:
        raise StoreCorrupt(f"{at}: {error}") from None


def _table(text: bytes) -> dict[str, object]:
    try:
        table = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise StoreCorrupt(str(error)) from None
    if not isinstance(table, dict):
        raise StoreCorrupt("is no table")
    return table


def _paired(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _is_hash(text: str) -> bool:
    return len(text) == _HASH_LENGTH and set(text) <= _HEX
