from __future__ import annotations

import re
from html.parser import HTMLParser

from proxy.report.course import course_of
from proxy.report.document import document_of
from proxy.report.markdown import markdown_of
from proxy.report.page import page_of, printed_page_of
from proxy.report.plots import Line, Plot, Points, svg
from tests.report.material import material

DOCUMENT = document_of(material(), course_of(material()))
EMPTY = document_of(material(minutes=[], events=[]), course_of(material(minutes=[], events=[])))


class Parser(HTMLParser):
    """Elements that are open; a wrong end fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Parser:
    parser = Parser()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_the_page_is_whole_and_loads_nothing() -> None:
    for document in (DOCUMENT, EMPTY):
        seen = parsed(page_of(document)).seen
        assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in seen}
        assert not [given for _, given in seen if {"src", "href"} & set(given)]
        assert sum(tag == "svg" for tag, _ in seen) == 4


def test_the_page_says_what_was_planned_and_what_happened() -> None:
    page = page_of(DOCUMENT)
    for told in (
        "v2 was taken back to 0%",
        "guard:error_rate",
        "success rate: 85.00%",
        "not reached",
        "36</b>more",
    ):
        assert told in page


def test_nothing_that_others_wrote_is_markup() -> None:
    assert "<b>0.3</b>" not in page_of(DOCUMENT)
    assert "&lt;b&gt;0.3&lt;/b&gt;" in page_of(DOCUMENT)
    assert r"\<b\>0.3\</b\> \| over" in markdown_of(DOCUMENT)
    evil = {**DOCUMENT, "rollout": "<script>", "advice": ["</ul><script>\x1b"]}
    assert "<script>" not in page_of(evil)
    assert "\x1b" not in page_of(evil) + markdown_of(evil)


def test_what_operators_write_calls_nobody_and_is_no_emphasis_in_markdown() -> None:
    reason = "@tess *saw* __it__ ~once~ in rolled_back, tess@corp.example"
    incident = {**DOCUMENT["incidents"][0], "reason": reason}
    text = markdown_of({**DOCUMENT, "incidents": [incident]})
    space = "\N{ZERO WIDTH SPACE}"
    assert rf"@{space}tess \*saw\* \_\_it\_\_ \~once\~ in rolled_back, tess@corp.example" in text


def test_tables_of_markdown_have_as_many_cells_as_heads() -> None:
    text = markdown_of(DOCUMENT)
    lines = [re.sub(r"\\\|", "", line) for line in text.splitlines()]
    heads = 0
    for line in lines:
        if not line.startswith("|"):
            heads = 0
            continue
        heads = heads or line.count("|")
        assert line.count("|") == heads, line
    assert "| ✗ | half | success rate | above 95.00% | 85.00% |" in text
    assert "| full | 100%, 0s | not reached | - | - | - |" in text
    assert markdown_of(EMPTY).count("None") == 2


def test_a_line_is_broken_where_nothing_is_known() -> None:
    points = [(0.0, 1.0), (60.0, 2.0), (120.0, None), (180.0, 1.0), (1000.0, 1.0)]
    picture = svg(
        Plot("a <plot>", str, [Line("one", "v1", points)], (0.0, 1000.0), [(5.0, "m")], [(1.5, "most")])
    )
    path = re.search(r' d="([^"]+)"', picture)
    assert path is not None
    assert path[1].count("M") == 3
    assert path[1].count("L") == 1
    assert "a &lt;plot&gt;" in picture
    assert 'class="limit"' in picture
    assert 'class="mark"' in picture


def drawn(line: Line) -> tuple[list[float], int]:
    """The heights that are drawn, and how many lines they are."""
    path = re.search(r' d="([^"]*)"', svg(Plot("one", str, [line], (0.0, line.points[-1][0]))))
    assert path is not None
    return [float(y) for y in re.findall(r"[ML][0-9.]+ ([0-9.]+)", path[1])], path[1].count("M")


def test_a_month_of_minutes_is_drawn_with_as_many_points_as_can_be_seen() -> None:
    minutes: Points = [(60.0 * n, 1.0 if n == 30_000 else 0.01 * (n % 5)) for n in range(43_200)]
    heights, lines = drawn(Line("one", "v1", minutes))
    assert len(heights) <= 1000
    assert lines == 1
    assert heights.count(min(heights)) == 1  # the one minute that was bad is seen
    silent: Points = [(at, None if 10_000 <= at / 60 < 20_000 else value) for at, value in minutes]
    heights, lines = drawn(Line("one", "v1", silent))
    assert len(heights) <= 1000
    assert lines == 2


def test_a_target_that_stays_for_a_year_is_two_points() -> None:
    stays = [{**DOCUMENT["stays"][0], "to": "2027-01-01T00:00:00Z"}]
    page = page_of({**DOCUMENT, "stays": stays, "to": "2027-01-01T00:00:00Z"})
    path = re.search(r'<path class="line v2" d="([^"]*)"', page)
    assert path is not None
    assert (path[1].count("M"), path[1].count("L")) == (1, 1)


def test_what_is_to_be_printed_is_laid_out_for_paper() -> None:
    page = printed_page_of(DOCUMENT)
    parsed(page)
    assert "@page{size:A4" in page
    assert "prefers-color-scheme" not in page
    assert "@page" not in page_of(DOCUMENT)


def test_a_plot_of_nothing_is_a_plot() -> None:
    assert "svg" in svg(Plot("none", str, [Line("one", "v1", [])], (5.0, 5.0)))


def test_of_a_long_audit_the_newest_is_shown_and_said_what_is_not() -> None:
    events = [{**DOCUMENT["events"][0], "seq": seq, "reason": f"number-{seq}."} for seq in range(1, 2_001)]
    page = page_of({**DOCUMENT, "events": events})
    parsed(page)
    assert "The newest 500; 1,500 before them stand in the report's .json" in page
    assert ("number-1500." in page, "number-1501." in page) == (False, True)
    text = markdown_of({**DOCUMENT, "stays": DOCUMENT["stays"] * 400})
    assert "The newest 500; " in text
    assert text.count("| half |") <= 1_000
