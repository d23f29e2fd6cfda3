"""`bigmalloc doctor`: looks for what keeps the library from doing well, and tells what to do about it.

    bigmalloc doctor [--json] [PID | -- PROGRAM ...]

Each line begins with ok, note or problem. The exit status is 1 where there is a problem. Of a process, its
environment, its limits and its cgroup count instead of ours.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from bigmalloc_tool import checks_kernel, checks_library, checks_packages, checks_program
from bigmalloc_tool.errors import ToolError, UsageError, parser
from bigmalloc_tool.machine import PROBLEM, Finding, Machine

CHECKS = [*checks_library.CHECKS, *checks_program.CHECKS, *checks_kernel.CHECKS, *checks_packages.CHECKS]
SCHEMA = "bigmalloc-doctor/1"


def main(arguments: list[str]) -> int:
    place = arguments.index("--") if "--" in arguments else len(arguments)
    ours, program = arguments[:place], arguments[place + 1 :]
    p = parser("doctor", "Looks for what keeps the library from doing well, and tells what to do about it.")
    p.usage = "bigmalloc doctor [--json] [PID | -- PROGRAM ...]"
    p.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    p.add_argument("--library", type=Path, help="libbigmalloc.so; the command finds it by itself")
    p.add_argument("--no-library", default="", help="why there is none")
    p.add_argument("pid", nargs="?", metavar="PID", help="a process; without one, what would be started here")
    chosen = p.parse_args(ours)
    machine = Machine(dict(os.environ), library=chosen.library, why_no_library=chosen.no_library, program=program)
    if chosen.pid is not None:
        look_at(machine, chosen.pid)
    findings = examine(machine)
    print(as_json(findings) if chosen.json else "\n".join(map(as_line, findings)))
    return 1 if any(finding.level == PROBLEM for finding in findings) else 0


def look_at(machine: Machine, word: str) -> None:
    if not (word.isascii() and word.isdigit()):
        raise UsageError(f"{word} is no process number; a program comes behind --")
    machine.pid = int(word)
    if not machine.path(machine.process("")).is_dir():
        raise ToolError(f"there is no process {word}; see bigmalloc top")
    entries = machine.read(machine.process("environ")).split("\0")
    machine.environment = {name: value for name, is_set, value in (entry.partition("=") for entry in entries) if is_set}


def examine(machine: Machine) -> list[Finding]:
    return [finding for check in CHECKS for finding in check(machine)]


def as_line(finding: Finding) -> str:
    text = f"{finding.text}; {finding.advice}" if finding.advice else finding.text
    return f"{finding.level:<8} {finding.subject}: {text}".replace("\n", " ")


def as_json(findings: list[Finding]) -> str:
    problems = sum(finding.level == PROBLEM for finding in findings)
    return json.dumps({"schema": SCHEMA, "problems": problems, "findings": [asdict(f) for f in findings]}, indent=1)
