"""NumPy on threads that stay on a node each: temporaries of all sizes come and go, and the sums are right."""

import os
import sys
import threading

import numpy as np

ROUNDS = 12
NODES = "/sys/devices/system/node"


def numbers(text):
    """Of a list as the kernel writes it: "0,2-3"."""
    ranges = [part.split("-") for part in text.strip().split(",") if part]
    return {n for ends in ranges for n in range(int(ends[0]), int(ends[-1]) + 1)}


def contents(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def processors_by_node():
    own = os.sched_getaffinity(0)
    nodes = numbers(contents(f"{NODES}/has_cpu"))
    cpus = {node: numbers(contents(f"{NODES}/node{node}/cpulist")) & own for node in nodes}
    return {node: some for node, some in cpus.items() if some}


def compute(cpus, wrong):
    os.sched_setaffinity(0, cpus)
    for i in range(ROUNDS):
        n = 150_000 + 37_001 * (i % 5)
        a = np.arange(n, dtype=np.float64)
        b = np.ones(n)
        total = float((a * 2 + b).sum())
        if total != float(n) * (n - 1) + n:
            wrong.append((n, total))


def main():
    wrong = []
    nodes = processors_by_node()
    threads = [threading.Thread(target=compute, args=(cpus, wrong)) for cpus in nodes.values() for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{'not ok' if wrong else 'ok'} 1 - the sums of {len(threads)} threads on nodes {sorted(nodes)} are right")
    print("1..1")
    return 1 if wrong else 0


sys.exit(main())
