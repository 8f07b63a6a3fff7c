"""Field lines: the grammar, and what is remembered of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.field_line import FieldLine, FieldName, LineReader, Memory, is_field_line


def reader() -> LineReader:
    """The kind is the name's length; that of a name that begins with "v" is its value's."""
    return LineReader(
        lambda name: -len(name) if name.startswith(b"v") else len(name),
        lambda kind, value: 100 * kind + len(value),
    )


def test_a_line_is_told_apart() -> None:
    [field] = reader().read_all(b"X-Name:\t some value ") or []
    assert is_field_line(b"X-Name:\t some value ")
    assert (field.name, field.value, field.text) == (b"x-name", b"some value", b"X-Name: some value\r\n")
    assert repr(field) == r"<FieldLine b'X-Name: some value\r\n' kind=6>"


def test_a_kind_may_depend_on_the_value() -> None:
    [one, three] = reader().read_all(b"Vary:  x \r\nVary: xyz") or []
    assert (one.kind, three.kind) == (401, 403)
    assert repr(FieldName(b"Vary", b"vary", -4)) == "<FieldName b'Vary: ' kind=-4>"


@pytest.mark.parametrize("line", [b"X:", b"X: ", b"X:\t\t"])
def test_rfc9110_5_5_a_value_may_be_empty(line: bytes) -> None:
    [field] = reader().read_all(line) or []
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
def test_what_is_no_field_line_to_the_letter_is_none(line: bytes) -> None:
    assert reader().read_all(line) is None
    assert reader().read_all(b"A: b\r\n" + line) is None
    assert not is_field_line(line)


def test_a_block_of_lines_is_read_in_order_and_its_lines_are_remembered() -> None:
    lines = reader()
    first = lines.read_all(b"A: 1\r\nB: 2\r\na: 3")
    again = lines.read_all(b"a: 3\r\nA: 1")
    assert first is not None
    assert again is not None
    assert [field.text for field in first] == [b"A: 1\r\n", b"B: 2\r\n", b"a: 3\r\n"]
    assert again == [first[2], first[0]]
    assert repr(lines) == "<LineReader 3 lines seen>"


@pytest.mark.parametrize("value", [b"a\tb", b"\x80\xad\xff", b"caf\xc3\xa9"])
def test_rfc9110_5_5_a_value_may_have_tabs_and_old_text(value: bytes) -> None:
    [field] = reader().read_all(b"X: " + value) or []
    assert field.value == value


@pytest.mark.parametrize("name", [b"Cookie", b"AUTHORIZATION", b"Set-Cookie", b"Proxy-Authorization"])
def test_what_belongs_to_one_user_is_not_remembered(name: bytes) -> None:
    lines = reader()
    [field] = lines.read_all(name + b": secret") or []
    assert field.secret
    assert repr(lines) == "<LineReader 0 lines seen>"


def test_long_lines_and_names_are_not_remembered() -> None:
    lines = reader()
    for _ in range(2):
        assert lines.read_all(b"X: " + b"y" * 300)
        assert lines.read_all(b"X" * 70 + b": " + b"y" * 200)
    assert repr(lines) == "<LineReader 0 lines seen>"


# ... memory


def test_the_first_few_are_kept_then_one_in_eight() -> None:
    memory: Memory[int] = Memory(1_000)
    for number in range(256 + 800):
        if memory.takes():
            memory.keep(b"%d" % number, number)
    assert len(memory.seen) == 256 + 100
    assert repr(memory) == "<Memory 356 of 1000>"


def test_memory_is_bounded() -> None:
    memory: Memory[int] = Memory(10)
    for number in range(25):
        memory.keep(b"%d" % number, number)
    assert list(memory.seen.values()) == [20, 21, 22, 23, 24]


@given(st.binary(max_size=40))
def test_what_is_read_is_one_line_and_reads_the_same_again(line: bytes) -> None:
    lines = reader()
    fields = lines.read_all(line)
    if fields is None:
        return
    for field in fields:
        check_reads_the_same_again(lines, field)


def check_reads_the_same_again(lines: LineReader, field: FieldLine) -> None:
    assert field.text.count(b"\r") == field.text.count(b"\n") == 1
    [again] = lines.read_all(field.text[:-2]) or []
    assert (again.name, again.value, again.text) == (field.name, field.value, field.text)
