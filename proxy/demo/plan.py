"""What the demo's users do: which request comes next from a user, drawn from a fixed mix.

Owns the mix. Must never know a connection or a clock; chance is an argument.

Every POST and PATCH carries an `Idempotency-Key`, because without one a proxy may not repeat them elsewhere
(RFC 9110 section 9.2.2) and v2's failure would be the honest answer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import orjson

from proxy.demo.seed import CITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.ports import Random

SEEDED = 60
"""Restaurants that both versions have and nobody deletes; what changes is written to these."""
OWNED_AT_MOST = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to send. `expects` are the statuses that count as an answer; anything else has failed."""

    method: str
    path: str
    expects: frozenset[int]
    body: bytes | None = None
    idempotency_key: str | None = None


@dataclass(slots=True)
class User:
    """A sticky user: sends its name with every request. `owned` are ids of restaurants it has created."""

    name: str
    owned: deque[int] = field(default_factory=deque)


def users(count: int) -> list[User]:
    """Users "user-000", "user-001" and so on."""
    return [User(f"user-{number:03}") for number in range(count)]


def plan(user: User, rng: Random) -> Planned:
    """The user's next request: four of five read, the others write."""
    mark = rng.random()
    for share, operation in _MIX:
        if mark < share:
            return operation(user, rng)
        mark -= share
    return _browse(user, rng)


def _browse(_: User, rng: Random) -> Planned:
    path = _pick(rng, ("", "?cuisine=italian", "?city=Lyon&sort=-rating", "?min_rating=4&limit=10", "?q=la"))
    return Planned("GET", f"/restaurants{path}", _OK)


def _look(_: User, rng: Random) -> Planned:
    return Planned(_pick(rng, ("GET", "GET", "GET", "HEAD")), _seeded(rng), _OK)


def _read_reviews(_: User, rng: Random) -> Planned:
    return Planned("GET", f"{_seeded(rng)}/reviews?limit=5", _OK)


def _read_statistics(_: User, __: Random) -> Planned:
    return Planned("GET", "/statistics", _OK)


def _review(user: User, rng: Random) -> Planned:
    review = {"author": user.name, "stars": 1 + int(rng.random() * 5), "text": "as the demo likes it"}
    return Planned("POST", f"{_seeded(rng)}/reviews", _CREATED, orjson.dumps(review), _key(rng))


def _change(_: User, rng: Random) -> Planned:
    change = {"price": 1 + int(rng.random() * 4)}
    return Planned("PATCH", _seeded(rng), _OK, orjson.dumps(change), _key(rng))


def _replace(user: User, rng: Random) -> Planned:
    return Planned("PUT", _seeded(rng), _OK, _restaurant(user, rng))


def _own(user: User, rng: Random) -> Planned:
    """Create a restaurant, or delete the oldest own one when there are enough.

    The deletion may find nothing: each version keeps its own memory, and a rollback moves users between them.
    """
    if len(user.owned) < OWNED_AT_MOST:
        return Planned("POST", "/restaurants", _CREATED, _restaurant(user, rng), _key(rng))
    return Planned("DELETE", f"/restaurants/{user.owned.popleft()}", _GONE)


_OK, _CREATED, _GONE = frozenset({200}), frozenset({201}), frozenset({204, 404})
_MIX: tuple[tuple[float, Callable[[User, Random], Planned]], ...] = (
    (0.30, _look),
    (0.14, _read_reviews),
    (0.06, _read_statistics),
    (0.05, _review),
    (0.05, _change),
    (0.05, _replace),
    (0.05, _own),
)


def _seeded(rng: Random) -> str:
    return f"/restaurants/{1 + int(rng.random() * SEEDED)}"


def _restaurant(user: User, rng: Random) -> bytes:
    cuisine, city = _pick(rng, ("greek", "italian", "thai", "vegan")), _pick(rng, CITIES)
    return orjson.dumps({"name": f"Chez {user.name}", "cuisine": cuisine, "city": city, "price": 2})


def _key(rng: Random) -> str:
    return f"{rng.getrandbits(128):032x}"


def _pick(rng: Random, choices: Sequence[T]) -> T:
    return choices[int(rng.random() * len(choices))]
