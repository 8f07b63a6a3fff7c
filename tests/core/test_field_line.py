"""Field lines: the grammar, and what is remembered of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.field_line import FieldLine, LineReader


def reader() -> LineReader:
    return LineReader(lambda name, value: len(name) * 100 + len(value))


def test_a_line_is_told_apart() -> None:
    field = reader().read(b"X-Name:\t some value ")
    assert field is not None
    assert (field.name, field.value, field.text) == (b"x-name", b"some value", b"X-Name: some value\r\n")
    assert field.kind == 610
    assert repr(field) == r"<FieldLine b'X-Name: some value\r\n' kind=610>"


@pytest.mark.parametrize("line", [b"X:", b"X: ", b"X:\t\t"])
def test_rfc9110_5_5_a_value_may_be_empty(line: bytes) -> None:
    field = reader().read(line)
    assert field is not None
    assert (field.value, field.text) == (b"", b"X: \r\n")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="RFC 9112 section 5, no line"),
        pytest.param(b"X", id="RFC 9112 section 5, no colon"),
        pytest.param(b": y", id="RFC 9110 section 5.1, no name"),
        pytest.param(b"X : y", id="RFC 9112 section 5.1, space before the colon"),
        pytest.param(b" X: y", id="RFC 9112 section 5.2, folded line"),
        pytest.param(b"X Y: z", id="RFC 9110 section 5.6.2, no token"),
        pytest.param(b"X\x80: z", id="RFC 9110 section 5.6.2, no token either"),
        pytest.param(b"X: y\nZ: 1", id="RFC 9112 section 2.2, bare LF"),
        pytest.param(b"X: y\r", id="RFC 9112 section 2.2, bare CR"),
        pytest.param(b"X: y\0", id="RFC 9110 section 5.5, NUL"),
        pytest.param(b"X: y\x7f", id="RFC 9110 section 5.5, DEL"),
    ],
)
def test_what_is_no_field_line_to_the_letter_is_left_to_the_parser(line: bytes) -> None:
    assert reader().read(line) is None
    assert reader().read_all(b"A: b\r\n" + line) is None


def test_a_block_of_lines_is_read_in_order_and_its_lines_are_remembered() -> None:
    lines = reader()
    first = lines.read_all(b"A: 1\r\nB: 2\r\na: 3")
    again = lines.read_all(b"a: 3\r\nA: 1")
    assert first is not None
    assert again is not None
    assert [field.text for field in first] == [b"A: 1\r\n", b"B: 2\r\n", b"a: 3\r\n"]
    assert again == [first[2], first[0]]
    assert repr(lines) == "<LineReader 3 lines seen>"


@pytest.mark.parametrize("name", [b"Cookie", b"AUTHORIZATION", b"Set-Cookie", b"Proxy-Authorization"])
def test_what_belongs_to_one_user_is_not_remembered(name: bytes) -> None:
    lines = reader()
    assert lines.read(name + b": secret") is not None
    assert not lines.seen


def test_memory_is_bounded() -> None:
    lines = reader()
    assert lines.read(b"X: " + b"y" * 300) is not None
    assert not lines.seen
    most = 0
    for number in range(5_000):
        lines.read(b"X: %d" % number)
        most = max(most, len(lines.seen))
    assert most == 4_096
    assert len(lines.seen) == 5_000 - 4_096


@given(st.binary(max_size=40))
def test_what_is_read_is_one_line_and_reads_the_same_again(line: bytes) -> None:
    lines = reader()
    field = lines.read(line)
    if field is None:
        return
    assert field.text.count(b"\r") == field.text.count(b"\n") == 1
    again = lines.read(field.text[:-2])
    assert isinstance(again, FieldLine)
    assert (again.name, again.value, again.text) == (field.name, field.value, field.text)
