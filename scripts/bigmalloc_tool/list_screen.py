"""The screen of `bigmalloc top` that shows all processes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bigmalloc_tool import table
from bigmalloc_tool.model import Figures, total
from bigmalloc_tool.screens import Choice, Line, Screen, Span, bars, headings, is_contained, pid_of, plain, plural
from bigmalloc_tool.units import bytes_text, percent_text, rate_text
from bigmalloc_tool.watch import View, places


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[View], str]
    order: Callable[[View], Any]
    falls: bool = True  # the largest first
    is_for: Callable[[View], bool] | None = None  # shown where it is for some process; None: always
    is_word: bool = False


def device_figures(view: View) -> Figures:
    return total(pool.figures for pool in view.process.pools if pool.place.kind == "device")


def host_live(view: View) -> int:
    return view.process.host_figures.live_bytes


def host_idle(view: View) -> int:
    return view.process.host_figures.idle_bytes


def resident(view: View) -> int:
    return view.process.resident_bytes or 0


def device_reserved(view: View) -> int:
    return device_figures(view).reserved_bytes


def device_live(view: View) -> int:
    return device_figures(view).live_bytes


def device_idle(view: View) -> int:
    return device_figures(view).idle_bytes


def rank_of(view: View) -> int:
    return -1 if view.process.rank is None else view.process.rank


def has_rank(view: View) -> bool:
    return view.process.rank is not None


def has_device(view: View) -> bool:
    return any(pool.place.kind == "device" for pool in view.process.pools)


def pressure_of(view: View) -> int:
    return view.figures.count("pressure_events")


COLUMNS = (
    Column("PID", lambda v: str(pid_of(v.process)), lambda v: pid_of(v.process), falls=False),
    Column("INSIDE", lambda v: str(v.process.pid), lambda v: v.process.pid, False, lambda v: is_contained(v.process)),
    Column("RANK", lambda v: str(rank_of(v)) if has_rank(v) else "", rank_of, False, has_rank),
    Column("LIVE", lambda v: bytes_text(host_live(v)), host_live),
    Column("IDLE", lambda v: bytes_text(host_idle(v)), host_idle),
    Column("RESIDENT", lambda v: bytes_text(resident(v)), resident),
    Column("GPU LIVE", lambda v: bytes_text(device_live(v)), device_live, is_for=has_device),
    Column("GPU IDLE", lambda v: bytes_text(device_idle(v)), device_idle, is_for=has_device),
    Column("HITS", lambda v: percent_text(v.figures.hits, v.figures.requests), lambda v: v.figures.hit_ratio),
    Column("REQ/S", lambda v: rate_text(v.requests_rate), lambda v: v.requests_rate),
    Column("MISS/S", lambda v: rate_text(v.misses_rate), lambda v: v.misses_rate),
    Column("PRESSURE", lambda v: str(pressure_of(v)), pressure_of, is_for=lambda v: pressure_of(v) > 0),
    Column("COMMAND", lambda v: v.process.command, lambda v: v.process.command, falls=False, is_word=True),
)
SORTS = tuple(column.title for column in COLUMNS)
FIRST_SORT = "LIVE"


def in_order(views: Iterable[View], choice: Choice) -> list[View]:
    column = COLUMNS[SORTS.index(choice.sort)]
    by_pid = sorted(views, key=lambda view: pid_of(view.process))
    return sorted(by_pid, key=column.order, reverse=column.falls != choice.is_reversed)


def screen(views: list[View], choice: Choice, notes: str) -> Screen:
    if not views:
        nobody = plain("No process that can be seen has made a large request yet, or BIGMALLOC_LIVE=off.", "faint")
        return Screen(summary(views, notes)[:1], [(), nobody])
    shown = [column for column in COLUMNS if column.is_for is None or any(map(column.is_for, views))]
    titles = [column.title for column in shown]
    sorted_views = in_order(views, choice)
    rows = [[column.text(view) for column in shown] for view in sorted_views]
    head, *texts = table.lines(titles, rows, [column.title for column in shown if column.is_word])
    top = [*summary(views, notes), (), *bars(places(views)), (), headings(head, choice.sort)]
    chosen = min(choice.row, len(texts) - 1)
    lines = [plain(text, "chosen" if n == chosen else "plain") for n, text in enumerate(texts)]
    return Screen(top, lines, chosen)


def summary(views: list[View], notes: str) -> list[Line]:
    title = (Span("bigmalloc: " + plural(len(views), "process", "processes"), "strong"), Span(notes, "faint"))
    return [title, plain("; ".join([memory_text(views), rates_text(views)]))]


def memory_text(views: list[View]) -> str:
    host = total(view.process.host_figures for view in views)
    device = total(device_figures(view) for view in views)
    told = f"live {bytes_text(host.live_bytes)}, idle {bytes_text(host.idle_bytes)}"
    on_device = f"; on GPUs live {bytes_text(device.live_bytes)}, idle {bytes_text(device.idle_bytes)}"
    return told + (on_device if any(map(has_device, views)) else "")


def rates_text(views: list[View]) -> str:
    growth = total(view.growth for view in views)
    requests = rate_text(sum(view.requests_rate for view in views))
    misses = rate_text(sum(view.misses_rate for view in views))
    return f"{requests} requests/s, {percent_text(growth.hits, growth.requests)} hits, {misses} misses/s"
