"""What the screens of `bigmalloc top` are made of: lines of text, and the bars of places. Pure.

A line is made of spans, text with a style that says what it is: who draws decides what that looks like. Without
styles they are the plain text that `top` prints where there is no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bigmalloc_tool import table
from bigmalloc_tool.model import Figures, Pool, Process
from bigmalloc_tool.units import bytes_text, count_text

BAR_COLUMNS = 32
LIVE, IDLE = "|", ":"


class Span(NamedTuple):
    text: str
    style: str = "plain"  # plain, strong, faint, head, chosen, live, idle


Line = tuple[Span, ...]


@dataclass
class Screen:
    top: list[Line]  # shown as long as there is room
    rows: list[Line]  # scrolled
    chosen: int | None = None  # a row that has to be seen
    first: int = 0  # the row to begin with, if that leaves no room empty


@dataclass(frozen=True)
class Choice:
    """What the user has chosen to see, and how."""

    sort: str
    is_reversed: bool = False
    row: int = 0


def plain(text: str, style: str = "plain") -> Line:
    return (Span(text, style),)


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def headings(text: str, sort: str) -> Line:
    """With the one by which the lines are sorted made to stand out."""
    before, found, after = text.partition(sort)
    return (Span(before, "head"), Span(found, "strong"), Span(after, "head"))


def plural(n: int, one: str, many: str) -> str:
    return f"{count_text(n)} {one if n == 1 else many}"


def pid_of(process: Process) -> int:
    return process.pid_here or process.pid


def is_contained(process: Process) -> bool:
    return process.pid_here not in (0, process.pid)


# ---- bars ----


def bars(pools: list[Pool]) -> list[Line]:
    """One for each place. What is host memory has one scale, and what is on devices another one."""
    scale = {
        is_device: largest(pool for pool in pools if is_on_device(pool) == is_device) for is_device in (False, True)
    }
    labels = table.lines([""], [[str(pool.place)] for pool in pools], [""])[1:]
    width = max(map(len, labels), default=0)
    return [bar(label.ljust(width), pool, scale[is_on_device(pool)]) for label, pool in zip(labels, pools)]


def is_on_device(pool: Pool) -> bool:
    return pool.place.kind == "device"


def largest(pools: Iterable[Pool]) -> int:
    return max((max(extent(pool.figures), 1) for pool in pools), default=1)


def extent(figures: Figures) -> int:
    return max(figures.gauge("reserved_bytes").peak, figures.live_bytes + figures.idle_bytes)


def bar(label: str, pool: Pool, scale: int) -> Line:
    figures = pool.figures
    live = columns_of(figures.live_bytes, scale)
    idle = min(columns_of(figures.idle_bytes, scale), BAR_COLUMNS - live)
    told = f"live {bytes_text(figures.live_bytes):>8}   idle {bytes_text(figures.idle_bytes):>8}"
    peak = figures.gauge("allocated_bytes")
    most = f"   peak {bytes_text(peak.peak):>8}" if peak.peak == peak.peak_bound else ""
    rest = " " * (BAR_COLUMNS - live - idle)
    return (
        Span(f"{label}  ["),
        Span(LIVE * live, "live"),
        Span(IDLE * idle, "idle"),
        Span(f"{rest}]  {told}{most}"),
    )


def columns_of(n: int, scale: int) -> int:
    """Whatever is there is seen."""
    return min(max(round(BAR_COLUMNS * n / scale), 1 if n else 0), BAR_COLUMNS)
