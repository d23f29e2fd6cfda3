"""Suites of tests that run in guests: which are chosen, what they said, a line of TAP for each.

    sys.exit(suite.main(__doc__, all_tests, reasons, guests))

The arguments of the program are BUILD [NAME...]; NAMEs are shell patterns. all_tests(build) are the tests,
reasons(tests) says which of them cannot run here and why, and guests(build, tests) are the machines for the
others, which run side by side: there is more than one processor here, and one is enough for most of a guest's time.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import machine
from machine import Guest, Job, Result


@dataclass
class Test:
    job: Job
    files: dict[str, Path]
    speaks_tap: bool = False
    lines: Callable[[str], list[str]] = str.splitlines  # of the output, as they are to be reported


AnyTest = TypeVar("AnyTest", bound=Test)


class Report:
    """Numbers the lines, and knows whether anything failed."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = False

    def say(self, passed: bool, name: str, notes: list[str]) -> None:
        self.count += 1
        self.failed = self.failed or not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - {name}")
        self.note(notes)

    def note(self, lines: list[str]) -> None:
        for line in lines:
            print(f"# {line.removeprefix('# ')[:300]}")

    def skip(self, name: str, reason: str) -> None:
        self.say(True, f"{name} # SKIP {reason}", [])

    def result(self, test: Test, result: Result | None) -> None:
        if result is None:
            self.say(False, test.job.name, ["the machine ended, or was ended, before this did"])
            return
        lines = test.lines(result.output)
        duration = f"{result.seconds:.1f} s in the guest"
        if test.speaks_tap:
            self.pass_on(test.job.name, result.status, [*lines, f"# {duration}"])
            return
        # The loader goes on without what it cannot preload.
        passed = result.status == 0 and not any(line.startswith("ERROR: ld.so:") for line in lines)
        why = [] if passed else [f"status {result.status}", *lines[-10:]]
        self.say(passed, test.job.name, [*why, duration])

    def pass_on(self, name: str, status: int, lines: list[str]) -> None:
        failed_before, self.failed = self.failed, False
        planned = False
        for line in lines:
            if told := re.match(r"(not )?ok \d+ - (.*)", line):
                self.say(told[1] is None, f"{name}: {told[2]}", [])
            elif re.match(r"1\.\.\d+$", line):
                planned = True
            else:
                self.note([line])
        if not planned or (status != 0 and not self.failed):
            self.say(False, f"{name} ended with status {status}", [])
        self.failed = self.failed or failed_before


def main(
    usage: str | None,
    all_tests: Callable[[Path], list[AnyTest]],
    reasons: Callable[[list[AnyTest]], dict[str, str]],
    guests: Callable[[Path, list[AnyTest]], list[Guest]],
) -> int:
    if len(sys.argv) < 2:
        print(usage, file=sys.stderr)
        return 2
    build, patterns = Path(sys.argv[1]).resolve(), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    tests = [test for test in all_tests(build) if is_chosen(test.job.name, patterns)]
    why_not = reasons(tests)
    report = Report()
    for name in (test.job.name for test in tests if test.job.name in why_not):
        report.skip(name, why_not[name])
    possible = [test for test in tests if test.job.name not in why_not]
    report_guests(report, guests(build, possible) if possible else [], possible)
    print(f"1..{report.count}")
    return 1 if report.failed else 0


def is_chosen(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def report_guests(report: Report, guests: list[Guest], tests: Sequence[Test]) -> None:
    by_name = {test.job.name: test for test in tests}
    with contextlib.ExitStack() as machines:
        for guest, results in [(guest, machines.enter_context(machine.running(guest))) for guest in guests]:
            report_guest(report, guest, results(), by_name)


def report_guest(report: Report, guest: Guest, results: dict[str, Result], tests: dict[str, Test]) -> None:
    for job in guest.jobs:
        report.result(tests[job.name], results.get(job.name))
    if len(results) < len(guest.jobs):
        report.note(["the machine's last words:", *machine.last_words(guest.folder)])
