"""bigmalloc stat PID: the figures of a process, once or as differences; or have it dump them itself.

The live file is read, which the process does not notice. Only where there is none, or with --dump, the process is
sent the signal on which it dumps its statistics, to wherever it was told to. A signal that nobody handles kills: it is
sent only where the live file says that the library's handler is there, and the kernel that the process has one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bigmalloc_tool import discovery, live_file, process_screen, procfs
from bigmalloc_tool.dump_file import to_json
from bigmalloc_tool.errors import FileError, ToolError, UsageError, parser, reason
from bigmalloc_tool.model import Life, Process
from bigmalloc_tool.screens import Choice, text_of
from bigmalloc_tool.units import bytes_text, percent_text, rate_text
from bigmalloc_tool.watch import View, Watch

HEAD_EVERY = 20  # lines


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    process = discovery.find_process(options.pid)
    if options.dump:
        return dump(process)
    if options.interval is None:
        return tell(process, options.json)
    return tell_changes(process, options)


def parse(arguments: list[str]) -> argparse.Namespace:
    it = parser("stat", "The figures of a process: now, or what changes every S seconds.")
    it.add_argument("pid", type=int, metavar="PID")
    it.add_argument("--interval", type=float, metavar="S", help="differences, every S seconds")
    it.add_argument("--count", type=int, default=0, metavar="N", help="so many of them (until the process ends)")
    it.add_argument("--json", action="store_true", help="as JSON; of differences, an object a line")
    it.add_argument("--dump", action="store_true", help="have the process dump its statistics, as on its signal")
    options = it.parse_args(arguments)
    if options.interval is not None and not 0.01 <= options.interval <= 86400:
        raise UsageError("--interval is in seconds, from 0.01 to 86400")
    if options.count < 0 or (options.count and options.interval is None):
        raise UsageError("--count is a number from 1, and goes with --interval")
    if options.dump and (options.json or options.interval is not None):
        raise UsageError("--dump leaves it to the process what it says and how; it goes with nothing else")
    return options


def tell(process: Process, as_json: bool) -> int:
    if as_json:
        print(json.dumps(to_json(process), indent=1))
        return 0
    view = Watch().look([process])[0]
    screen = process_screen.screen(view, Choice(process_screen.SORTS[0]), "")
    for line in [*screen.top, *screen.rows]:
        print(text_of(line).rstrip())
    return 0


# ---- differences ----


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[View], str]


def of_bytes(name: str) -> Callable[[View], str]:
    return lambda view: bytes_text(view.rate(view.growth.count(name)))


COLUMNS = (
    Column("    TIME", lambda view: time.strftime("%H:%M:%S")),
    Column("    LIVE", lambda view: bytes_text(view.figures.live_bytes)),
    Column("    IDLE", lambda view: bytes_text(view.figures.idle_bytes)),
    Column("RESIDENT", lambda view: bytes_text(view.process.resident_bytes or 0)),
    Column("  REQ/S", lambda view: rate_text(view.requests_rate)),
    Column("   HITS", lambda view: percent_text(view.growth.hits, view.growth.requests)),
    Column(" MISS/S", lambda view: rate_text(view.misses_rate)),
    Column("MISSED/S", of_bytes("missed_bytes")),
    Column(" GIVEN/S", of_bytes("released_bytes")),
    Column("PRESSURE", lambda view: str(view.growth.count("pressure_events"))),
)


def tell_changes(process: Process, options: argparse.Namespace) -> int:
    if process.life is not Life.RUNNING:
        raise ToolError(
            f"process {options.pid} runs no more ({process.life.value}): nothing changes; leave out --interval"
        )
    for n, view in enumerate(changes(process, options.interval)):
        print(json.dumps(change_to_json(view)) if options.json else line_of(view, n), flush=True)
        if n + 1 == options.count:
            break
    return 0


def changes(process: Process, interval_s: float) -> Iterator[View]:
    """Until it ends, on a beat that does not drift."""
    watch, due = Watch(), time.monotonic()
    watch.look([process])
    while True:
        due += interval_s
        time.sleep(max(due - time.monotonic(), 0))
        now = current(process)
        if now is None:
            return
        yield watch.look([now])[0]


def current(process: Process) -> Process | None:
    """None: it has ended."""
    try:
        now = discovery.Census().judged(live_file.read(Path(process.source)))
    except FileError:
        return None
    return now if now.life is Life.RUNNING and now.identity == process.identity else None


def line_of(view: View, n: int) -> str:
    titles = "  ".join(column.title for column in COLUMNS)
    cells = "  ".join(column.text(view).rjust(len(column.title)) for column in COLUMNS)
    return cells if n % HEAD_EVERY else f"{titles}\n{cells}"


def change_to_json(view: View) -> dict[str, object]:
    """The levels of now, and what came in between."""
    one, now, growth = view.process, view.figures, view.growth
    return {
        "pid": one.pid,
        "time_unix_us": one.time_unix_us,
        "seconds": round(view.seconds, 6),
        "live_bytes": now.live_bytes,
        "idle_bytes": now.idle_bytes,
        "resident_bytes": one.resident_bytes,
        "requests": growth.requests,
        "hits": growth.hits,
        "misses": growth.misses,
        "growth": growth_to_json(view),
    }


def growth_to_json(view: View) -> dict[str, object]:
    both = {name: {"allocated": g.allocated, "freed": g.freed} for name, g in view.growth.gauges.items()}
    return {**both, **view.growth.counters}


# ---- the signal ----


def dump(process: Process) -> int:
    why = why_not_to_signal(process)
    if why:
        raise ToolError(f"process {process.pid_here or process.pid} is sent no signal: {why}")
    send(process)
    return 0


def why_not_to_signal(process: Process) -> str:
    """The file was written by somebody else: it chooses neither the process nor any signal of ours."""
    number, pid = process.dump_signal, process.pid_here
    if process.life is not Life.RUNNING:
        return f"it runs no more ({process.life.value})"
    if number == 0:
        return "the program handles it itself, or BIGMALLOC_STATS_SIGNAL=none; without --dump its live file is read"
    if number not in (signal.SIGUSR1, signal.SIGUSR2) and not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f"its live file names signal {number}, which is none to dump on"
    if procfs.owner(pid) != process.uid:
        return "its live file belongs to somebody else"
    if not procfs.catches(pid, number):
        return f"it has no handler of signal {number} now, which would kill it"
    return ""


def send(process: Process) -> None:
    """To that process, even if it ends now and another one gets its number."""
    try:
        pidfd = os.pidfd_open(process.pid_here)
        try:
            if procfs.start_ticks(process.pid_here) == process.start_ticks:
                signal.pidfd_send_signal(pidfd, process.dump_signal)
        finally:
            os.close(pidfd)
    except OSError as error:
        raise ToolError(f"process {process.pid_here} is sent no signal: {reason(error)}") from error
