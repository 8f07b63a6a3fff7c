"""The picture of the demo is what its terminal showed, and no more than a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.demo.capture import cut, picture, thinned

AGAIN = b"\r\x1b[2K\x1b[1A\x1b[2K"
PARTS = [
    (10.0, b"\x1b[?25lfirst"),
    (10.3, b" \x1b[1;31mline\x1b[0m\r\n" + AGAIN + b"second\r\n\x1b[1"),
    (11.5, b"A\x1b[2K" + b"third <&>\r\n"),
    (12.0, AGAIN + b"last\r\n\x1b[?25h\r\nsummary\r\n"),
]


def test_a_screen_ends_where_it_is_drawn_anew() -> None:
    frames = cut(PARTS)
    assert [at for at, _ in frames] == [10.3, 11.5, 12.0, 12.0]
    assert [text.split("\r\n")[0] for _, text in frames] == [
        "\x1b[?25lfirst \x1b[1;31mline\x1b[0m",
        "second",
        "third <&>",
        "last",
    ]


def test_one_screen_a_second_is_kept_and_the_last() -> None:
    kept = [(round(at, 1), text.split()[0]) for at, text in thinned(cut(PARTS))]
    assert kept == [(0.0, "\x1b[?25lfirst"), (1.2, "second"), (1.7, "last")]


def test_the_picture_holds_every_screen_and_loads_nothing() -> None:
    text = picture(thinned(cut(PARTS)))
    root = ET.fromstring(text)  # noqa: S314 - ours
    shown = "".join(root.itertext())
    for words in ("first", "line", "second", "last", "summary"):
        assert words in shown.replace("\xa0", " ")
    assert "\x1b" not in text
    assert not {"href", "src"} & {name.rpartition("}")[2] for one in root.iter() for name in one.attrib}
    assert "url(" not in text
    assert "@import" not in text
    assert "script" not in text
    assert text.count("@keyframes") == 3
