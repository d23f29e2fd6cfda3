#!/usr/bin/env python3
"""figures.py BUILD - what a hit costs on a stand-in driver whose allocations take 50 us and frees 100 us, beside that
driver alone: a line of TAP for each figure, and a table as comments.

Runs with and without the library take turns, and the least of their medians counts: other work on this machine only
ever adds to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROUNDS = 3
OWN_NS_AT_MOST = 1000
FREES_FOR_A_WAIT = 16
WAYS: dict[str, dict[str, str] | None] = {
    "bare": None,
    "preloaded": {},
    "quarantine": {"BIGMALLOC_DEVICE_FREE": "quarantine"},
}


def run(build: Path, settings: dict[str, str] | None) -> dict[str, int]:
    """What the program tells."""
    preload = {} if settings is None else {"LD_PRELOAD": str(build / "libbigmalloc.so"), "BIGMALLOC_STATS": "off", **settings}
    driver = {"FAKE_CUDA_ALLOC_US": "50", "FAKE_CUDA_FREE_US": "100"}
    command = [str(build / "tests/cuda_pools/subject"), "tell_what_a_hit_costs"]
    environment = {**os.environ, **driver, "LD_LIBRARY_PATH": str(build / "tests/fake"), **preload}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return {name: int(value) for name, value in (line.split("=") for line in done.stdout.split())}


def measure(build: Path) -> dict[str, dict[str, int]]:
    """The figures of each way: the least time, and the most calls."""
    rounds = [{way: run(build, settings) for way, settings in WAYS.items()} for _ in range(ROUNDS)]
    return {
        way: {
            name: (min if name.endswith("_ns") else max)(of_round[way][name] for of_round in rounds)
            for name in rounds[0][way]
        }
        for way in WAYS
    }


def main() -> int:
    """Measures, tells and judges."""
    found = measure(Path(sys.argv[1]).resolve())
    print("# 8 MiB      allocation+free, us   thereof the driver's   allocations   frees   waits   (of how many pairs)")
    for way, of in found.items():
        driver_ns = of["pair_ns"] if way == "bare" else of["driver_ns"]
        print(
            f"# {way:<10} {of['pair_ns'] / 1e3:>21.2f} {driver_ns / 1e3:>22.2f} {of['allocations']:>13} {of['frees']:>7}"
            f" {of['waits']:>7}   ({of['pairs']})"
        )
    ours, quarantine = found["preloaded"], found["quarantine"]
    judged = {
        "the driver alone is asked for each block": found["bare"]["allocations"] == found["bare"]["pairs"],
        "a hit costs at most a microsecond of ours": all(
            of["pair_ns"] <= of["driver_ns"] + OWN_NS_AT_MOST for of in (ours, quarantine)
        ),
        "a loop asks the driver for no block": not any(
            of[call] for of in (ours, quarantine) for call in ("allocations", "frees")
        ),
        "in quarantine one wait serves sixteen frees": 0 < quarantine["waits"] * FREES_FOR_A_WAIT <= quarantine["pairs"],
    }
    for name, holds in judged.items():
        print(f"{'ok' if holds else 'not ok'} - figures: {name}")
    return int(not all(judged.values()))


if __name__ == "__main__":
    sys.exit(main())
