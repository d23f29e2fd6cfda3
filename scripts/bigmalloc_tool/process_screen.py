"""The screen of `bigmalloc top PID`: one process. Pure."""

from __future__ import annotations

from collections.abc import Callable

from bigmalloc_tool import table
from bigmalloc_tool.model import Figures, Process, SizeClass, by_place
from bigmalloc_tool.screens import Choice, Line, Screen, Span, bars, headings, is_contained, pid_of, plain, plural
from bigmalloc_tool.units import bytes_text, count_text, micros_text, percent_text, rate_text
from bigmalloc_tool.watch import View

SORTS = ("BUSIEST", "SIZE")


def screen(view: View, choice: Choice, notes: str, arguments: str = "") -> Screen:
    one = view.process
    title = f"{one.command}, process {pid_of(one)}{identity_notes(one)}, {one.life.value}"
    top: list[Line] = [(Span(title, "strong"), Span(notes, "faint"))]
    if arguments:
        top.append(plain(arguments, "faint"))
    top += [(), *numbers(view), (), *bars(by_place(one.pools)), ()]
    rows = [*classes(view, choice), (), *events(view)]
    if any(pool.is_torn for pool in one.pools):
        rows.append(plain("These figures are not all of one instant: they changed while they were read.", "faint"))
    return Screen(top, rows, first=choice.row)


def identity_notes(one: Process) -> str:
    inside = f" ({one.pid} in its container)" if is_contained(one) else ""
    return inside + (f", rank {one.rank}" if one.rank is not None else "")


def numbers(view: View) -> list[Line]:
    """Two columns: memory, and requests."""
    figures, growth = view.figures, view.growth
    live = figures.gauge("allocated_bytes")
    now = f", now {percent_text(growth.hits, growth.requests)}" if growth.requests else ""
    hits = percent_text(figures.hits, figures.requests)
    released = figures.count("released_bytes")
    cells = [
        ("live", f"{bytes_text(live.current)}, at most {bytes_text(live.peak_bound)}"),
        ("requests", f"{count_text(figures.requests)}, {rate_text(view.requests_rate)}/s"),
        ("idle", bytes_text(figures.idle_bytes)),
        ("hits", f"{count_text(figures.hits)}, {hits}{now}"),
        ("resident", "-" if view.process.resident_bytes is None else bytes_text(view.process.resident_bytes)),
        (
            "misses",
            f"{count_text(figures.misses)}, {rate_text(view.misses_rate)}/s, {micros_text(figures.mean_miss_us)} each",
        ),
        ("given back", f"{bytes_text(released)}, {bytes_text(view.rate(growth.count('released_bytes')))}/s"),
        ("pressure", pressure_text(figures)),
    ]
    return [plain(f"{a:<11} {b:<33} {c:<9} {d}") for (a, b), (c, d) in zip(cells[::2], cells[1::2])]


def misses_text(view: View) -> str:
    figures = view.figures
    moved = percent_text(figures.count("recycled_blocks"), figures.misses)
    each = f"{micros_text(figures.mean_miss_us)} each"
    return f"{count_text(figures.misses)}, {rate_text(view.misses_rate)}/s, {each}, {moved} with moved pages"


def pressure_text(figures: Figures) -> str:
    events, emergencies = figures.count("pressure_events"), figures.count("emergencies")
    if not events + emergencies:
        return "none"
    return f"{plural(events, 'event', 'events')}, {plural(emergencies, 'emergency', 'emergencies')}"


def classes(view: View, choice: Choice) -> list[Line]:
    titles = ["SIZE", "HITS", "MISSES", "IDLE", "HITS/S", "MISSES/S"]
    ordered = sorted(view.figures.classes.values(), key=class_order(choice), reverse=choice.is_reversed)
    head, *rows = table.lines(titles, [class_cells(view, one) for one in ordered])
    return [headings(head, "SIZE" if choice.sort == "SIZE" else "HITS"), *(plain(row) for row in rows)]


def class_order(choice: Choice) -> Callable[[SizeClass], int]:
    return (lambda one: one.size) if choice.sort == "SIZE" else (lambda one: -one.requests)


def class_cells(view: View, one: SizeClass) -> list[str]:
    growth = view.growth.classes.get(one.size, SizeClass(one.size))
    counts = [count_text(n) for n in (one.hits, one.misses, one.idle)]
    return [bytes_text(one.size), *counts, rate_text(view.rate(growth.hits)), rate_text(view.rate(growth.misses))]


def events(view: View) -> list[Line]:
    """What happened, with what the library says about it; what did not would fill the screen."""
    docs = {figure.name: figure.doc for figure in view.process.schema}
    happened = [(name, n) for name, n in view.figures.counters.items() if n]
    rows = [[*event_cells(view, name, n), docs.get(name, "")] for name, n in happened]
    head, *lines = table.lines(["EVENT", "TOTAL", "PER S", "MEANING"], rows, ["EVENT", "MEANING"])
    return [plain(head, "head"), *(plain(line) for line in lines)] if rows else []


def event_cells(view: View, name: str, n: int) -> list[str]:
    per_second = view.rate(view.growth.count(name))
    return [name_text(name), value_text(name, n), value_text(name, per_second, is_rate=True)]


def name_text(name: str) -> str:
    for ending, instead in (("_bytes", ""), ("_us", " time")):
        if name.endswith(ending):
            name = name[: -len(ending)] + instead
    return name.replace("_", " ")


def value_text(name: str, n: float, is_rate: bool = False) -> str:
    if name.endswith("_bytes"):
        return bytes_text(n)
    if name.endswith("_us"):
        return micros_text(n)
    return rate_text(n) if is_rate else count_text(n)
