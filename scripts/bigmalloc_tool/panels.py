"""The panels of which pictures of a trace are made, and the table of them.

Each can be read without colour: lines differ by their dashes, bars by their hatches, and what a line is stands at
its end. The unit stands in the title, the figures that sum a panel up on its right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bigmalloc_tool.story import Story
from bigmalloc_tool.timeline import Points
from bigmalloc_tool.trace import Kind, Pool
from bigmalloc_tool.units import UNITS, bytes_text, count_text, percent_text

Axes = Any  # of matplotlib, which may be absent
Dashes = Any
INK, GREY, PALE, FAINT, ACCENT = "#111111", "#6b6b6b", "#e3e3e3", "#ececec", "#b3122b"
DASHES: tuple[Dashes, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MOST_LINES = 8  # in a panel: more cannot be told apart
MANY_DOTS = 5000
MANY_CORNERS = 1500
LINE_POINTS = 11.5  # of text in a legend
NAMES = {Kind.HIT: "hits", Kind.MISS: "misses"}
COLORS = {Kind.HIT: INK, Kind.MISS: ACCENT}
KIND_DASHES = {Kind.HIT: DASHES[0], Kind.MISS: DASHES[1]}


@dataclass(frozen=True)
class Line:
    points: Points
    label: str
    dashes: Dashes = DASHES[0]
    color: str = INK
    width: float = 1.0

    @property
    def top(self) -> float:
        return max(value for _, value in self.points)

    @property
    def is_dense(self) -> bool:
        return len(self.points) > MANY_CORNERS

    @property
    def style(self) -> dict[str, Any]:
        return {"color": self.color, "linestyle": self.dashes, "linewidth": self.width * (0.7 if self.is_dense else 1)}


# ---- Words and axes ----


def plain(text: str) -> str:
    """Matplotlib takes what stands between dollars for mathematics."""
    return text.replace("$", r"\$")


def tick_bytes(value: float) -> str:
    unit = unit_of(value)
    return f"{value / 1024**unit:g} {UNITS[unit]}"


def unit_of(bytes_: float) -> int:
    return min(int(math.log2(bytes_) // 10), len(UNITS) - 1) if bytes_ >= 1 else 0


def time_text(ns: float) -> str:
    for limit, unit, name in ((999.5, 1.0, "ns"), (999.5e3, 1e3, "µs"), (999.5e6, 1e6, "ms")):
        if ns < limit:
            return f"{ns / unit:.3g} {name}"
    return f"{ns / 1e9:.3g} s"


def thousands(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"


def title(axes: Axes, story: Story, what: str, facts: str = "", lines_below: int = 0) -> None:
    """In a small multiple whose it is: what it shows stands above all of them."""
    pad = 7 + lines_below * LINE_POINTS
    axes.set_title(plain(story.multiple or what), loc="left", fontsize=9, fontweight="bold", pad=pad)
    axes.set_title(plain(facts), loc="right", fontsize=8, color=GREY, pad=pad)


TIME_UNITS = ((3 * 3600, 3600, "hours"), (600, 60, "minutes"), (0, 1, "seconds"))


def time_axis(axes: Axes, story: Story, is_labelled: bool) -> None:
    from matplotlib import ticker

    _, unit, name = next(row for row in TIME_UNITS if story.shown_s >= row[0])
    ticks = ticker.MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, story.shown_s / unit)
    axes.set_xticks([tick * unit for tick in ticks])
    axes.set_xlim(0, story.shown_s)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / unit:g}")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.tick_params(length=2.5, labelbottom=is_labelled)
    if is_labelled:
        axes.set_xlabel(f"{name} since the trace began", loc="left")


def bytes_axis(axes: Axes, story: Story, highest: float) -> str:
    """The unit, in which the ticks are round."""
    from matplotlib import ticker

    top = max(highest, story.shown_top, 1)
    unit = unit_of(top)
    ticks = ticker.MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top / 1024**unit)
    axes.set_yticks([tick * 1024**unit for tick in ticks])
    axes.set_ylim(0, top * 1.06)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1024**unit:g}")
    return UNITS[unit]


def counts_axis(axes: Axes, story: Story, highest: float) -> None:
    axes.set_ylim(0, max(highest, story.shown_top, 1) * 1.06)
    axes.yaxis.set_major_formatter(lambda value, _: thousands(value))


def sizes_axis(axes: Axes, story: Story, is_vertical: bool) -> None:
    low, high = size_range(story)
    axis = axes.yaxis if is_vertical else axes.xaxis
    (axes.set_yscale if is_vertical else axes.set_xscale)("log", base=2)
    (axes.set_ylim if is_vertical else axes.set_xlim)(2 ** (low - 0.2), 2 ** (high + 0.2))
    axis.set_ticks([2**power for power in range(low, high + 1, (high - low) // 5 + 1)])
    axis.set_major_formatter(lambda value, _: tick_bytes(value))
    axes.minorticks_off()


def size_range(story: Story) -> tuple[int, int]:
    """The powers of two around what was asked for."""
    lowest = max(min(min(rows.bytes) for rows in story.requests.values()), 1)
    highest = max(max(rows.bytes) for rows in story.requests.values())
    low = math.floor(math.log2(lowest))
    return low, max(math.ceil(math.log2(max(highest, 1))), low + 1)


# ---- Lines ----


def draw(axes: Axes, line: Line) -> None:
    times, values = zip(*line.points)
    marker = "" if len(times) > 1 else "o"
    axes.plot(times, values, solid_joinstyle="miter", marker=marker, markersize=3, clip_on=not marker, **line.style)


def label_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """What the lines are, at their right ends, with a piece of each; apart where they would cover each other."""
    low, high = axes.get_ylim()
    width, height = (72 * inches for inches in size_inches(axes))  # in points
    ends = sorted(lines, key=lambda line: line.points[-1][1])
    places = apart([(line.points[-1][1] - low) / (high - low) for line in ends], 10.5 / height)
    for line, at in zip(ends, places):
        axes.plot([1 + 5 / width, 1 + 19 / width], [at, at], transform=axes.transAxes, clip_on=False, **line.style)
        axes.text(1 + 23 / width, at, plain(line.label), transform=axes.transAxes, va="center_baseline")


def size_inches(axes: Axes) -> tuple[float, float]:
    box, (width, height) = axes.get_position(), axes.figure.get_size_inches()
    return box.width * width, box.height * height


def apart(places: list[float], gap: float) -> list[float]:
    """Ascending places, none nearer to the next than the gap, none pushed over 1 where there is room below."""
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    limit = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    return places


def styled(named: Sequence[tuple[str, Points]]) -> list[Line]:
    """Each unlike the others."""
    shades = (INK, GREY)
    return [
        Line(points, name, DASHES[number % len(DASHES)], shades[number // len(DASHES) % 2])
        for number, (name, points) in enumerate(named)
        if points
    ]


# ---- Over time ----


def draw_host(axes: Axes, story: Story) -> None:
    pools = story.pools("host")
    lines = memory_lines(story, pools)
    if story.trace.resident:
        lines.append(Line(story.resident(), "resident", DASHES[2], GREY, 1.4))
    what, tops = ("Memory", "peak") if len(pools) == 1 else ("Memory of all nodes", "highest sample")
    draw_memory(axes, story, lines, what, tops)


def draw_device(axes: Axes, story: Story, pool: Pool) -> None:
    what = "Memory of device" if pool.kind == "device" else "Pinned memory for device"
    draw_memory(axes, story, memory_lines(story, [pool]), f"{what} {pool.id}", "peak")


def memory_lines(story: Story, pools: list[Pool]) -> list[Line]:
    if len(pools) == 1:
        live, reserved = story.live(pools[0]), story.reserved(pools[0])
    else:
        live, reserved = story.sampled(pools, "live"), story.sampled(pools, "reserved")
    return [Line(live, "live"), Line(reserved, "live + idle", DASHES[1])]


def draw_memory(axes: Axes, story: Story, lines: list[Line], what: str, tops: str) -> None:
    """The first line is that of live memory: filled, and its peak marked."""
    times, values = zip(*lines[0].points)
    axes.fill_between(times, values, color=PALE, linewidth=0)
    for line in lines:
        draw(axes, line)
    peak = max(lines[0].points, key=lambda point: point[1])
    axes.plot(*peak, marker="v", color=ACCENT, markersize=5, linestyle="none", clip_on=False, zorder=5)
    unit = bytes_axis(axes, story, max(line.top for line in lines))
    told = lines[:1] if story.multiple else lines
    facts = ", ".join(f"{bytes_text(line.top)} {line.label}" for line in told)
    title(axes, story, f"{what} ({unit})", f"▼ {tops} {facts}")
    label_ends(axes, lines)


def draw_nodes(axes: Axes, story: Story) -> None:
    lines = styled([(pool.name, story.live(pool)) for pool in story.pools()[:MOST_LINES]])
    for line in lines:
        draw(axes, line)
    unit = bytes_axis(axes, story, max(line.top for line in lines))
    title(axes, story, f"Live memory, by node and device ({unit})")
    label_ends(axes, lines)


def draw_utilisation(axes: Axes, story: Story) -> None:
    lines = styled([(pool.name, story.utilisation(pool)) for pool in story.pools()[:MOST_LINES]])
    for line in lines:
        draw(axes, line)
    axes.set_ylim(0, 105)
    axes.set_yticks([0, 50, 100])
    title(axes, story, "Utilisation (%)", "live, of what is live or idle")
    label_ends(axes, lines)


def draw_rates(axes: Axes, story: Story) -> None:
    lines = [Line(rate_stairs(story, kind), NAMES[kind], KIND_DASHES[kind], COLORS[kind]) for kind in NAMES]
    for line in lines:
        draw(axes, line)
    counts_axis(axes, story, max(line.top for line in lines))
    hits, misses = (sum(getattr(row, name) for row in story.rates) for name in NAMES.values())
    facts = f"{count_text(hits + misses)} requests, {percent_text(hits, hits + misses)} hits"
    title(axes, story, "Requests per second", facts)
    label_ends(axes, lines)


def rate_stairs(story: Story, kind: Kind) -> Points:
    points: Points = []
    for row in story.rates:
        rate = getattr(row, NAMES[kind]) / row.seconds
        points += [(row.begin_s, rate), (row.end_s, rate)]
    return points


def draw_miss_time(axes: Axes, story: Story) -> None:
    rows = [row for row in story.rates if row.misses]
    means = [1000 * row.miss_us / row.misses for row in rows]
    mean = 1000 * sum(row.miss_us for row in rows) / sum(row.misses for row in rows)
    axes.plot(
        [row.end_s for row in rows], means, color=ACCENT, marker="o", markersize=2.5, linestyle="none", clip_on=False
    )
    line = Line([(0, mean), (story.shown_s, mean)], "mean", DASHES[2], GREY)
    draw(axes, line)
    if min(means) > 0 and max(means) > 30 * min(means):
        axes.set_yscale("log")
        axes.set_ylim(10 ** math.floor(math.log10(min(means))), 10 ** math.ceil(math.log10(max(means))))
        axes.minorticks_off()
        axes.text(1.01, mean, "mean", transform=axes.get_yaxis_transform(), va="center")
    else:
        axes.set_ylim(0, max(max(means), story.shown_top) * 1.15 or 1)
        label_ends(axes, [line])
    axes.yaxis.set_major_formatter(lambda value, _: time_text(value))
    title(axes, story, "Time of a miss", f"mean {time_text(mean)}")


def draw_requests(axes: Axes, story: Story) -> None:
    styles: dict[Kind, dict[str, Any]] = {
        Kind.HIT: {"marker": "o", "s": 16, "facecolors": "none", "edgecolors": GREY, "linewidths": 0.7},  # a miss shows inside
        Kind.MISS: {"marker": "x", "s": 11, "color": ACCENT, "linewidths": 0.7, "zorder": 3},
    }
    for kind, rows in story.requests.items():
        is_crowded = len(rows.bytes) > MANY_DOTS  # as vectors they would make a file that no viewer likes
        axes.scatter(rows.times_s, rows.bytes, alpha=0.3 if is_crowded else 1, rasterized=is_crowded, **styles[kind])
    sizes_axis(axes, story, is_vertical=True)
    title(axes, story, "Sizes asked for", "○  hit    ×  miss")


# ---- Distributions ----


def draw_sizes(axes: Axes, story: Story) -> None:
    low, high = size_range(story)
    edges = [2 ** (low + quarter / 4) for quarter in range(4 * (high - low) + 1)]
    edges[-1] += 1  # exactly that much counts too
    looks = {Kind.HIT: {"facecolor": PALE}, Kind.MISS: {"facecolor": "white", "hatch": "//////"}}
    below = [0.0] * (len(edges) - 1)
    widths = [right - left for left, right in zip(edges, edges[1:])]
    for kind, rows in story.requests.items():
        counts = histogram(rows.bytes, edges)
        label = f"{NAMES[kind]}: {count_text(len(rows.bytes))}"
        axes.bar(
            edges[:-1], counts, widths, below, align="edge", edgecolor=INK, linewidth=0.6, label=label, **looks[kind]
        )
        below = [one + other for one, other in zip(below, counts)]
    sizes_axis(axes, story, is_vertical=False)
    counts_axis(axes, story, max(below))
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    legend_above(axes)
    title(axes, story, "Requests by size", lines_below=2)


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    import numpy  # matplotlib brings it

    return [int(count) for count in numpy.histogram(values, edges)[0]]


def legend_above(axes: Axes) -> None:
    """Between the title and the axes, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False, borderaxespad=0.2, labelspacing=0.3)


PERCENTILES = {"p50": 0.5, "p90": 0.1, "p99": 0.01, "p99.9": 1e-3, "p99.99": 1e-4, "p99.999": 1e-5}


def draw_latency(axes: Axes, story: Story) -> None:
    """What part of the requests took longer than so long: the slowest are as easy to see as the others."""
    most = 1
    for kind, rows in story.requests.items():
        times = sorted(max(took, 1.0) for took in rows.took_ns)
        draw(axes, Line(slower_than(times), "", KIND_DASHES[kind], COLORS[kind], 1.2))
        axes.lines[-1].set_label(f"{NAMES[kind]}  {percentiles(times)}")
        most = max(most, len(times))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1 / max(most, 10), 1)
    shown = {text: part for text, part in PERCENTILES.items() if part * most >= 1 or part == 0.5}
    axes.set_yticks(list(shown.values()), list(shown))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: time_text(value))
    axes.grid(color=FAINT, linewidth=0.8)
    legend_above(axes)
    title(axes, story, "Time of a request", lines_below=2)


def percentiles(times: list[float]) -> str:
    mean = sum(times) / len(times)
    return f"mean {time_text(mean)}, p50 {time_text(at_rank(times, 0.5))}, p99 {time_text(at_rank(times, 0.99))}"


def at_rank(times: list[float], part: float) -> float:
    return times[min(int(len(times) * part), len(times) - 1)]


def slower_than(times: list[float]) -> Points:
    """Of each time the part that is not below it; some hundreds of points, and all of the slowest."""
    count = len(times)
    ranks = sorted({*range(0, count, count // 300 + 1), *range(max(count - 100, 0), count)})
    return [(times[rank], 1 - rank / count) for rank in ranks]


# ---- The table ----


@dataclass(frozen=True)
class Panel:
    kind: str
    draw: Callable[[Axes, Story], None]
    fits: Callable[[Story], bool]
    height: float  # of the axes, in inches
    is_over_time: bool = True
    legend_lines: int = 0


PANELS = (
    Panel("memory", draw_host, lambda story: bool(story.pools("host")), 2.0),
    Panel("nodes", draw_nodes, lambda story: len(story.pools()) > 1, 1.3),
    Panel("utilisation", draw_utilisation, lambda story: bool(story.pools()), 0.8),
    Panel("rates", draw_rates, lambda story: bool(story.rates), 0.95),
    Panel("misses", draw_miss_time, lambda story: story.has_misses(), 0.95),
    Panel("requests", draw_requests, lambda story: bool(story.requests), 1.3),
    Panel("sizes", draw_sizes, lambda story: bool(story.requests), 2.0, is_over_time=False, legend_lines=2),
    Panel("latency", draw_latency, lambda story: bool(story.requests), 2.2, is_over_time=False, legend_lines=2),
)
KINDS = tuple(panel.kind for panel in PANELS)


def panels_of(story: Story, kinds: Sequence[str]) -> list[Panel]:
    """Those kinds that there is data for; no kinds: all. Each device has a panel, as their sizes differ."""
    found: list[Panel] = []
    for panel in PANELS:
        if panel.kind in (kinds or KINDS):
            found += [panel] if panel.fits(story) else []
            found += device_panels(story) if panel.kind == "memory" else []
    return found


def device_panels(story: Story) -> list[Panel]:
    def of(pool: Pool) -> Panel:
        return Panel("memory", lambda axes, story: draw_device(axes, story, pool), lambda _: True, 1.1)

    return [of(pool) for pool in story.pools("device", "pinned")[:MOST_LINES]]
