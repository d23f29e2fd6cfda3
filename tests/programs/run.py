#!/usr/bin/env python3
"""Real programs give the same result with the library preloaded as without it.

    run.py PYTHON LIBRARY OUTDIR [NAME...]

Every entry of `entries` runs twice at the same time, bare and preloaded, each in a folder of its own under
OUTDIR; its comparison looks at the two runs and tells what differs. The result is TAP version 13 on standard
output; the exit status is 0 when nothing failed. NAMEs are shell patterns that choose entries.

PYTHON runs the Python entries; those that need a module it lacks (NumPy, PyTorch, pytest, hypothesis, parts
of CPython's own tests) are skipped by name.
"""

from __future__ import annotations

import concurrent.futures
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
JUNIT = "junit.xml"
TIMED_OUT = -signal.SIGALRM
UNTOLD = "the suite as a whole"


@dataclass
class Run:
    """What one program did."""

    stdout: str
    stderr: str
    status: int
    seconds: float
    failed_tests: set[str]


@dataclass
class Entry:
    name: str
    command: list[str]
    compare: Callable[[Run, Run], list[str]]
    programs: list[str]
    modules: list[str]
    limit_s: float = 300


def differing_output(bare: Run, preloaded: Run) -> list[str]:
    if bare.status != 0:
        return [f"the bare run failed: status {bare.status}", *bare.stderr.splitlines()[-5:]]
    problems = differing_status(bare, preloaded)
    for before, after in zip_lines(bare.stdout, preloaded.stdout):
        if before != after:
            problems.append(f"printed {before!r} bare, {after!r} preloaded")
    return problems


def new_failures(bare: Run, preloaded: Run) -> list[str]:
    """For test suites: some of their tests may fail bare as well, for reasons of the machine."""
    if UNTOLD in bare.failed_tests:
        return [f"the bare run failed: status {bare.status}", *bare.stderr.splitlines()[-5:]]
    failures = sorted(preloaded.failed_tests - bare.failed_tests)
    return [f"fails only preloaded (status {preloaded.status}): {test}" for test in failures]


def not_in_maps(bare: Run, preloaded: Run) -> list[str]:
    expected = {"bare": "absent\n" * 3, "preloaded": "present\n" * 3}
    seen = {"bare": bare.stdout, "preloaded": preloaded.stdout}
    return [] if seen == expected else [f"the library in the maps of a program and its children: {seen}"]


def differing_status(bare: Run, preloaded: Run) -> list[str]:
    if bare.status == preloaded.status:
        return []
    return [f"status {bare.status} bare, {preloaded.status} preloaded", *preloaded.stderr.splitlines()[-5:]]


def zip_lines(left: str, right: str) -> Iterator[tuple[str | None, str | None]]:
    lefts, rights = left.splitlines(), right.splitlines()
    for i in range(max(len(lefts), len(rights))):
        yield lefts[i] if i < len(lefts) else None, rights[i] if i < len(rights) else None


def complaints(preloaded: Run) -> list[str]:
    """Neither the library nor the loader has anything to say in this suite."""
    return [line for line in preloaded.stderr.splitlines() if re.match("bigmalloc:|ERROR: ld.so:", line)]


# ---- The table ----


def shell(name: str, *programs: str, limit_s: float = 300) -> Entry:
    command = ["bash", str(HERE / f"{name}.sh")]
    return Entry(name, command, differing_output, ["bash", *programs], [], limit_s)


def python_script(name: str, *modules: str) -> Entry:
    return Entry(name, ["PYTHON", str(HERE / f"{name}.py")], differing_output, [], list(modules))


def numpy_test(name: str) -> Entry:
    module = f"numpy.{name}"
    options = ["-q", "-p", "no:cacheprovider", "--junit-xml", JUNIT, "--pyargs"]
    command = ["PYTHON", "-m", "pytest", *options, module]
    return Entry(module, command, new_failures, [], ["numpy", "pytest", "hypothesis", module])


def cpython_test(name: str) -> Entry:
    command = ["PYTHON", "-m", "test", "--timeout", "200", "--junit-xml", JUNIT, name]
    return Entry(f"cpython.{name}", command, new_failures, [], ["test.libregrtest", f"test.{name}"])


def entries(library: Path) -> list[Entry]:
    maps = ["bash", str(HERE / "maps.sh"), library.name]
    return [
        Entry("maps", maps, not_in_maps, ["bash"], []),
        shell("shells", "sh"),
        shell("text", "awk", "sort"),
        shell("archives", "tar", "xz", "gzip"),
        shell("git", "git"),
        shell("compilers", "gcc", "g++"),
        shell("build", "make", "gcc", "nm"),
        python_script("processes"),
        python_script("objects"),
        python_script("numpy_arrays", "numpy"),
        python_script("numpy_threads", "numpy"),
        python_script("torch_training", "torch"),
        python_script("torch_loaders", "torch"),
        *map(numpy_test, NUMPY_TESTS),
        *map(cpython_test, CPYTHON_TESTS),
    ]


NUMPY_TESTS = """
_core.tests.test_multiarray _core.tests.test_ufunc _core.tests.test_numeric _core.tests.test_indexing
_core.tests.test_mem_policy _core.tests.test_shape_base _core.tests.test_nditer _core.tests.test_memmap
_core.tests.test_multithreading lib.tests.test_io linalg.tests.test_linalg
""".split()

CPYTHON_TESTS = """
test_threading test_subprocess test_multiprocessing_fork test_mmap test_ctypes
test_signal test_threadsignals test_capi test_os test_fork1 test_posix test_io test_gc test_array test_zlib
test_lzma test_pickle test_bytes test_faulthandler test_exceptions test_tempfile test_tracemalloc
test_memoryview test_wait4 test_bigmem test_codecs test_json
""".split()


# ---- Running ----


@dataclass
class Suite:
    python: str
    library: Path
    outdir: Path

    def run(self, entry: Entry) -> tuple[Run, Run]:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            bare = pool.submit(self.run_once, entry, "bare", {})
            preload = {"LD_PRELOAD": str(self.library), "BIGMALLOC_STATS": "off"}
            preloaded = pool.submit(self.run_once, entry, "preloaded", preload)
            return bare.result(), preloaded.result()

    def run_once(self, entry: Entry, kind: str, preload: dict[str, str]) -> Run:
        folder = self.outdir / entry.name / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [self.python if word == "PYTHON" else word for word in entry.command]
        # Temporary files lie elsewhere: the path of a Unix socket has room for 107 bytes only (unix(7)).
        with tempfile.TemporaryDirectory(prefix="run.", ignore_cleanup_errors=True) as temporary:
            environment = plain_environment() | {"HOME": str(folder), "TMPDIR": temporary} | preload
            return run_program(command, folder, environment, entry.limit_s)

    def clear(self, entry: Entry) -> None:
        """Keeps what it printed only: the files of all entries take gigabytes."""
        for kind in ("bare", "preloaded"):
            shutil.rmtree(self.outdir / entry.name / kind, ignore_errors=True)

    def why_skip(self, entry: Entry) -> str | None:
        for program in entry.programs:
            if shutil.which(program) is None:
                return f"{program} is not installed"
        absent = self.absent_modules(entry.modules)
        return f"the Python has no {absent[0]}" if absent else None

    def absent_modules(self, modules: list[str]) -> list[str]:
        if not modules:
            return []
        answer = subprocess.run(
            [self.python, "-c", ABSENT_MODULES, *modules], capture_output=True, text=True, check=True
        )
        return answer.stdout.split()


# find_spec of "a.b" imports a: no module is imported itself. A package without its files counts as absent
# (installations of CPython 3.11.7 have the caches of some test packages only).
ABSENT_MODULES = """
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        print(name)
"""


def plain_environment() -> dict[str, str]:
    """Ours, without what would steer an allocator or make the output differ from machine to machine."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not re.match("LD_PRELOAD$|BIGMALLOC_|MALLOC_|PYTHON|MAKE|MFLAGS$|GIT_|PYTEST_|LC_|LANG", name)
    }
    return ours | {
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "NPY_AVAILABLE_MEM": "2GB",  # without it some of NumPy's tests take all that the machine has
    }


def run_program(command: list[str], folder: Path, environment: dict[str, str], limit_s: float) -> Run:
    started = time.monotonic()
    outputs = folder.parent / f"{folder.name}.stdout", folder.parent / f"{folder.name}.stderr"
    with outputs[0].open("wb") as stdout, outputs[1].open("wb") as stderr:
        # Files, not pipes: a pipe would wait for every grandchild that still holds it.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        status = wait_or_kill(process, limit_s)
    seconds = time.monotonic() - started
    text = [output.read_text(encoding="utf-8", errors="replace") for output in outputs]
    return Run(text[0], text[1], status, seconds, failed_tests(folder / JUNIT, status))


def wait_or_kill(process: subprocess.Popen[bytes], limit_s: float) -> int:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return TIMED_OUT


def failed_tests(report: Path, status: int) -> set[str]:
    """The tests that failed; UNTOLD for a suite that ended badly without telling which."""
    failed: set[str] = set()
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed.add(f"{case.get('classname', '')} {case.get('name')}".strip())
    return failed if status == 0 or failed else {UNTOLD}


# ---- Reporting ----


def report(number: int, entry: Entry, suite: Suite) -> bool:
    reason = suite.why_skip(entry)
    if reason is not None:
        print(f"ok {number} - {entry.name} # SKIP {reason}", flush=True)
        return True
    bare, preloaded = suite.run(entry)
    problems = entry.compare(bare, preloaded) + complaints(preloaded)
    print(f"{'not ok' if problems else 'ok'} {number} - {entry.name}")
    print(f"# {bare.seconds:.1f} s bare, {preloaded.seconds:.1f} s preloaded, status {bare.status}")
    for problem in problems[:20]:
        print(f"# {problem[:300]}")
    sys.stdout.flush()
    if not problems:
        suite.clear(entry)
    return not problems


def main() -> int:
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    python, patterns = shutil.which(sys.argv[1]) or sys.argv[1], sys.argv[4:]
    library, outdir = Path(sys.argv[2]).resolve(strict=True), Path(sys.argv[3]).resolve()
    suite = Suite(python, library, outdir)
    chosen = [
        entry
        for entry in entries(library)
        if not patterns or any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns)
    ]
    print(f"TAP version 13\n1..{len(chosen)}", flush=True)
    results = [report(number, entry, suite) for number, entry in enumerate(chosen, 1)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
