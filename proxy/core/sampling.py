"""Which requests somebody wants to see: some by chance, others for what became of them.

Owns both rules as values. Chance is decided before anything is known of a request, by its random digits, so
that a share costs one comparison; whoever takes the smaller of two shares sees a part of what the other sees.
Must never know who looks, nor where it is written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_DIGITS: Final = 16
_ALL: Final = b"g"  # behind every hexadecimal digit
_NONE: Final = b""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What one reader wants to see: a share 0..1 of all requests by chance, and whatever else it names.

    `heeds_parent`: where the client says in `traceparent` whether it has sampled the request, its word is
    taken instead of chance. `slow_s` is how long a request takes at least to be seen for that.
    """

    share: float = 0.0
    heeds_parent: bool = False
    fallbacks: bool = False
    errors: bool = False
    slow_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be seen of requests, by traces and by the access log; None where there is no such reader.

    `fields` are the names, in lower case, of the request header fields that they show.
    """

    traces: Sampling | None = None
    log: Sampling | None = None
    fields: frozenset[bytes] = frozenset()


def bound_of(share: float) -> bytes:
    """The digits below which that share of all random ids is: they are compared as they are written, in
    lower-case hexadecimal."""
    if share >= 1:
        return _ALL
    if share <= 0:
        return _NONE
    return b"%0*x" % (_DIGITS, int(share * (1 << 4 * _DIGITS)))
