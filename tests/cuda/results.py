"""results.py - what the tests found, as TAP and a table on standard output, and as text and JSON in a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

DETAILS_SHOWN = 40


@dataclass
class Verdict:
    """Of one test."""

    name: str
    passed: bool
    skipped: str
    details: str
    seconds: float

    def line(self) -> str:
        """As TAP has it."""
        directive = f" # SKIP {self.skipped}" if self.skipped else ""
        return f"{'ok' if self.passed else 'not ok'} - {self.name}{directive}"


@dataclass
class Table:
    """Figures in rows; the first column says of what they are."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """With columns as wide as they need to be."""
        rows = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        return [self.title] + [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
            for row in rows
        ]


@dataclass
class Results:
    """All of them. The folder is up to date after each test, whoever ends us."""

    folder: Path
    on: str = "an unknown device"
    verdicts: list[Verdict] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)

    def tell(self, title: str, columns: list[str], row: list[str]) -> None:
        """Adds a row to a table."""
        self.tables.setdefault(title, Table(title, columns)).rows.append(row)

    def add(self, verdict: Verdict) -> None:
        """Of a test that has ended."""
        self.verdicts.append(verdict)
        print(verdict.line(), flush=True)
        for line in verdict.details.splitlines()[-DETAILS_SHOWN:]:
            print(f"# {line}", flush=True)
        self.write()

    def summary(self) -> list[str]:
        """What failed, and how many of each kind."""
        failed = [verdict for verdict in self.verdicts if not verdict.passed]
        skipped = sum(verdict.skipped != "" for verdict in self.verdicts)
        passed = len(self.verdicts) - len(failed) - skipped
        lines = [verdict.line() for verdict in failed]
        return [*lines, f"{passed} passed, {len(failed)} failed, {skipped} skipped; all of it: {self.folder}"]

    def table_lines(self) -> list[str]:
        """All tables, one below the other."""
        lines = [f"on {self.on}"]
        for table in self.tables.values():
            lines += ["", *table.lines()]
        return lines

    def write(self) -> None:
        """What is known so far."""
        everything = {
            "schema": "bigmalloc-cuda/1",
            "on": self.on,
            "tests": [asdict(verdict) for verdict in self.verdicts],
            "tables": [asdict(table) for table in self.tables.values()],
        }
        text = [f"{verdict.line()}  ({verdict.seconds:.1f} s)\n{verdict.details}".rstrip() for verdict in self.verdicts]
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self.folder / "cuda.json", json.dumps(everything, indent=1) + "\n")
        replace(self.folder / "cuda.txt", "\n".join([*text, "", *self.table_lines(), "", *self.summary()]) + "\n")


def replace(path: Path, text: str) -> None:
    """As a whole, or not at all."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
