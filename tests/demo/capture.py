"""`dualpath demo` as it looks on a terminal, in docs/img/demo.svg: `python -m tests.demo.capture`.

The command is run on a terminal of 80 columns of its own. What it writes is cut where it draws anew, and
played back in the time that it took, without a script: a README shows it. Who wants less motion sees the end.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.ansi import AnsiDecoder
from rich.console import Console, Group
from rich.terminal_theme import SVG_EXPORT_THEME

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE: Final = Path(__file__).parents[2] / "docs" / "img" / "demo.svg"
SECONDS: Final = 18
EVERY_S: Final = 1.0
"""Between two frames that are kept."""
LAST_S: Final = 7.0
"""How long the end stays."""
_COLUMNS, _ROWS = 80, 40
_AGAIN: Final = re.compile(rb"(?:\r?\x1b\[2K|\x1b\[1A|\r)*(?:\x1b\[1A\x1b\[2K)+")
"""What rich writes to draw in place of what it has drawn."""
_OTHER: Final = re.compile(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]")  # moves the cursor, hides it; colours end with m
_RULE: Final = re.compile(r"\.t-r(\d+) \{ (.+?) \}")
_FORM: Final = "{styles}\0{backgrounds}\0{matrix}"
_TITLE: Final = "dualpath demo: v2 takes traffic, fails, v1 answers in its place, v2 is rolled back"
_LOOKS: Final = (
    'text{font:20px "DejaVu Sans Mono",Menlo,Consolas,monospace;white-space:pre}.f{visibility:hidden}'
)

Frame = tuple[float, str]


def play(seconds: int = SECONDS) -> list[Frame]:
    """What was on the screen, and when, from the first frame to the summary."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    command = [sys.executable, "-m", "proxy", "demo", "--seconds", str(seconds)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=theirs, stdin=theirs, env=environment) as running:
        os.close(theirs)
        frames = cut(_read(ours))
    os.close(ours)  # the terminal lasts as long as the demo, and what it has written can be read
    if running.returncode != 0:
        raise SystemExit(f"the demo has ended with {running.returncode}")
    return frames


def _read(terminal: int) -> list[tuple[float, bytes]]:
    found: list[tuple[float, bytes]] = []
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux: nobody has the other end any more
            return found
        if not part:
            return found
        found.append((time.monotonic(), part))


def cut(parts: Sequence[tuple[float, bytes]]) -> list[Frame]:
    """The screens that these bytes are, each with the time at which it was complete."""
    frames: list[Frame] = []
    text, at = b"", 0.0
    for at, part in parts:
        *whole, text = _AGAIN.split(text + part)
        frames += [(at, one.decode("utf-8", "replace")) for one in whole if one.strip()]
    return [*frames, (at, text.decode("utf-8", "replace"))]


def thinned(frames: Sequence[Frame]) -> list[Frame]:
    """One every `EVERY_S`, and the last one; times from 0 on."""
    start = frames[0][0]
    kept: list[Frame] = []
    for at, text in frames[:-1]:
        if not kept or at - start >= kept[-1][0] + EVERY_S:
            kept.append((at - start, text))
    return [*kept, (frames[-1][0] - start, frames[-1][1])]


def picture(frames: Sequence[Frame]) -> str:
    """All of them as one SVG that plays."""
    ends = [at for at, _ in frames[1:]] + [frames[-1][0] + LAST_S]
    whole = ends[-1]
    rules: dict[str, str] = {}
    groups, motion, size = [], [], (0.0, 0.0)
    for number, ((begins, text), ended) in enumerate(zip(frames, ends, strict=True)):
        drawn, width, height = _drawn(text, rules)
        size = max(size[0], width), max(size[1], height)
        groups.append(f'<g class="f k{number}">{drawn}</g>')
        first, last = 100 * begins / whole, 100 * ended / whole
        motion.append(
            f"@keyframes k{number}{{0%{{visibility:hidden}}{first:.2f}%{{visibility:visible}}"
            f"{'' if last >= 100 else f'{last:.2f}%{{visibility:hidden}}'}}}"
            f".k{number}{{animation:k{number} {whole:.1f}s step-end infinite}}"
        )
    looks = "".join(f".{name}{{{rule}}}" for rule, name in rules.items())
    last_one = f".k{len(frames) - 1}{{visibility:visible}}"
    still = f"@media(prefers-reduced-motion:reduce){{.f{{animation:none}}{last_one}}}"
    ground = SVG_EXPORT_THEME.background_color.hex
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" role="img">'
        f"<title>{_TITLE}</title>"
        f"<style>{_LOOKS}"
        f"{looks}{''.join(motion)}{still}</style>"
        f'<rect width="{size[0]:.0f}" height="{size[1]:.0f}" rx="10" fill="{ground}"/>'
        f'<g transform="translate(12,12)">{"".join(groups)}</g></svg>\n'
    )


def _drawn(text: str, rules: dict[str, str]) -> tuple[str, float, float]:
    """A screen as SVG, with its width and height. Looks are told once for all screens, in `rules`."""
    lines = list(AnsiDecoder().decode(_OTHER.sub("", text).replace("\r", "")))
    console = Console(
        record=True, width=_COLUMNS, file=StringIO(), color_system="truecolor", legacy_windows=False
    )
    console.print(Group(*lines), highlight=False, overflow="fold")
    styles, backgrounds, matrix = console.export_svg(title="", code_format=_FORM, unique_id="t").split("\0")
    names = {number: rules.setdefault(rule, f"c{len(rules)}") for number, rule in _RULE.findall(styles)}
    matrix = re.sub(r'class="t-r(\d+)"', lambda found: f'class="{names[found[1]]}"', matrix)
    matrix = re.sub(r' clip-path="[^"]*"', "", matrix)
    lowest = max((float(y) for y in re.findall(r' y="([0-9.]+)"', matrix)), default=0.0)
    return backgrounds + matrix, _COLUMNS * 12.2 + 24, lowest + 32


def main() -> None:
    """Play, and write."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(thinned(play())), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
