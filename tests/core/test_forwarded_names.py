"""Which names of fields only a trusted peer may use, and their spellings with underscores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.request_head import RequestHead, RequestLines
from proxy.errors import BadRequest

OVERRIDE = b"x-dualpath-override"


def read(*fields: bytes) -> RequestHead:
    """A request with these field lines, where `OVERRIDE` is for us alone."""
    head, lines = RequestLines([OVERRIDE]).head(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *fields)))
    head.check(lines, b"")
    return head


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x-forwarded-ssl",
        b"X-Forwarded-User",
        b"X-FORWARDED-",
        b"X-Real-IP",
        b"Forwarded",
    ],
)
def test_what_says_whose_a_request_is_goes_on_only_if_its_sender_is_believed(name: bytes) -> None:
    head = read(name + b": admin")
    assert not any(b"admin" in line for line in head.lines)
    assert [field.value for field in head.forwarding] == [b"admin"]


@pytest.mark.parametrize("name", [b"X-Forwarded", b"X-Forwardedness", b"XX-Forwarded-For", b"X-Forward-For"])
def test_what_only_resembles_it_goes_on(name: bytes) -> None:
    assert read(name + b": a").lines == [name + b": a\r\n"]


@pytest.mark.parametrize(
    "name",
    [
        *(b"X_Forwarded_For", b"X-Forwarded_For", b"x_forwarded_user", b"X_FORWARDED-SSL"),
        *(b"Content_Length", b"Transfer_Encoding", b"X_Real-IP", b"X_Dualpath_Path"),
        *(b"X_Dualpath_Override", b"x-dualpath_override"),
    ],
)
def test_a_spelling_with_underscores_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match="400 a field name with underscores imitates another"):
        read(name + b": a")


def test_another_name_with_underscores_goes_on() -> None:
    assert read(b"X_User_Id: a").lines == [b"X_User_Id: a\r\n"]


@given(
    name=st.sampled_from(
        [b"X-Forwarded-For", b"X-Forwarded-Host", OVERRIDE, b"Forwarded", b"X-Forwarded-Any"]
    ),
    flips=st.lists(st.booleans(), min_size=19, max_size=19),
)
def test_the_case_of_a_name_changes_nothing(name: bytes, flips: list[bool]) -> None:
    spelt = (
        bytes(
            char ^ 0x20 if flip and chr(char).isalpha() else char
            for char, flip in zip(name, flips, strict=False)
        )
        + name[len(flips) :]
    )
    assert read(spelt + b": a").lines == []


def test_connection_cannot_name_away_what_is_said_of_the_client() -> None:
    head = read(b"Connection: X-Forwarded-For, X-Forwarded-User", b"X-Forwarded-User: admin", b"Accept: */*")
    assert head.lines == [b"Accept: */*\r\n"]
