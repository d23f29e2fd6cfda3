"""The benchmark as one picture, with a mark for each allocator: the workloads relative to glibc on the
left, and on the right what a hit costs by size."""

from typing import Dict, List, Sequence, Tuple

from report import Key, Table
from runner import BIGMALLOC

BASE = "glibc"
HIT_PAIR = "hit pair"
MIB_OF = {"MiB": 1, "GiB": 1024}
TICKS = (0.001, 0.01, 0.1, 0.3, 1, 3, 10, 40)
SHORT = {"NumPy expression c = a + b": "NumPy a + b",
         "NumPy temporaries sqrt(a*a + b*b) / (a + b)": "NumPy temporaries",
         "NumPy zeros, filled": "NumPy zeros",
         "PyTorch steps": "PyTorch",
         "PyTorch passes of ten shapes, after the 20th": "PyTorch",
         "PyTorch DataLoader": "DataLoader,",
         "growth by realloc, touched, from 1 MiB": "realloc",
         "shrinking by realloc, touched, to 1 MiB": "realloc down",
         "128 MiB after 70 idle blocks of 2 to 3 MiB": "128 MiB of idle memory,",
         "until 400 MiB of idle memory are back": "400 MiB back,",
         "long loop of 1 MiB to 64 MiB": "long loop,",
         "small blocks 16 B to 32 KiB": "small blocks",
         "small objects of Python": "Python objects",
         "start of a program": "start of"}
OURS = {"color": "#c8102e", "marker": "D", "zorder": 5}
PEERS = [{"color": color, "marker": marker, "zorder": 3} for color, marker in (
    ("#555555", "o"), ("#1f77b4", "v"), ("#9bc4e2", "^"), ("#2ca02c", "s"), ("#98df8a", "P"),
    ("#9467bd", "X"), ("#e6a100", "<"), ("#8c564b", ">"), ("#17becf", "p"), ("#e377c2", "h"))]


def styles(names: Sequence[str]) -> List[Tuple[str, dict]]:
    """Every configuration with its own mark; ours above all others."""
    peers = [name for name in names if name != BIGMALLOC]
    marked = [(name, PEERS[i % len(PEERS)]) for i, name in enumerate(peers)]
    return marked + ([(BIGMALLOC, OURS)] if BIGMALLOC in names else [])


def relative(table: Table, keys: Sequence[Key], name: str, metric: str) -> Dict[int, float]:
    """height -> the figure over that of glibc."""
    pairs = {height: (table[key].get(name, {}).get(metric), table[key][BASE].get(metric))
             for height, key in enumerate(keys)}
    return {height: value / base for height, (value, base) in pairs.items() if value and base}


def draw_relative(axes, names: Sequence[str], table: Table, keys: Sequence[Key], metric: str) -> None:
    for name, style in styles(names):
        ratios = relative(table, keys, name, metric)
        size = 55 if name == BIGMALLOC else 30
        axes.scatter(list(ratios.values()), list(ratios), label=name, s=size, **style)
    axes.axvline(1, color="#555555", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.grid(color="#dddddd")
    axes.set_ylim(-0.7, len(keys) - 0.3)


def mib(size: str) -> float:
    count, unit = size.split()
    return float(count) * MIB_OF[unit]


def draw_hits(axes, names: Sequence[str], table: Table) -> None:
    rows = {label: row for (group, label), row in table.items()
            if group.startswith(HIT_PAIR) and "," not in label}  # without "8 MiB, 2 threads"
    if not rows:
        axes.set_visible(False)
        return
    for name, style in styles(names):
        sizes = [label for label in rows if name in rows[label]]
        axes.plot([mib(size) for size in sizes], [rows[size][name]["time"] for size in sizes],
                  linewidth=2.5 if name == BIGMALLOC else 1, markersize=5, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} MiB" if value < 1024 else "1 GiB")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} ns")
    axes.grid(color="#dddddd")
    axes.set_title("malloc + free of a block at hand, by its size", fontsize=11)


def draw_figure(pyplot, names: Sequence[str], table: Table, keys: Sequence[Key]):
    height = 2.2 + 0.28 * len(keys)
    figure, (time, memory, hits) = pyplot.subplots(1, 3, figsize=(18, height),
                                                   gridspec_kw={"width_ratios": (5, 3, 4)})
    draw_relative(time, names, table, keys, "time")
    time.set_title("time of a step, relative to glibc (left is better)", fontsize=11)
    titles = [f"{SHORT.get(group, group)} {label}" for group, label in keys]
    time.set_yticks(range(len(keys)), titles, fontsize=9)
    draw_relative(memory, names, table, keys, "peak_mib")
    memory.set_title("peak memory, relative to glibc", fontsize=11)
    memory.set_yticks(range(len(keys)), [""] * len(keys))
    draw_hits(hits, names, table)
    for axes in (time, memory) if not keys else ():
        axes.set_visible(False)
    figure.legend(*time.get_legend_handles_labels(), loc="lower center", ncol=len(names), frameon=False)
    figure.suptitle("The same programs under each allocator", fontsize=14)
    figure.tight_layout(rect=(0, 0.45 / height, 1, 1))
    return figure


def draw(path: str, names: Sequence[str], table: Table) -> str:
    """Draws the picture and says in a line where it is, or why there is none."""
    try:
        import matplotlib  # only here, and last: the workloads should not run beside a large parent
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return "no picture: matplotlib is not installed"
    if not any(BASE in row for row in table.values()):
        return "no picture: nothing was measured under glibc"
    keys = [key for key, row in reversed(list(table.items()))
            if row.get(BASE, {}).get("time") and not key[0].startswith(HIT_PAIR)]
    draw_figure(pyplot, names, table, keys).savefig(path, dpi=100)
    return f"picture: {path}"
