"""What doctor finds, and the machine that it looks at.

A check is a function from a Machine to findings. All that it reads lies below `root` and in `environment`, so that
a test can show it another machine. It never fails: what cannot be read is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OK, NOTE, PROBLEM = "ok", "note", "problem"
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    level: str
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    return Finding(OK, subject, text)


def note(subject: str, text: str, advice: str = "") -> Finding:
    """It costs something, or will, or somebody should know."""
    return Finding(NOTE, subject, text, advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    """The library does not do what it is for."""
    return Finding(PROBLEM, subject, text, advice)


Findings = Iterator[Finding]


@dataclass
class Machine:
    environment: dict[str, str]
    root: Path = Path("/")
    library: Path | None = None
    why_no_library: str = ""
    pid: int | None = None  # of a process that is looked at
    program: list[str] = field(default_factory=list)  # with its arguments

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        try:
            return self.path(name).read_text("utf-8", "replace")
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        text = self.read(name).strip()
        return int(text) if text.isascii() and text.isdigit() else None

    def process(self, name: str) -> str:
        """A file of the process that is looked at, or of our own."""
        return f"/proc/{self.pid or 'self'}/{name}"

    def chosen(self, name: str) -> str:
        """Of a file like "always [madvise] never" the word that holds."""
        found = re.search(r"\[(\S+)\]", self.read(name))
        return found[1] if found else ""

    def nodes(self) -> int:
        """NUMA nodes with memory, or 1."""
        online = self.read("/sys/devices/system/node/has_memory").strip()
        ranges = re.findall(r"(\d+)(?:-(\d+))?", online)
        return sum(int(last or first) - int(first) + 1 for first, last in ranges) or 1


def bytes_text(n: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"
