"""What every Python workload shares: a meter of the process's own time, page faults and memory.

A workload prints one JSON line for each measured row; see measure.h, its twin for the C programs.
"""

import json
import os
import resource
import statistics
import time
from typing import Callable, Dict, List, Union

MIB = 1 << 20


def steps_wanted(steps: int) -> int:
    """A warm-up round or a quick look does a quarter of the work."""
    return max(2, steps // 4) if "BENCH_QUICK" in os.environ else steps


def proc_mib(path: str, field: str) -> float:
    """A field of a file in /proc that counts KiB; the first line of smaps_rollup has none."""
    with open(path, encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields[field].split()[0]) / 1024


def peak_mib() -> float:
    """VmHWM and not ru_maxrss: the latter is inherited through exec from a larger parent."""
    return proc_mib("/proc/self/status", "VmHWM")


def smaps_mib(field: str, process: Union[int, str] = "self") -> float:
    """Counted page by page; VmRSS is a sum of counters that each processor is a little behind with."""
    return proc_mib(f"/proc/{process}/smaps_rollup", field)


def resident_mib() -> float:
    return smaps_mib("Rss")


class Meter:
    """Adds up what single steps cost, so that the steps of two twins can alternate."""

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.ms: List[float] = []
        self.faults = 0
        self.system_ms = 0.0

    def run(self) -> None:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        self.step()
        self.ms.append(1e3 * (time.perf_counter() - start))
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.faults += after.ru_minflt - before.ru_minflt
        self.system_ms += 1e3 * (after.ru_stime - before.ru_stime)

    def median_ms(self) -> float:
        return statistics.median(self.ms)

    def figures(self) -> Dict[str, float]:
        """The mean, not the median: an allocator that pays in every tenth step pays all the same."""
        steps = len(self.ms)
        return {
            "time": sum(self.ms) / steps,
            "faults": self.faults / steps,
            "system_ms": self.system_ms / steps,
            "peak_mib": peak_mib(),
        }


def print_row(figures: Dict[str, float], row: str = "") -> None:
    print(json.dumps({"row": row, **figures}), flush=True)


def measure(step: Callable[[], object], steps: int, warm: int = 2, row: str = "") -> None:
    """Runs `step` until warm, then `steps` times measured, and prints the row."""
    for _ in range(warm):
        step()
    meter = Meter(step)
    for _ in range(steps_wanted(steps)):
        meter.run()
    print_row(meter.figures(), row)
