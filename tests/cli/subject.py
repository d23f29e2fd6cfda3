"""A real process under the library, which does what it is told and then stands still.

with Subject(env={"BIGMALLOC_STATS": "json"}) as subject:
    subject.do("keep.append(bytearray(4 << 20))")
    subject.pid
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import TracebackType

from harness import LIBRARY, LIMIT_S, ROOT, plain_environment

KEPT_BYTES = 3 * ((8 << 20) + 4096)  # live after Subject.work(): a bytearray asks for one byte more, which takes a page
LOOP = "import sys; keep = []\nfor line in sys.stdin: exec(line); print('done', flush=True)"


class Subject:
    def __init__(self, env: dict[str, str] | None = None, prologue: str = "") -> None:
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{prologue}\n{LOOP}"],
            env=plain_environment() | {"LD_PRELOAD": str(LIBRARY)} | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, statement: str) -> None:
        """And waits until it is done."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise AssertionError(f"{statement!r} was not done: {self.said()}")

    def work(self) -> None:
        """A few hits and misses; KEPT_BYTES stay live."""
        self.do("for n in range(20): bytearray(4 << 20 if n < 10 else (4 + n % 3) << 20)")
        self.do("keep += [bytearray(8 << 20) for _ in range(3)]")

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Its standard input ends, and so does it."""
        self.process.communicate()
        self.errors.close()


def needs_live_files() -> None:
    """Skips the test that calls it where processes cannot have any."""
    mounts = Path("/proc/self/mounts").read_text("utf-8")
    if " /dev/shm tmpfs " not in mounts or not os.access("/dev/shm", os.W_OK):
        raise unittest.SkipTest("/dev/shm is no tmpfs that can be written")


def python_with(*modules: str) -> str:
    """A Python that has them; skips the test that calls it where none has."""
    recorded = ROOT / "build" / "python.path"
    known = [
        os.environ.get("TEST_PYTHON", ""),
        recorded.read_text().strip() if recorded.exists() else "",
        sys.executable,
    ]
    check = f"import importlib.util as u; exit(not all(map(u.find_spec, {modules!r})))"
    for python in filter(None, known):
        if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0:
            return python
    raise unittest.SkipTest(f"no Python here has {' and '.join(modules)}")


def run_program(folder: Path, command: list[str], env: dict[str, str] | None = None) -> None:
    """With a dump of every process in the folder."""
    ours = {"LD_PRELOAD": str(LIBRARY), "BIGMALLOC_STATS": "json", "BIGMALLOC_STATS_FILE": f"{folder}/stats.%p.json"}
    done = subprocess.run(
        command,
        env=plain_environment() | ours | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout[-3000:]}")
