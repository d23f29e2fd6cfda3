"""A terminal as `top` needs it: a screen of lines that fits into it, and the terminal as before at the end."""

from __future__ import annotations

import contextlib
import curses
import os
import signal
from collections.abc import Iterator
from types import FrameType

from bigmalloc_tool.errors import ToolError
from bigmalloc_tool.screens import Line, Screen, plain

ATTRIBUTES = {"strong": curses.A_BOLD, "faint": curses.A_DIM, "head": curses.A_UNDERLINE, "chosen": curses.A_REVERSE}
COLOURS = {"live": curses.COLOR_GREEN, "idle": curses.COLOR_YELLOW, "head": curses.COLOR_CYAN}
ESCAPE_MS = 25  # after which an escape is the key, and not the beginning of another one
ROWS_AT_LEAST = 3  # where there is no room for these too, the top of the screen is left out


@contextlib.contextmanager
def taken() -> Iterator[curses.window]:
    """The whole terminal. It is given back also when we are asked to end."""
    os.environ.setdefault("ESCDELAY", str(ESCAPE_MS))
    try:
        window = curses.initscr()
    except curses.error as error:
        raise ToolError(f"this terminal cannot be used ({error}); --once prints text") from error
    before = signal.signal(signal.SIGTERM, end)
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        yield window
    finally:
        window.keypad(False)
        curses.endwin()
        signal.signal(signal.SIGTERM, before)


def end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class Painter:
    def __init__(self, window: curses.window) -> None:
        self.window = window
        self.attributes = dict(ATTRIBUTES)
        with contextlib.suppress(curses.error):  # a terminal may have no colours, and no invisible cursor
            curses.curs_set(0)
        with contextlib.suppress(curses.error):
            self.add_colours()

    def add_colours(self) -> None:
        curses.start_color()
        curses.use_default_colors()
        if not curses.has_colors() or "NO_COLOR" in os.environ:
            return
        for pair, (style, colour) in enumerate(COLOURS.items(), 1):
            curses.init_pair(pair, colour, -1)
            self.attributes[style] = self.attributes.get(style, 0) | curses.color_pair(pair)

    def paint(self, screen: Screen, hint: str) -> None:
        height, width = self.window.getmaxyx()
        self.window.erase()
        for y, line in enumerate(fitted(screen, hint, height)):
            self.put(y, line, width)
        self.window.refresh()

    def put(self, y: int, line: Line, width: int) -> None:
        x = 0
        for text, style in line:
            # The last cell of the screen cannot be written without moving the cursor out of it; a wide character
            # may need more room than there is.
            with contextlib.suppress(curses.error):
                self.window.addnstr(y, x, text, max(width - x, 0), self.attributes.get(style, 0))
            x += len(text)


def fitted(screen: Screen, hint: str, height: int) -> list[Line]:
    """As many lines as there are, the hint in the last one. What gives way first is the hint, then the top."""
    foot = [plain(hint, "faint")] if height > ROWS_AT_LEAST else []
    room = height - len(foot)
    top = screen.top if len(screen.top) + ROWS_AT_LEAST <= room else screen.top[-1:] if room > ROWS_AT_LEAST else []
    rows = rows_that_fit(screen, room - len(top))
    blank: list[Line] = [()] * (room - len(top) - len(rows))
    return [*top, *rows, *blank, *foot]


def rows_that_fit(screen: Screen, room: int) -> list[Line]:
    first = max(min(screen.first, len(screen.rows) - room), 0)
    if screen.chosen is not None and screen.chosen >= first + room:
        first = screen.chosen - room + 1
    return screen.rows[first : first + max(room, 0)]
