"""`bigmalloc run --report`: waits for a program, and then reports on all its processes.

The program is in our process group, so the terminal is its own: what is typed there (Ctrl-C, Ctrl-\\, Ctrl-Z) reaches it
from the kernel, and us as well. Signals that somebody sends to us alone are passed on. All of them are blocked here
and taken one at a time, which tells the two apart: the kernel's bear the code SI_KERNEL (sigaction(2)).

A process that ends by itself writes its statistics to a file that we name. One that is killed, or runs on, has not
done so, but has live counters, which tell where its statistics would go: so we know which ones are of this run.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bigmalloc_tool.errors import ToolError, UsageError, printable, reason

if TYPE_CHECKING:  # what reads and writes reports is loaded at the end: the program need not wait for it
    from bigmalloc_tool.model import Process

PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
SI_KERNEL = 0x80
STATS, STATS_FILE = "BIGMALLOC_STATS", "BIGMALLOC_STATS_FILE"
NAMES = "%h.%p.%n.json"  # of the files in a folder of ours

FILE_CLOCK_S = 0.01  # the time of a file is that of the kernel's last tick

Settings = dict[str, str]


class CannotStart(ToolError):
    """Status 127 or 126, as a shell's when there is no such program, or it cannot be executed."""

    def __init__(self, program: str, error: OSError) -> None:
        super().__init__(f"{program}: {reason(error)}")
        self.status = 127 if isinstance(error, FileNotFoundError) else 126


def main(arguments: list[str]) -> int:
    preload, target, *command = arguments
    if os.environ.get(STATS, "json") != "json":
        raise UsageError(f"--report needs {STATS}=json, and it is {os.environ[STATS]}; leave it out")
    settings = {"LD_PRELOAD": preload, STATS: "json"}
    if STATS_FILE in os.environ:
        return report_from_files_of_the_user(settings, os.environ[STATS_FILE], target, command)
    return report_from_own_folder(settings, target, command)


def report_from_own_folder(settings: Settings, target: str, command: list[str]) -> int:
    folder = tempfile.mkdtemp(prefix="bigmalloc.")
    pattern = f"{folder.replace('%', '%%')}/{NAMES}"
    try:
        began = time.time()
        program = wait_for(command, settings | {STATS_FILE: pattern})
        report(last_of_each_process(Path(folder)), left_behind(pattern, began), target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return status_of(program)


def report_from_files_of_the_user(settings: Settings, pattern: str, target: str, command: list[str]) -> int:
    """They stay where he wants them. What was there before this run is not of it."""
    if pattern == "-":
        raise UsageError(f"--report reads the statistics from files, and {STATS_FILE} is -; leave it out")
    pattern = absolute(pattern)
    began = time.time()
    program = wait_for(command, settings | {STATS_FILE: pattern})
    found = [Path(name) for shape in (glob_of(pattern), glob_of(pattern) + ".*") for name in glob.glob(shape)]
    written = sorted(path for path in found if path.stat().st_mtime >= began - FILE_CLOCK_S)
    report(written, left_behind(pattern, began), target)
    return status_of(program)


def absolute(pattern: str) -> str:
    """So that a process which goes to another folder writes to ours. What a variable begins with, only it knows."""
    return pattern if pattern.startswith(("/", "%q")) else f"{os.getcwd().replace('%', '%%')}/{pattern}"


def glob_of(pattern: str) -> str:
    """Of a pattern for file names the names that it can make: "a.%p.%q{X}%%" gives "a.*.*%"."""
    parts = re.split(r"(%[phrn]|%q\{[^}]*\}|%%)", pattern)
    kinds = {"%%": "%"}
    return "".join(kinds.get(part, "*") if place % 2 else glob.escape(part) for place, part in enumerate(parts))


def last_of_each_process(folder: Path) -> list[Path]:
    """A process that was asked by the signal wrote several files, each of which holds all before it."""
    last: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*.json"):
        process, _, number = path.stem.rpartition(".")
        if number.isdigit():
            last[process] = max(last.get(process, (0, path)), (int(number), path))
    return sorted(path for _, path in last.values())


def wait_for(command: list[str], settings: Settings) -> subprocess.Popen[bytes]:
    """The program, after its end."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    try:
        program = start(command, settings, lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask))
        while program.poll() is None:
            told = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
            if told.si_signo != signal.SIGCHLD and told.si_code != SI_KERNEL:
                program.send_signal(told.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return program


def status_of(program: subprocess.Popen[bytes]) -> int:
    """As a shell tells it."""
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def start(command: list[str], settings: Settings, prepare: Callable[[], object]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env=os.environ | settings, preexec_fn=prepare)
    except OSError as error:
        raise CannotStart(command[0], error) from None


def report(files: list[Path], others: list[Process], target: str) -> None:
    """To stderr, beside which the program's own output stays as it is, or to a file. No failure of it is the program's."""
    views = importlib.import_module("bigmalloc_tool.report")
    try:
        processes, complaints = views.collect([str(path) for path in files])
        for complaint in complaints:
            print(f"bigmalloc run: {complaint}", file=sys.stderr)
        if not processes + others:
            raise ToolError("no process made a large request, or was left to tell of it: there is nothing to report")
        with contextlib.ExitStack() as stack:
            output = sys.stderr if target == "-" else stack.enter_context(open(target, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(output))
            ending = Path(target).suffix
            views.tell(views.merged(processes + others), ending == ".json", ending == ".md")
    except ToolError as error:
        print(f"bigmalloc run: {error}", file=sys.stderr)
    except OSError as error:
        print(f"bigmalloc run: {target}: no report can be written there: {reason(error)}", file=sys.stderr)


def left_behind(pattern: str, began: float) -> list[Process]:
    """Those of this run that have not written their statistics, by their live counters: killed, or running on."""
    found = importlib.import_module("bigmalloc_tool.discovery").find()
    return [one for one in found.processes if one.started_unix_us >= began * 1e6 and is_named_by(pattern, one)]


def is_named_by(pattern: str, one: Process) -> bool:
    """Are its statistics to go to a file of that pattern?"""
    values = {"p": str(one.pid), "n": "0"}
    name = re.sub("%(.)", lambda found: values.get(found[1], found[1]), one.stats_file)
    return fnmatch.fnmatchcase(name, printable(glob_of(pattern)))
