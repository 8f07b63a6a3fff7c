"""The Forwarded field (RFC 7239) as others have written it.

Owns its grammar. Must never know who is believed: what a client has written stands left of what our own
proxies add, and may be anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Nodes with a colon must be quoted (section 6); proxies that forget it are understood.
_VALUE: Final = rb'"(?:[^"\\]++|\\[\t -~])*+"|' + _TOKEN[:-1] + rb":\[\]]*+"
_PAIR: Final = rb"(" + _TOKEN + rb"++)=(" + _VALUE + rb")"
_ELEMENT: Final = rb"[ \t]*+(?:" + _PAIR + rb"[ \t]*+(?:;[ \t]*+(?:" + _PAIR + rb")?+[ \t]*+)*+)?+"
_ONE = re.compile(_ELEMENT)
_LIST = re.compile(_ELEMENT + rb"(?:," + _ELEMENT + rb")*+")
_PARAMETER = re.compile(_PAIR)
_MAX_COMMAS: Final = 8  # in one element: they stand in quotes, which hold a host or a node


def is_sound(value: bytes) -> bool:
    """Whether a value is a list of elements. One that is not could swallow what is added to it: a quote that
    never ends."""
    return _LIST.fullmatch(value) is not None


def forwarded_nodes(lines: Sequence[bytes], most: int) -> list[bytes]:
    """The `for` nodes of the last elements, without quotes, the last one first; at most `most`.

    It is read from the right, because a quote that a client leaves open must not reach what follows it. It
    ends before the first element that is not sound or does not name one node.
    """
    nodes: list[bytes] = []
    rest = b",".join(lines)
    while rest and len(nodes) < most:
        rest, element = _last_element(rest)
        if _ONE.fullmatch(element) is None:
            break
        named = [value for name, value in _PARAMETER.findall(element) if name.lower() == b"for"]
        if len(named) != 1:
            break
        nodes.append(named[0].strip(b'"'))
    return nodes


def _last_element(value: bytes) -> tuple[bytes, bytes]:
    """What stands before the last comma that is not in quotes, and what stands behind it."""
    rest, _, element = value.rpartition(b",")
    for _ in range(_MAX_COMMAS):
        if element.count(b'"') % 2 == 0 or not rest:
            break
        rest, _, more = rest.rpartition(b",")
        element = more + b"," + element
    return rest, element
