"""A report as text, plain or in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bigmalloc_tool import table
from bigmalloc_tool.merge import Merged, Outlier, peak_of
from bigmalloc_tool.model import Figures, Life, Pool, Process, total
from bigmalloc_tool.screens import pid_of, plural
from bigmalloc_tool.units import bytes_text, count_text, micros_text, percent_text

Table = Callable[[Sequence[str], Iterable[Sequence[str]], Iterable[str]], list[str]]


@dataclass(frozen=True)
class Form:
    table: Table
    title: str  # in front of one
    facts: Callable[[list[tuple[str, str]]], list[str]]


def plain_facts(facts: list[tuple[str, str]]) -> list[str]:
    return [f"{name:<10} {text}" for name, text in facts]


def markdown_facts(facts: list[tuple[str, str]]) -> list[str]:
    return ["", *(f"- {name}: {table.escaped(text)}" for name, text in facts)]


PLAIN = Form(table.lines, "", plain_facts)
MARKDOWN = Form(table.markdown, "## ", markdown_facts)


def lines(report: Merged, form: Form) -> list[str]:
    parts = [
        section(form, title(report), form.facts(facts(report))),
        section(form, "Processes", process_table(report, form)) if len(report.processes) > 1 else [],
        section(form, "Places", place_table(report, form)),
        section(form, "Outliers", outlier_table(report, form)) if report.outliers else [],
        section(form, "Still live", leak_table(report, form)) if leaks(report) else [],
        section(form, "Sizes", size_table(report, form)),
    ]
    return joined(parts)


def joined(parts: Iterable[list[str]]) -> list[str]:
    """With a blank line between two of them."""
    joint: list[str] = []
    for part in filter(None, parts):
        joint += [*([""] if joint else []), *part]
    return joint


def section(form: Form, name: str, body: list[str]) -> list[str]:
    blank = [""] if form is MARKDOWN and body[:1] != [""] else []
    return [form.title + name, *blank, *body]


# ---- all of it ----


def title(report: Merged) -> str:
    if len(report.processes) == 1:
        one = report.processes[0]
        return f"bigmalloc: {one.command} (process {pid_of(one)}{rank_note(one)}), {one.life.value}"
    ranks = {one.rank for one in report.processes} - {None}
    hosts = {one.host for one in report.processes}
    on = f" on {plural(len(hosts), 'machine', 'machines')}" if len(hosts) > 1 else ""
    of = f" of {plural(len(ranks), 'rank', 'ranks')}" if ranks else ""
    return f"bigmalloc: {plural(len(report.processes), 'process', 'processes')}{of}{on}"


def rank_note(one: Process) -> str:
    return "" if one.rank is None else f", rank {one.rank}"


def facts(report: Merged) -> list[tuple[str, str]]:
    figures = report.figures
    served = f"{percent_text(figures.hits, figures.requests)} served by idle blocks"
    asked = f"{count_text(figures.requests)} for {bytes_text(figures.asked_bytes)}, {served}"
    misses = f"{count_text(figures.misses)}, {micros_text(figures.count('miss_us'))} in all"
    moved = percent_text(figures.count("recycled_blocks"), figures.misses)
    each = f", {micros_text(figures.mean_miss_us)} each, {moved} with moved pages" if figures.misses else ""
    return [
        ("requests", asked),
        ("misses", misses + each),
        ("peak", peak_text(report)),
        ("live", live_text(report)),
        *given_back(figures),
        *trouble(figures),
    ]


def peak_text(report: Merged) -> str:
    least, most = bytes_text(report.largest_peak), bytes_text(report.peak_bound)
    if len(report.processes) == 1:
        return most
    return f"{least} in the largest process; {most} in all, if they were at their peaks at the same time"


def live_text(report: Merged) -> str:
    when = "now" if any(one.life is Life.RUNNING for one in report.processes) else "at the end"
    shared = f"; what forked children share, {bytes_text(report.shared_bytes)}, counts once"
    return f"{bytes_text(report.live_bytes)} {when}{shared if report.shared_bytes else ''}"


def given_back(figures: Figures) -> list[tuple[str, str]]:
    released = figures.count("released_bytes")
    return [("given back", f"{bytes_text(released)} to the system")] if released else []


TROUBLE = (
    ("pressure_events", "time memory was short", "times memory was short"),
    ("emergencies", "emergency", "emergencies"),
    ("oom_retries", "request refused at first", "requests refused at first"),
    ("failures", "request refused for good", "requests refused for good"),
    ("passed", "request left to jemalloc", "requests left to jemalloc"),
    ("lost_blocks", "block lost", "blocks lost"),
)


def trouble(figures: Figures) -> list[tuple[str, str]]:
    told = [plural(figures.count(name), one, many) for name, one, many in TROUBLE if figures.count(name)]
    return [("trouble", ", ".join(told) or "none")]


# ---- processes ----


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[Process], str]
    is_for: Callable[[Process], bool] | None = None  # shown where it is for some process; None: always
    is_word: bool = False


def device_figures(one: Process) -> Figures:
    return total(pool.figures for pool in one.pools if pool.place.kind == "device")


def has_device(one: Process) -> bool:
    return any(pool.place.kind == "device" for pool in one.pools)


COLUMNS = (
    Column("RANK", lambda one: "" if one.rank is None else str(one.rank), lambda one: one.rank is not None),
    Column("PID", lambda one: str(pid_of(one))),
    Column("COMMAND", lambda one: one.command, is_word=True),
    Column("REQUESTS", lambda one: count_text(one.figures.requests)),
    Column("HITS", lambda one: percent_text(one.figures.hits, one.figures.requests)),
    Column("MISSES", lambda one: count_text(one.figures.misses)),
    Column("IN MISSES", lambda one: micros_text(one.figures.count("miss_us"))),
    Column("PEAK", lambda one: bytes_text(peak_of(one))),
    Column("LIVE", lambda one: bytes_text(one.host_figures.live_bytes)),
    Column("GPU PEAK", lambda one: bytes_text(device_figures(one).gauge("allocated_bytes").peak_bound), has_device),
    Column("GPU LIVE", lambda one: bytes_text(device_figures(one).live_bytes), has_device),
    Column("STATE", lambda one: one.life.value, lambda one: one.life is not Life.ENDED, is_word=True),
)
HOST = Column("HOST", lambda one: one.host, is_word=True)


def process_table(report: Merged, form: Form) -> list[str]:
    several = len({one.host for one in report.processes}) > 1
    shown = [
        *([HOST] if several else []),
        *(c for c in COLUMNS if c.is_for is None or any(map(c.is_for, report.processes))),
    ]
    rows = [[column.text(one) for column in shown] for one in report.processes]
    return form.table([column.title for column in shown], rows, [column.title for column in shown if column.is_word])


# ---- places, sizes ----


def place_table(report: Merged, form: Form) -> list[str]:
    several = len({pool.place.host for pool in report.places if not pool.place.uuid}) > 1
    peaks = ["PEAK"] if len(report.processes) == 1 else ["LARGEST PEAK", "SUM OF PEAKS"]
    titles = ["PLACE", "LIVE", "IDLE", *peaks, "REQUESTS", "HITS"]
    rows = [[place_name(pool, several), *place_cells(pool, len(peaks))] for pool in report.places]
    return form.table(titles, rows, ["PLACE"])


def place_name(pool: Pool, several: bool) -> str:
    place = pool.place
    return f"{place.host} {place}" if several and not place.uuid else f"{place} {place.uuid}".strip()


def place_cells(pool: Pool, peaks: int) -> list[str]:
    figures = pool.figures
    live = figures.gauge("allocated_bytes")
    sizes = (live.current, figures.idle_bytes, *(live.peak, live.peak_bound)[-peaks:])
    hits = percent_text(figures.hits, figures.requests)
    return [*map(bytes_text, sizes), count_text(figures.requests), hits]


BUSIEST = 12


def size_table(report: Merged, form: Form) -> list[str]:
    classes = sorted(report.figures.classes.values(), key=lambda one: -one.requests)
    shown = sorted(classes[:BUSIEST], key=lambda one: one.size)
    rows = [[bytes_text(one.size), *map(count_text, (one.hits, one.misses, one.idle))] for one in shown]
    rest = [f"and {plural(len(classes) - BUSIEST, 'size', 'sizes')} less busy"] if len(classes) > BUSIEST else []
    return [*form.table(["SIZE", "HITS", "MISSES", "IDLE"], rows, []), *(["", *rest] if rest else [])]


# ---- what stands out, and what stays ----


def outlier_table(report: Merged, form: Form) -> list[str]:
    rows = [outlier_cells(one) for one in report.outliers]
    return form.table(["PROCESS", "FIGURE", "IS", "MEDIAN OF ITS LIKE"], rows, ["PROCESS", "FIGURE"])


def outlier_cells(one: Outlier) -> list[str]:
    who = f"{one.process.command} {pid_of(one.process)}{rank_note(one.process)}"
    return [who, one.what, measure_text(one.what, one.value), measure_text(one.what, one.middle)]


def measure_text(what: str, value: float) -> str:
    if what in ("peak", "live"):
        return bytes_text(value)
    if what == "time in misses":
        return micros_text(value)
    return percent_text(value, 1) if what == "hit ratio" else count_text(value)


def leaked(figures: Figures) -> int:
    """What a child inherited is its parent's to free."""
    return max(figures.live_bytes - figures.count("inherited_bytes"), 0)


def leaks(report: Merged) -> list[tuple[Process, Pool]]:
    """What was in the hands of those that ended. Of one that runs nobody knows yet."""
    ended = [one for one in report.processes if one.life in (Life.ENDED, Life.KILLED)]
    return [(one, pool) for one in ended for pool in one.pools if leaked(pool.figures)]


CALL_SITES = (
    "Who asked for it: BIGMALLOC_TRACE=FILE BIGMALLOC_TRACE_EVENTS=on, and then bigmalloc report --trace sites FILE"
)


def leak_table(report: Merged, form: Form) -> list[str]:
    rows = [
        [f"{one.command} {pid_of(one)}{rank_note(one)}", str(pool.place), bytes_text(leaked(pool.figures)), sizes]
        for one, pool in leaks(report)
        for sizes in [live_sizes(pool.figures)]
    ]
    titles = ["PROCESS", "PLACE", "LIVE", "BLOCKS"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    return [*form.table(titles, rows, ["PROCESS", "PLACE", "BLOCKS"]), "", CALL_SITES]


def live_sizes(figures: Figures) -> str:
    """The largest sums first."""
    live = [(one.live or 0, one.size) for one in figures.classes.values() if one.live]
    largest = sorted(live, key=lambda pair: -pair[0] * pair[1])[:4]
    more = ", ..." if len(live) > len(largest) else ""
    return ", ".join(f"{count_text(n)} of {bytes_text(size)}" for n, size in largest) + more
