"""Measures the same work under bigmalloc, glibc and the other allocators at hand.

Configurations take turns within each round, and each round begins with another one, so that a slow
minute of the machine meets all of them. A failure is shown in the table and stops nothing; time is
reported and never judged.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import chart
import report
from runner import BIGMALLOC, Configuration, Figures, Rows, RunFailed
from runner import all_peers, preloaded, run, split_usable

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Workload:
    group: str                # the table it stands in
    name: str                 # what its rows are called there
    command: Tuple[str, ...]  # a program or a script of this folder, and its arguments
    unit: str = "ms"
    needs: Tuple[str, ...] = ()
    needs_gib: int = 1
    env: Tuple[Tuple[str, str], ...] = ()
    share_of_runs: float = 1.0       # more than one where a run is short, less where it takes long
    under: Tuple[str, ...] = ()      # the configurations that it tells something about; all, if none is named


def numpy(group: str, script: str, mib: int) -> Workload:
    name = f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB"
    return Workload(group, name, (script, str(mib)), needs=("numpy",), needs_gib=1 + 5 * mib // 1024)


# Waiting threads sleep: where they spin beside other work, that work decides the figure.
CALM = (("OMP_WAIT_POLICY", "passive"),)


def torch(name: str, argument: str) -> Workload:
    return Workload("PyTorch steps", name, ("torch_steps.py", argument), needs=("torch",), needs_gib=2,
                    env=CALM)


WORKLOADS = (
    *(numpy("NumPy expression c = a + b", "numpy_expression.py", mib)
      for mib in (1, 4, 16, 64, 256, 1024)),
    *(numpy("NumPy temporaries sqrt(a*a + b*b) / (a + b)", "numpy_temporaries.py", mib)
      for mib in (8, 32, 128)),
    *(numpy("NumPy zeros, filled", "numpy_zeros.py", mib)
      for mib in (1, 4, 16, 64, 256)),
    torch("CNN training", "cnn"),
    torch("transformer training", "transformer"),
    torch("variable-shape inference", "variable"),
    torch("element-wise chain, 64 MiB", "elementwise"),
    Workload("PyTorch passes of ten shapes, after the 20th", "100 passes", ("torch_passes.py",),
             needs=("torch",), needs_gib=2, env=CALM, share_of_runs=0.4),
    Workload("PyTorch DataLoader", "4 workers", ("torch_loaders.py",), needs=("numpy", "torch"), needs_gib=3,
             share_of_runs=0.6, under=("glibc", BIGMALLOC)),
    Workload("hit pair malloc + free, memory untouched", "", ("hit_pair",), unit="ns"),
    Workload("dlsym of a name that is not the driver's", "", ("lookup",), unit="ns", under=("glibc", BIGMALLOC)),
    Workload("growth by realloc, touched, from 1 MiB", "by 1/8", ("grow", "eighths"), needs_gib=4),
    Workload("growth by realloc, touched, from 1 MiB", "by 1 MiB", ("grow", "steps")),
    Workload("shrinking by realloc, touched, to 1 MiB", "by 1/8", ("grow", "shrink"), needs_gib=4),
    Workload("128 MiB after 70 idle blocks of 2 to 3 MiB", "", ("gather",), unit="us", share_of_runs=3),
    Workload("until 400 MiB of idle memory are back", "no call", ("idle",), unit="s", share_of_runs=0.2),
    Workload("until 400 MiB of idle memory are back", "no call, DECAY_MS=1000", ("idle",), unit="s",
             env=(("BIGMALLOC_DECAY_MS", "1000"),), share_of_runs=0.2, under=(BIGMALLOC,)),
    # Half a minute each where every block is mapped anew, hence without the slower settings of glibc and jemalloc.
    Workload("long loop of 1 MiB to 64 MiB", "", ("long_loop",), unit="ns", needs_gib=4, share_of_runs=0.2,
             under=("glibc", "glibc-raised", "jemalloc", "tcmalloc", "mimalloc", "mimalloc-kept", BIGMALLOC)),
    Workload("small blocks 16 B to 32 KiB", "", ("small",), unit="ns"),
    Workload("small objects of Python", "usual", ("python_objects.py",)),
    Workload("small objects of Python", "PYTHONMALLOC=malloc", ("python_objects.py",),
             env=(("PYTHONMALLOC", "malloc"),)),
    Workload("start of a program", "/bin/true", ("start",), unit="us"),
)


def command_of(workload: Workload, programs: str) -> List[str]:
    first, *arguments = workload.command
    if first.endswith(".py"):
        return [sys.executable, os.path.join(HERE, first), *arguments]
    return [os.path.join(programs, first), *arguments]


def available_gib() -> float:
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        fields = dict(line.split(":", 1) for line in meminfo)
    return int(fields["MemAvailable"].split()[0]) / (1 << 20)


def why_not(workload: Workload) -> str:
    """The reason why a workload cannot run here, or nothing."""
    for module in workload.needs:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    if available_gib() < workload.needs_gib:
        return f"it needs {workload.needs_gib} GiB of memory"
    return ""


def medians(runs: List[Figures]) -> Figures:
    return {metric: statistics.median(figures[metric] for figures in runs) for metric in runs[0]}


class Results:
    """Every counted run, and what did not run and why."""

    def __init__(self) -> None:
        self.runs: Dict[Tuple[str, str], Dict[str, List[Figures]]] = {}
        self.units: Dict[Tuple[str, str], str] = {}
        self.failures: report.Failures = {}
        self.left_out: List[str] = []
        self.others_share = 0.0  # of the processors, taken by other work meanwhile

    def add(self, workload: Workload, configuration: str, rows: Rows) -> None:
        for row, figures in rows.items():
            key = (workload.group, f"{workload.name} {row}".strip())
            self.units[key] = workload.unit
            self.runs.setdefault(key, {}).setdefault(configuration, []).append(figures)

    def medians(self) -> report.Table:
        return {key: {name: medians(runs) for name, runs in row.items()}
                for key, row in self.runs.items()}


def measure_once(workload: Workload, configuration: Configuration, options: argparse.Namespace,
                 quick: bool) -> Rows:
    env = {**configuration.env, **dict(workload.env), **({"BENCH_QUICK": "1"} if quick else {})}
    return run(command_of(workload, options.programs), env)


def runs_wanted(workload: Workload, options: argparse.Namespace) -> int:
    return 1 if options.quick else max(1, round(options.runs * workload.share_of_runs))


def rounds(workload: Workload, configurations: List[Configuration],
           options: argparse.Namespace) -> List[Tuple[int, Configuration]]:
    """(round, configuration) in the order of running; round 0 warms up and is not counted. In a quick look,
    and where a run takes long, it only reads the program into memory."""
    is_short = options.quick or workload.share_of_runs < 1
    order = [(0, c) for c in (configurations[:1] if is_short else configurations)]
    for number in range(1, runs_wanted(workload, options) + 1):
        turn = number % len(configurations)
        order += [(number, c) for c in configurations[turn:] + configurations[:turn]]
    return order


def measure(workload: Workload, configurations: List[Configuration], options: argparse.Namespace,
            results: Results) -> None:
    """One workload under all configurations it is for; one that failed is not tried again."""
    meant = [c for c in configurations if not workload.under or c.name in workload.under]
    for number, configuration in rounds(workload, meant, options):
        key = (workload.group, workload.name, configuration.name)
        if key in results.failures:
            continue
        try:
            rows = measure_once(workload, configuration, options, quick=options.quick or number == 0)
        except RunFailed as failure:
            results.failures[key] = str(failure)
            continue
        if number > 0:
            results.add(workload, configuration.name, rows)


def busy_seconds() -> float:
    """Processor time that anybody took so far; time stolen by the host's other guests counts as well."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def seconds_of_others() -> float:
    return busy_seconds() - sum(os.times()[:4])


def measure_all(configurations: List[Configuration], options: argparse.Namespace) -> Results:
    results = Results()
    start, others = time.monotonic(), seconds_of_others()
    for workload in wanted_workloads(options.only):
        reason = why_not(workload)
        label = f"{workload.group} {workload.name}".rstrip()
        if reason:
            results.left_out.append(f"{label}: {reason}")
            continue
        print(f"measuring {label}", file=sys.stderr, flush=True)
        measure(workload, configurations, options, results)
    elapsed = (time.monotonic() - start) * (os.cpu_count() or 1)
    results.others_share = max(0.0, seconds_of_others() - others) / max(elapsed, 1.0)
    return results


def wanted_workloads(only: Sequence[str]) -> List[Workload]:
    def is_wanted(workload: Workload) -> bool:
        title = f"{workload.group} {workload.name}".lower()
        return any(word.lower() in title for word in only)

    return [workload for workload in WORKLOADS if not only or is_wanted(workload)]


def wanted_configurations(options: argparse.Namespace) -> Tuple[List[Configuration], List[str]]:
    peers = all_peers()
    if options.peers:
        peers = [peer for peer in peers if peer.name in ("glibc", *options.peers)]
    return split_usable([*peers, preloaded(BIGMALLOC, os.path.abspath(options.lib))])


def words(text: str) -> List[str]:
    return [word for word in text.split(",") if word]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lib", required=True, help="the library to measure")
    parser.add_argument("--programs", required=True, help="folder of the compiled C workloads")
    parser.add_argument("--out", required=True, help="folder for bench.txt, bench.json and bench.png")
    parser.add_argument("--runs", type=int, default=5, help="runs to take the median of (default 5)")
    parser.add_argument("--only", type=words, default=[],
                        help="workloads whose title has one of these words")
    parser.add_argument("--peers", type=words, default=[], help="compare with these and glibc alone")
    parser.add_argument("--quick", action="store_true",
                        help="one short run of each: a look, not a measurement")
    options = parser.parse_args()
    return options


def save_json(path: str, names: List[str], results: Results) -> None:
    rows = [{"group": group, "row": row, "unit": results.units[group, row], "medians": figures}
            for (group, row), figures in results.medians().items()]
    failures = [{"group": group, "workload": workload, "configuration": name, "failure": text}
                for (group, workload, name), text in results.failures.items()]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"configurations": names, "rows": rows, "failures": failures}, file, indent=1)


def main() -> None:
    options = parse_options()
    configurations, missing = wanted_configurations(options)
    names = [configuration.name for configuration in configurations]
    results = measure_all(configurations, options)
    results.left_out += [f"{name}: its library does not load here" for name in missing]

    title = ("Time, page faults and system time are for one step, the peak is that of the process; medians\n"
             f"where there are several runs (here {1 if options.quick else options.runs}, of what is slow "
             "fewer, of what is short more). "
             f"Other work took {results.others_share:.0%} of the processors meanwhile.")
    text = "\n".join([
        title,
        *report.tables(names, results.medians(), results.units, results.failures),
        *report.figures(results.medians()),
        *report.exceptions(results.failures, results.left_out)])
    print(text)
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "bench.txt"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    save_json(os.path.join(options.out, "bench.json"), names, results)
    print(chart.draw(os.path.join(options.out, "bench.png"), names, results.medians()))


if __name__ == "__main__":
    main()
