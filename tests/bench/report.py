"""The figures of a benchmark as text: a table for each group of workloads, and the ratios that matter."""

from typing import Callable, Dict, List, Optional, Sequence, Tuple

from runner import BIGMALLOC, Figures

Key = Tuple[str, str]                   # group, row
Table = Dict[Key, Dict[str, Figures]]   # key -> configuration -> metric -> median
Failures = Dict[Tuple[str, str, str], str]  # group, workload, configuration -> what happened

# (metric, its label, whether bigmalloc is compared with the best peer). The unit of time is the row's.
METRICS = (
    ("time", "{unit}", True),
    ("twin_ms", "ms with out=", False),
    ("over_twin", "over out=", False),
    ("faults", "faults", False),
    ("system_ms", "system ms", False),
    ("peak_mib", "peak MiB", True),
    ("together_mib", "together MiB", True),
    ("resident_mib", "resident MiB", False),
    ("grown_mib", "grown MiB", False),
    ("excess_mib", "left MiB", False),
    ("addresses_mib", "address MiB", False),
    ("mappings", "mappings", False),
)
LABEL_WIDTH = 29
METRIC_WIDTH = 13
COLUMN_WIDTH = 10
NOTHING = 0.05  # page faults or system milliseconds that are not worth a line


def number(value: Optional[float]) -> str:
    """Three digits that count: 0.12, 9.87, 98.7, 987, 9871, 98k."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.1f}M"
    if size >= 1e4:
        return f"{value / 1e3:.0f}k"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def against_best(row: Dict[str, Figures], metric: str) -> str:
    """bigmalloc's figure over the lowest of its peers', and whose that is."""
    peers = {name: measured[metric] for name, measured in row.items()
             if name != BIGMALLOC and metric in measured}
    if BIGMALLOC not in row or not peers:
        return ""
    best = min(peers, key=peers.__getitem__)
    return f"{row[BIGMALLOC][metric] / peers[best]:6.2f} of {best}" if peers[best] > 0 else ""


def heading(names: Sequence[str]) -> List[str]:
    """A line for each word of the longest name: glibc-raised is too long for a column."""
    words = [name.replace("-", "-\n").split("\n") for name in names]
    height = max(len(parts) for parts in words)
    stacked = [[""] * (height - len(parts)) + parts for parts in words]
    indent = " " * (LABEL_WIDTH + METRIC_WIDTH)
    lines = [indent + "".join(f"{word:>{COLUMN_WIDTH}}" for word in line) for line in zip(*stacked)]
    return [*(line.rstrip() for line in lines[:-1]), f"{lines[-1]}   {BIGMALLOC} / best peer"]


def failed(failures: Failures, key: Key, name: str) -> str:
    """What a configuration shows in place of a time it has not."""
    group, label = key
    return next((what for (its_group, workload, its_name), what in failures.items()
                 if its_group == group and label.startswith(workload) and its_name == name), "-")


def row_lines(label: str, row: Dict[str, Figures], unit: str, blanks: Dict[str, str]) -> List[str]:
    """A line for each metric that somebody has and that is not nothing everywhere; `blanks` has what each
    configuration shows where it has no time."""
    lines = []
    for metric, title, compared in METRICS:
        values = {name: row.get(name, {}).get(metric) for name in blanks}
        if metric != "time" and max(abs(value or 0) for value in values.values()) < NOTHING:
            continue
        texts = [blanks[name] if metric == "time" and value is None else number(value)
                 for name, value in values.items()]
        cells = "".join(f"{text:>{COLUMN_WIDTH}}" for text in texts)
        best = against_best(row, metric) if compared else ""
        title = f"{label:{LABEL_WIDTH}}{title.format(unit=unit):{METRIC_WIDTH}}"
        lines.append(f"{title}{cells}   {best}".rstrip())
        label = ""
    return lines


def tables(names: Sequence[str], table: Table, units: Dict[Key, str], failures: Failures) -> List[str]:
    lines: List[str] = []
    previous = ""
    for key, row in table.items():
        group, label = key
        if group != previous:
            lines += ["", group, *heading(names)]
            previous = group
        blanks = {name: failed(failures, key, name) for name in names}
        lines += row_lines(label, row, units[key], blanks)
    return lines


# Judges a table, or raises KeyError or ValueError where it lacks a row or a configuration for that.
Figure = Callable[[Table], float]


def find(table: Table, group: str, label: str) -> Dict[str, Figures]:
    """The row of that label, in the group whose title begins so."""
    for (its_group, its_label), row in table.items():
        if its_group.startswith(group) and its_label == label:
            return row
    raise KeyError(label)


def labels(table: Table, group: str) -> List[str]:
    return [label for its_group, label in table if its_group.startswith(group)]


def over(group: str, label: str, peers: Callable[[str], bool], metric: str = "time") -> Figure:
    """bigmalloc's time over that of the fastest of some peers, or so of another metric."""
    def figure(table: Table) -> float:
        row = find(table, group, label)
        return row[BIGMALLOC][metric] / min(row[name][metric] for name in row if peers(name))
    return figure


def ours(group: str, label: str, metric: str = "time") -> Figure:
    return lambda table: find(table, group, label)[BIGMALLOC][metric]


def last_over_first_quarter(metric: str) -> Figure:
    """Of the long loop: what grows with the steps is above 1."""
    return lambda table: (ours("long loop", "quarter 4", metric)(table)
                          / ours("long loop", "quarter 1", metric)(table))


def worst_over(group: str, peers: Callable[[str], bool]) -> Figure:
    return lambda table: max(over(group, label, peers)(table) for label in labels(table, group))


def hit_sizes(table: Table) -> List[str]:
    """The rows of one thread; that of two is called "8 MiB, 2 threads"."""
    return [label for label in labels(table, "hit pair") if "threads" not in label]


def worst_hit(table: Table) -> float:
    return max(over("hit pair", size, named("glibc-raised"))(table) for size in hit_sizes(table))


def flatness(table: Table) -> float:
    times = [find(table, "hit pair", size)[BIGMALLOC]["time"] for size in hit_sizes(table)]
    return max(times) / min(times)


def worst_over_twin(table: Table) -> float:
    sizes = ("4 MiB", "16 MiB", "64 MiB", "256 MiB")
    return max(find(table, "NumPy expression", size)[BIGMALLOC]["over_twin"] for size in sizes)


def added_start_ms(table: Table) -> float:
    row = find(table, "start of a program", "/bin/true")
    return (row[BIGMALLOC]["time"] - row["glibc"]["time"]) / 1e3


def named(*wanted: str) -> Callable[[str], bool]:
    return lambda name: name in wanted


def is_peer(name: str) -> bool:
    return name != BIGMALLOC


FIGURES: Sequence[Tuple[str, str, Figure]] = (
    ("hit pair, 1 MiB to 1 GiB, worst, over glibc-raised", "<= 2", worst_hit),
    ("hit pair, slowest size over fastest", "near 1", flatness),
    ("hit pair, 8 MiB, two threads, over tcmalloc", "<= 1",
     over("hit pair", "8 MiB, 2 threads", named("tcmalloc"))),
    ("NumPy a + b over its out= twin, 4 to 256 MiB, worst", "<= 1.05", worst_over_twin),
    ("NumPy zeros and fill, worst, over the fastest peer", "<= 1", worst_over("NumPy zeros", is_peer)),
    *(figure for step in ("CNN training", "transformer training", "variable-shape inference") for figure in (
        (f"{step}, time over the fastest peer", "<= 1.02", over("PyTorch steps", step, is_peer)),
        (f"{step}, peak over glibc-mapped, the floor", "<= 1.04",
         over("PyTorch steps", step, named("glibc-mapped"), "peak_mib")))),
    ("passes of ten shapes, resident growth from pass 20 to 120, MiB", "< 10",
     ours("PyTorch passes", "100 passes", "grown_mib")),
    ("DataLoader, resident memory with its workers over glibc", "<= 1",
     over("PyTorch DataLoader", "4 workers", named("glibc"), "together_mib")),
    ("realloc growth by 1/8 to 1 GiB over glibc", "<= 0.6",
     over("growth", "by 1/8 to 1024 MiB", named("glibc"))),
    ("realloc growth by 1 MiB to 256 MiB over glibc", "<= 1",
     over("growth", "by 1 MiB to 256 MiB", named("glibc"))),
    ("realloc shrinking by 1/8 from 1 GiB over glibc", "<= 1",
     over("shrinking", "by 1/8 from 1024 MiB", named("glibc"))),
    ("128 MiB after idle blocks of 2 to 3 MiB, malloc alone, us", "<= 400", ours("128 MiB", "malloc alone")),
    ("the same, growth of resident memory, MiB", "near 0", ours("128 MiB", "malloc and touch", "grown_mib")),
    ("400 MiB of idle memory back after, s", "<= 12", ours("until 400 MiB", "no call")),
    ("the same with BIGMALLOC_DECAY_MS=1000", "<= 3", ours("until 400 MiB", "no call, DECAY_MS=1000")),
    ("long loop, mappings, last quarter over first", "<= 1.1", last_over_first_quarter("mappings")),
    ("long loop, addresses, last quarter over first", "<= 1.1", last_over_first_quarter("addresses_mib")),
    ("long loop, resident memory, last quarter over first", "<= 1.1", last_over_first_quarter("resident_mib")),
    ("long loop, time of a step, last quarter over first", "<= 1.1", last_over_first_quarter("time")),
    ("small blocks, worst, over jemalloc", "<= 1.02", worst_over("small blocks", named("jemalloc"))),
    ("Python objects, worst, over jemalloc", "<= 1.02", worst_over("small objects", named("jemalloc"))),
    ("start of /bin/true over bare, ms", "<= 0.3", added_start_ms),
)


def value_of(figure: Figure, table: Table) -> str:
    try:
        return f"{figure(table):.2f}"
    except (KeyError, ValueError):
        return "not measured"


def figures(table: Table) -> List[str]:
    return ["", "figures"] + [f"  {title:66}{value_of(figure, table):>14}   aim {target}"
                              for title, target, figure in FIGURES]


def exceptions(failures: Failures, left_out: Sequence[str]) -> List[str]:
    """What a reader of the tables would miss."""
    lines = [f"failed: {group} {workload} under {name}: {what}"
             for (group, workload, name), what in failures.items()]
    lines += [f"left out: {reason}" for reason in left_out]
    return ["", *lines] if lines else []
