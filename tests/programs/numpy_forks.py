"""Forks after NumPy has freed large arrays: where CPython 3.12 looks before it warns, there is one thread."""

import os

import numpy


def threads() -> int:
    """The 18th field after the name; proc_pid_stat(5)."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[17])


def threads_around_a_fork(mib: int) -> tuple[int, int, int]:
    """In the parent, in the child, and what the child found in memory that its parent had filled."""
    array = numpy.full(mib << 17, 7, dtype=numpy.float64)
    kept = array[::4096].copy()
    del array
    pid = os.fork()
    if pid == 0:
        again = numpy.zeros(mib << 17)
        os._exit(threads() if not again.any() and (kept == 7).all() else 100)
    parent = threads()
    return parent, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(kept.sum())


def main() -> None:
    for mib in (1, 20, 64, 100, 64):
        print(mib, *threads_around_a_fork(mib))


if __name__ == "__main__":
    main()
