"""bigmalloc top [PID]: what processes do with large memory, again and again.

On a terminal it fills the screen and listens to keys; elsewhere it prints what the screen would show, once or
as often as asked. What is shown is made by list_screen and process_screen.
"""

from __future__ import annotations

import argparse
import curses
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bigmalloc_tool import discovery, list_screen, process_screen, procfs, sweep, terminal
from bigmalloc_tool.errors import ToolError, UsageError, parser, printable
from bigmalloc_tool.model import Life, Process
from bigmalloc_tool.screens import Choice, Screen, plain, text_of
from bigmalloc_tool.units import duration_text
from bigmalloc_tool.watch import View, Watch

INTERVALS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
KEYS = """
q             quit; on a screen that another one led to, back there
up, down      choose a line;  page up, page down, home, end
enter, right  the chosen process
left, escape  all processes
s, S          sort by the next column, the one before
r             the other way round
+, -          look more often, less often
space         look now
h, ?          this help
"""
HINT = "q quit   enter one process   s sort   r reverse   +/- interval   h help"
HINT_OF_ONE = "q back   s sort   r reverse   +/- interval   h help"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    state = State(options.pid, options.interval)
    sweep.sweep(discovery.find().processes)
    if sys.stdout.isatty() and sys.stdin.isatty() and not options.once and os.environ.get("TERM", "dumb") != "dumb":
        return on_terminal(state)
    return as_text(state, 1 if options.once else options.count)


def parse(arguments: list[str]) -> argparse.Namespace:
    it = parser("top", "What processes do with large memory. Keys on a terminal: h tells them.")
    it.add_argument("pid", nargs="?", type=int, metavar="PID", help="one process; without: all that can be seen")
    it.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between two looks (1)")
    it.add_argument("--once", action="store_true", help="print text once, also on a terminal")
    it.add_argument("--count", type=int, default=1, metavar="N", help="where there is no terminal, so many times (1)")
    options = it.parse_args(arguments)
    if not 0.05 <= options.interval <= 86400:
        raise UsageError("--interval is in seconds, from 0.05 to 86400")
    if options.count < 1:
        raise UsageError("--count is a number from 1")
    return options


@dataclass
class State:
    """What is looked at, and what was seen."""

    pid: int | None
    interval_s: float
    watch: Watch = field(default_factory=Watch)
    choices: dict[bool, Choice] = field(
        default_factory=lambda: {False: Choice(list_screen.FIRST_SORT), True: Choice(process_screen.SORTS[0])}
    )
    shown_identity: tuple[object, ...] | None = None  # of the one process
    last: View | None = None  # of it, for when it has ended
    views: list[View] = field(default_factory=list)
    killed: int = 0
    unreadable: int = 0
    is_help: bool = False
    is_done: bool = False
    wants_look: bool = False  # at once
    row_count: int = 0  # of the screen

    @property
    def is_one(self) -> bool:
        return self.pid is not None or self.shown_identity is not None

    @property
    def choice(self) -> Choice:
        return self.choices[self.is_one]

    def choose(self, **changes: object) -> None:
        self.choices[self.is_one] = replace(self.choice, **changes)  # type: ignore[arg-type]

    @property
    def sorts(self) -> tuple[str, ...]:
        return process_screen.SORTS if self.is_one else list_screen.SORTS


Action = Callable[[State], None]


# ---- looking ----


def look(state: State) -> None:
    state.wants_look = False
    if state.pid is not None and state.shown_identity is None:
        state.shown_identity = discovery.find_process(state.pid).identity
    found = discovery.find()
    shown = [one for one in found.processes if is_shown(state, one)]
    state.views = state.watch.look(shown)
    state.killed = sum(one.life is Life.KILLED for one in found.processes)
    state.unreadable = len(found.complaints)
    ours = [view for view in state.views if view.process.identity == state.shown_identity]
    if ours:
        state.last = ours[0]
    elif state.last is None and state.is_one:
        raise ToolError(f"process {state.pid} has just ended")
    elif state.last is not None and state.last.process.life is Life.RUNNING:
        state.last = replace(state.last, process=replace(state.last.process, life=Life.ENDED))


def is_shown(state: State, one: Process) -> bool:
    return one.life in (Life.RUNNING, Life.UNKNOWN) or one.identity == state.shown_identity


def screen_of(state: State) -> Screen:
    screen = made_screen(state)
    state.row_count = len(screen.rows)
    return screen


def made_screen(state: State) -> Screen:
    if state.is_help:
        return Screen([plain("bigmalloc top: keys", "strong")], [plain(line) for line in KEYS.splitlines()])
    if state.is_one and state.last is not None:
        one = state.last.process
        arguments = printable(procfs.command_line(one.pid_here)) if one.life is Life.RUNNING and one.pid_here else ""
        return process_screen.screen(state.last, state.choice, notes(state, one), arguments)
    return list_screen.screen(state.views, state.choice, notes(state, None))


def notes(state: State, one: Process | None) -> str:
    """Behind the title."""
    if one is not None:
        age = f" for {duration_text(state.last.age_s)}" if state.last is not None else ""
        return age if one.life is Life.RUNNING else ""
    killed = f", {state.killed} killed, which `bigmalloc report PID` tells about" if state.killed else ""
    unreadable = f", {state.unreadable} cannot be read" if state.unreadable else ""
    return killed + unreadable


# ---- as text ----


def as_text(state: State, count: int) -> int:
    for n in range(count):
        if n > 0:
            time.sleep(state.interval_s)
            print()
        look(state)
        screen = screen_of(state)
        for line in [*screen.top, *screen.rows]:
            print(text_of(line).rstrip())
        sys.stdout.flush()
    return 0


# ---- on a terminal ----


def on_terminal(state: State) -> int:
    look(state)  # what cannot be shown is said before the screen is taken
    with terminal.taken() as window:
        painter = terminal.Painter(window)
        due = time.monotonic() + state.interval_s
        while not state.is_done:
            painter.paint(screen_of(state), hint(state))
            window.timeout(max(round(1000 * (due - time.monotonic())), 0))
            key = window.getch()
            ACTIONS.get(key, do_nothing)(state)
            if state.wants_look or time.monotonic() >= due:
                look(state)
                due = time.monotonic() + state.interval_s
    return 0


def hint(state: State) -> str:
    keys = "h, q: back" if state.is_help else HINT_OF_ONE if state.is_one else HINT
    return f"{keys}   every {state.interval_s:g} s   {time.strftime('%H:%M:%S')}"


def do_nothing(state: State) -> None:
    pass


def move(by: int) -> Action:
    def action(state: State) -> None:
        state.choose(row=max(min(state.choice.row + by, state.row_count - 1), 0))

    return action


def sort_next(by: int) -> Action:
    def action(state: State) -> None:
        n = state.sorts.index(state.choice.sort) + by
        state.choose(sort=state.sorts[n % len(state.sorts)])

    return action


def slower(by: int) -> Action:
    def action(state: State) -> None:
        nearest = min(range(len(INTERVALS_S)), key=lambda n: abs(INTERVALS_S[n] - state.interval_s))
        state.interval_s = INTERVALS_S[max(min(nearest + by, len(INTERVALS_S) - 1), 0)]
        state.wants_look = True

    return action


def reverse(state: State) -> None:
    state.choose(is_reversed=not state.choice.is_reversed)


def enter(state: State) -> None:
    chosen = list_screen.in_order(state.views, state.choice) if not state.is_one else []
    if chosen:
        state.last = chosen[min(state.choice.row, len(chosen) - 1)]
        state.shown_identity = state.last.process.identity


def leave(state: State) -> None:
    """To the screen before, if there is one."""
    if state.is_help:
        state.is_help = False
    elif state.is_one:
        state.pid = state.shown_identity = state.last = None
        state.wants_look = True


def leave_or_quit(state: State) -> None:
    state.is_done = not state.is_help and (not state.is_one or state.pid is not None)
    leave(state)


def show_help(state: State) -> None:
    state.is_help = not state.is_help


def look_now(state: State) -> None:
    state.wants_look = True


FAR = 1 << 20  # rows
ACTIONS: dict[int, Action] = {
    ord("q"): leave_or_quit,
    ord("Q"): leave_or_quit,
    curses.KEY_UP: move(-1),
    ord("k"): move(-1),
    curses.KEY_DOWN: move(1),
    ord("j"): move(1),
    curses.KEY_PPAGE: move(-10),
    curses.KEY_NPAGE: move(10),
    curses.KEY_HOME: move(-FAR),
    curses.KEY_END: move(FAR),
    curses.KEY_ENTER: enter,
    ord("\n"): enter,
    ord("\r"): enter,
    curses.KEY_RIGHT: enter,
    27: leave,
    curses.KEY_LEFT: leave,
    curses.KEY_BACKSPACE: leave,
    127: leave,
    ord("s"): sort_next(1),
    ord("S"): sort_next(-1),
    ord("r"): reverse,
    ord("+"): slower(-1),
    ord("="): slower(-1),
    ord("-"): slower(1),
    ord(" "): look_now,
    ord("h"): show_help,
    ord("?"): show_help,
}
