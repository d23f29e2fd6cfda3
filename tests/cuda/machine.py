"""machine.py - runs programs with the library and without it, within the time there is, and has the library say what it did."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from results import Results

NO_GPU = 77
Settings = dict[str, str]


class Skipped(Exception):
    """Why a test cannot run here."""


class Failed(Exception):
    """What differs."""


class Late(Exception):
    """Which program took too long, and what it was doing."""


@dataclass
class Ran:
    """What a program did."""

    output: str
    errors: str
    seconds: float
    served: Counter[str]


def served_by(folder: Path) -> Counter[str]:
    """What the reports of all processes of a program say, summed up: "device hits", "cuda_unhooked", ..."""
    total: Counter[str] = Counter()
    for path in folder.glob("*.json"):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:  # of a process that was killed while it wrote
            continue
        for pool in report["pools"]:
            kind = pool["kind"]
            for name in ("hits", "misses"):
                total[f"{kind} {name}"] += sum(of_class[name] for of_class in pool["classes"])
            for name, value in pool.items():
                if isinstance(value, int) and name not in ("id", "device_bytes", "device_free_bytes"):
                    total[f"{kind} {name}"] += value
        for name, value in report["process"].items():
            total[name] += value
    return total


def end_group(process: subprocess.Popen[str]) -> None:
    """The program and all that it started. First a signal that has Python print where its threads are."""
    for number, patience_s in ((signal.SIGABRT, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=patience_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


@dataclass
class Machine:
    """Where everything is, and how much time is left."""

    build: Path
    library: Path
    python: str
    results: Results
    ends_at: float
    rounds: int
    test: str = ""
    test_ends_at: float = 0.0
    device: dict[str, str] = field(default_factory=dict)

    # ---- time ----

    def begin_test(self, name: str, limit_s: float) -> None:
        """Gives a test so much time, or what is left."""
        self.test = name
        if self.ends_at - time.monotonic() < 5:
            raise Skipped("no time is left")
        self.test_ends_at = min(self.ends_at, time.monotonic() + limit_s)

    def seconds_left(self) -> float:
        """For the test that runs."""
        return max(1.0, self.test_ends_at - time.monotonic())

    # ---- programs ----

    def program(self, name: str) -> str:
        """One of ours."""
        path = self.build / "tests/cuda" / name
        if not path.exists():
            raise Skipped(f"{name} could not be built here")
        return str(path)

    def environment(self, preloaded: bool, settings: Settings, reports: Path) -> Settings:
        """That of a program, without options of the library's but those of the test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BIGMALLOC")}
        kept.pop("LD_PRELOAD", None)
        preload = {
            "LD_PRELOAD": str(self.library),
            "BIGMALLOC_STATS": "json",
            "BIGMALLOC_STATS_FILE": f"{reports}/%p.json",
        }
        return {**kept, "PYTHONFAULTHANDLER": "1", **(preload if preloaded else {}), **settings}

    def run(self, command: list[str], preloaded: bool, settings: Settings | None = None) -> Ran:
        """Runs it to its end. Skips the test where the program finds no GPU."""
        way = "preloaded" if preloaded else "bare"
        with tempfile.TemporaryDirectory() as name, open(f"{name}/out", "w+b") as out, open(f"{name}/err", "w+b") as err:
            started = time.monotonic()
            # Files, for a pipe would be held open by what outlives the program.
            process = subprocess.Popen(
                command,
                env=self.environment(preloaded, settings or {}, Path(name)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
            late = False
            try:
                process.wait(timeout=self.seconds_left())
            except subprocess.TimeoutExpired:
                late = True
                end_group(process)
            seconds = time.monotonic() - started
            output, errors = (Path(name, of).read_text(encoding="utf-8", errors="replace") for of in ("out", "err"))
            served = served_by(Path(name))
        if late:
            raise Late(f"{way}: {' '.join(command)}: not done after {seconds:.0f} s\n{output}{errors}")
        if process.returncode == NO_GPU:
            raise Skipped((output.strip() or "no GPU").splitlines()[-1])
        if process.returncode != 0:
            raise Failed(f"{way}: {' '.join(command)}: status {process.returncode}\n{output}{errors}")
        return Ran(output, errors, seconds, served)

    def probe(self, question: str, preloaded: bool, settings: Settings | None = None) -> dict[str, str]:
        """The answers of probe.c by name."""
        ran = self.run([self.program("probe"), question], preloaded, settings)
        return dict(line.split(" ", 1) for line in ran.output.splitlines())

    @contextmanager
    def talking(self, command: list[str], preloaded: bool, settings: Settings) -> Iterator[Talk]:
        """A program that goes on when it is told to."""
        with tempfile.TemporaryDirectory() as name, open(f"{name}/err", "w+b") as err:
            process = subprocess.Popen(
                command,
                env=self.environment(preloaded, settings, Path(name)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
            )
            # What it does not say in time it never says: reading ends with the program.
            alarm = threading.Timer(self.seconds_left(), end_group, (process,))
            alarm.daemon = True
            alarm.start()
            try:
                yield Talk(process, Path(name, "err"))
                process.wait(timeout=self.seconds_left())
            except (subprocess.TimeoutExpired, BrokenPipeError) as what:
                raise Late(f"{' '.join(command)}: {what}") from what
            finally:
                alarm.cancel()
                end_group(process)
                for pipe in (process.stdin, process.stdout):
                    close(pipe)

    # ---- where things are ----

    def ask_python(self, program: str) -> str:
        """What it prints; nothing if it fails."""
        done = subprocess.run([self.python, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def need_module(self, module: str) -> None:
        """Skips where our Python has none of that name."""
        if not self.ask_python(f"import importlib.util as u; print(u.find_spec('{module}') or '')"):
            raise Skipped(f"{self.python} has no {module}")

    def find_library(self, name: str) -> Path | None:
        """A library of NVIDIA's: in the loader's path, of the toolkit, or of a Python package."""
        packages = self.ask_python("import sysconfig; print(sysconfig.get_paths()['purelib'])")
        folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), str(toolkit() / "lib64")]
        folders += glob.glob("/usr/local/cuda*/lib64") + ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        folders += sorted(glob.glob(f"{packages}/nvidia/*/lib"))
        for folder in filter(None, folders):
            for path in sorted(Path(folder).glob(f"{name}.so*")):
                return path
        return None

    def searched(self, folder: Path) -> Settings:
        """For a program that needs what is there."""
        return {"LD_LIBRARY_PATH": f"{os.environ.get('LD_LIBRARY_PATH', '')}:{folder}".strip(":")}

    def free_mib(self) -> int:
        """What the device has left, as NVIDIA's own tool sees it, or, without that, another process."""
        tool = shutil.which("nvidia-smi")
        if tool is not None:
            query = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits", f"--id={self.device.get('pci_address', 0)}"]
            said = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
            if said.returncode == 0 and said.stdout.strip().isdigit():
                return int(said.stdout)
        return int(self.probe("left", False)["free_mib"])


def toolkit() -> Path:
    """CUDA's, where it is installed."""
    compiler = shutil.which("nvcc")
    beside = Path(compiler).resolve().parent.parent if compiler else Path("/usr/local/cuda")
    return Path(os.environ.get("CUDA", beside if (beside / "lib64").exists() else "/usr/local/cuda"))


def close(pipe: IO[str] | None) -> None:
    """Whatever the other end has become."""
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass


@dataclass
class Talk:
    """Line by line."""

    process: subprocess.Popen[str]
    errors: Path

    def hear(self, word: str) -> None:
        """Waits for it to say that."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line.startswith("no GPU"):
            raise Skipped(line)
        if line != word:
            raise Failed(f"instead of {word}: {line}\n{self.errors.read_text(encoding='utf-8', errors='replace')}")

    def say(self, word: str) -> None:
        """Lets it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


def figures_of(ran: Ran) -> dict[str, Any]:
    """The last line of a program that prints figures."""
    figures: dict[str, Any] = json.loads(ran.output.strip().splitlines()[-1])
    return figures
