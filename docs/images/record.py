"""Runs a command in a terminal of its own, and draws what it shows there as an SVG that moves.

    pip install pyte
    python docs/images/record.py docs/images/demo.svg nlft demo

Long waits are cut: while the cursor stays on one line, at most two seconds pass. It begins with the last state and rests
there, and stays there where a reader wants no motion. `--keep FILE` writes the recording (asciicast v2), `--from FILE`
draws one again.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyte

COLUMNS, LINES = 118, 56  # as wide as the tables of results, as high as what the demo shows at its end
LONGEST_WAIT, FRAMES_IN_WAIT, REST = 2.0, 8, 12.0  # seconds, states, seconds
CHAR, LINE, SIZE, MARGIN = 8.4, 18, 14, 16  # pixels
INK, PAPER = "#d6d9de", "#16191f"
COLOURS = {
    "default": INK,
    "black": "#000000",
    "red": "#f2777a",
    "green": "#8ccf7e",
    "brown": "#e5c76b",
    "blue": "#7aa9f0",
    "magenta": "#d29ae8",
    "cyan": "#67cbe7",
    "white": "#d6d9de",
    "brightblack": "#9aa1ac",
    "brightred": "#f2777a",
    "brightgreen": "#8ccf7e",
    "brightyellow": "#e5c76b",
    "brightblue": "#7aa9f0",
    "brightmagenta": "#d29ae8",
    "brightcyan": "#67cbe7",
    "brightwhite": "#ffffff",
}


class Run(NamedTuple):
    """Neighbouring signs of one line that look alike."""

    column: int
    text: str
    style: str
    paper: str | None

    def svg(self, top: int) -> str:
        """Its text, in as many pixels as the terminal gives it, on its paper."""
        x, width = MARGIN + self.column * CHAR, len(self.text) * CHAR
        back = f'<rect x="{x:g}" y="{top}" width="{width:g}" height="{LINE}" fill="{self.paper}"/>' * bool(self.paper)
        place = f'x="{x:g}" y="{top + 14}" textLength="{width:g}" style="{self.style}"'
        return f"{back}<text {place}>{escape(self.text)}</text>"


Line = tuple[Run, ...]
Event = tuple[float, str]


def record(command: Sequence[str]) -> list[Event]:
    """What the command writes to its terminal, and when, in seconds."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execvp(command[0], list(command))  # noqa: S606 - the command to record is its user's
    events, start = [(0.0, f"$ {' '.join(command)}\r\n")], time.monotonic()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        try:
            text = decoder.decode(os.read(terminal, 65536))
        except OSError:  # Linux says so when the command has ended
            break
        events.append((time.monotonic() - start, text))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        sys.exit(f"{''.join(text for _, text in events)}\n{command[0]} ended with {code}")
    return events


def states(events: Sequence[Event]) -> Iterator[tuple[float, int, list[Line]]]:
    """Time, line of the cursor, and what the terminal shows, after each event."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    lines: list[Line] = [()] * LINES
    for at, text in events:
        # pyte knows no faint text: it becomes grey.
        stream.feed(re.sub(r"\x1b\[((?:[013-9];)*)2(?=[;m])", "\x1b[\\g<1>90", text))
        for y in screen.dirty:
            lines[y] = runs(screen.buffer[y])
        screen.dirty.clear()
        yield at, screen.cursor.y, [*lines]


def runs(line: dict[int, pyte.screens.Char]) -> Line:
    """A line of the terminal as runs, without what is blank."""
    found = []
    for look, signs in groupby(range(COLUMNS), key=lambda x: line[x]._replace(data="")):
        columns = list(signs)
        text = "".join(line[x].data for x in columns)
        ink, paper = (look.bg, look.fg) if look.reverse else (look.fg, look.bg)
        style = f"fill:{colour(ink)}"
        style += ";font-weight:bold" * look.bold + ";font-style:italic" * look.italics
        style += ";text-decoration:underline" * look.underscore
        back = None if paper == "default" else colour(paper)
        if not back and not look.underscore:
            text = text.rstrip()
        if text:
            found.append(Run(columns[0], text, style, back))
    return tuple(found)


def colour(name: str) -> str:
    """The colour that pyte names, or gives as six digits."""
    return COLOURS.get(name) or f"#{name}"


def shortened(shown: Sequence[tuple[float, int, list[Line]]]) -> tuple[list[tuple[float, list[Line]]], float]:
    """The states to draw with the second at which each begins, and when the last begins."""
    chosen, now = [], 0.0
    waits = [list(group) for _, group in groupby(shown, key=lambda state: state[1])]
    for number, wait in enumerate(waits):
        start = wait[0][0]
        end = waits[number + 1][0][0] if number + 1 < len(waits) else start
        length = min(end - start, LONGEST_WAIT)
        slot = -1
        for at, _, lines in wait:
            part = (at - start) / (end - start) if end > start else 0.0
            if int(part * FRAMES_IN_WAIT) != slot:
                slot = int(part * FRAMES_IN_WAIT)
                chosen.append((now + part * length, lines))
            else:
                chosen[-1] = (chosen[-1][0], lines)  # the latest state of its slot
        now += length
    return chosen, now


def svg(chosen: Sequence[tuple[float, list[Line]]], length: float, title: str) -> str:
    """An element for each line that stands a while: there between its two times, and for good if it is there at the end."""
    height = 1 + max(y for y, line in enumerate(chosen[-1][1]) if line)
    whole, elements, keyframes = length + REST, [], {}
    for y in range(height):
        spans = [(next(group)[0], line) for line, group in groupby(chosen, key=lambda state: state[1][y])]
        for (start, line), end in zip(spans, [*(at for at, _ in spans[1:]), None], strict=True):
            if not line or end == start:
                continue
            moments = [(0.0, "hidden")] * (start > 0) + [(start, "visible")] + [(end, "hidden")] * (end is not None)
            times = "".join(f"{at / whole:.3%}{{visibility:{what}}}" for at, what in moments)
            name = keyframes.setdefault(times, f"k{len(keyframes)}")
            passing = "" if end is None else ' visibility="hidden"'
            text = "".join(run.svg(MARGIN + y * LINE) for run in line)
            elements.append(f'<g style="animation-name:{name}"{passing}>{text}</g>')
    width, tall = round(COLUMNS * CHAR + 2 * MARGIN), height * LINE + 2 * MARGIN
    moves = "\n".join(f"@keyframes {name}{{{times}}}" for times, name in keyframes.items())
    drawn = "\n".join(elements)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall}" width="{width}" height="{tall}">
<title>{escape(title)}</title>
<style>
text{{font:{SIZE}px "DejaVu Sans Mono",Menlo,Consolas,monospace;white-space:pre}}
g{{animation:{whole:.1f}s step-end -{length:.1f}s infinite}}
@media (prefers-reduced-motion:reduce){{g{{animation:none}}}}
{moves}
</style>
<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>
{drawn}
</svg>
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--from", dest="recorded", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.recorded:
        _, *lines = given.recorded.read_text("utf-8").splitlines()
        events = [(at, text) for at, _, text in map(json.loads, lines)]
    else:
        events = record(given.command)
    if given.keep:
        head = {"version": 2, "width": COLUMNS, "height": LINES}
        rows = [head, *([at, "o", text] for at, text in events)]
        given.keep.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chosen, length = shortened(list(states(events)))
    title = f"What {events[0][1].strip().removeprefix('$ ')} prints, its waits shortened"
    given.picture.write_text(svg(chosen, length, title), encoding="utf-8")


if __name__ == "__main__":
    main()
