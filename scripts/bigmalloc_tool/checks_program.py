"""A program before it runs, and a process that does."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from bigmalloc_tool import elf, executable
from bigmalloc_tool.checks_library import ALLOCATORS, OURS
from bigmalloc_tool.machine import Findings, Machine, note, ok, problem

MOST_INTERPRETERS = 5  # as in the kernel (binfmt)


def program(m: Machine) -> Findings:
    """What is executed, followed through scripts to the interpreter that the loader loads."""
    if not m.program:
        return
    found = shutil.which(m.program[0], path=m.environment.get("PATH", os.defpath))
    if found is None:
        yield problem("program", f"{m.program[0]} is not there, or cannot be executed", "see PATH, and its permissions")
        return
    path = Path(found)
    for _ in range(MOST_INTERPRETERS):
        words = interpreter_words(path)
        if words is None:
            break
        yield ok("program", f"{path} is a script for {' '.join(words)}")
        following = interpreter_of(words, m.environment.get("PATH", os.defpath))
        if following is None:
            yield problem("program", f"its interpreter {' '.join(words)} is not there", "install it")
            return
        path = following
    yield from binary(m, path)


def interpreter_words(path: Path) -> list[str] | None:
    try:
        return executable.script_interpreter(path)
    except OSError:
        return None


def interpreter_of(words: list[str], search: str) -> Path | None:
    """Through env, the program that it looks up."""
    wanted = " ".join(words).split()
    if wanted and Path(wanted[0]).name == "env":
        names = [word for word in wanted[1:] if not word.startswith("-") and "=" not in word]
        wanted = names[:1]
    found = shutil.which(wanted[0], path=search) if wanted else None
    return Path(found) if found else None


def binary(m: Machine, path: Path) -> Findings:
    subject = "program"
    try:
        about = executable.read(path)
        ours = executable.read(m.library) if m.library else None
    except OSError as error:
        yield note(subject, f"{path} cannot be read ({error.strerror})")
        return
    if about is None:
        yield note(subject, f"{path} is no ELF executable: what starts it is not known")
    elif about.interpreter == "":
        advice = "nothing can be preloaded into it; use a build that is linked dynamically"
        yield problem(subject, f"{path} is linked statically", advice)
    elif "musl" in about.interpreter:
        yield problem(subject, f"{path} is for musl, and the library for glibc", "use an image with glibc (not Alpine)")
    elif ours is not None and about.machine != ours.machine:
        advice = f"build the library for {about.machine}"
        yield problem(subject, f"{path} is for {about.machine}, the library for {ours.machine}", advice)
    elif exports_malloc(path):
        advice = "the loader meets it before all that is preloaded; use a build without it"
        yield problem(subject, f"{path} has an allocator of its own inside", advice)
    else:
        yield from rights(path)


def exports_malloc(path: Path) -> bool:
    try:
        with elf.opened(path) as file:
            tables = [table for table in file.sections if table.type == elf.SHT_DYNSYM]
            return any(function.name == "malloc" for table in tables for function in file.functions_in(table))
    except elf.NotElf:
        return False


def rights(path: Path) -> Findings:
    """The loader takes no advice where a program gets more rights than its caller has (ld.so(8), secure-execution)."""
    subject = "program"
    mode = path.stat()
    gains = [
        name
        for name, bit, own, ours in (
            ("setuid", stat.S_ISUID, mode.st_uid, os.geteuid()),
            ("setgid", stat.S_ISGID, mode.st_gid, os.getegid()),
        )
        if mode.st_mode & bit and own != ours
    ]
    if "security.capability" in attributes(path) and os.geteuid() != 0:
        gains.append("file capabilities")
    if gains:
        advice = "run it as a user who has these rights already"
        yield problem(subject, f"{path} has {', '.join(gains)}: LD_PRELOAD is ignored", advice)
    else:
        yield ok(subject, f"{path} can have the library")


def attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []


def process(m: Machine) -> Findings:
    """What is in a process that runs."""
    subject = "process"
    if m.pid is None:
        return
    maps = m.read(m.process("maps"))
    if not maps:
        yield problem(subject, f"the maps of {m.pid} cannot be read", "ask as its user or as root, and whether it runs")
        return
    names = {Path(line).name for line in re.findall(r" (/.*)$", maps, re.MULTILINE)}
    others = sorted(name for name in names if ALLOCATORS.match(name))
    if not any(name.startswith(OURS) for name in names):
        yield problem(subject, f"{m.pid} runs without the library", "start it with bigmalloc run")
        yield from binary(m, m.path(m.process("exe")))
    else:
        yield ok(subject, f"{m.pid} has the library")
    if others:
        yield note(subject, f"{m.pid} has other allocators: {', '.join(others)}", "LD_PRELOAD tells which comes first")


CHECKS = [process, program]
