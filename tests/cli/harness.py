"""What the tests of the command share: where things are, and the command run as a user runs it.

done = bigmalloc("run", "--", "true")       # a CompletedProcess with text
done = bigmalloc("report", "x.json", env={"COLUMNS": "80"}, preload=True)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = ROOT / "scripts" / "bigmalloc"
TOOL = ROOT / "scripts" / "bigmalloc_tool"
BUILD = Path(os.environ.get("TEST_BUILD", ROOT / "build"))
LIBRARY = BUILD / "libbigmalloc.so"
LIMIT_S = 600  # hanging, on the slowest machine


def plain_environment() -> dict[str, str]:
    """Ours, without what steers an allocator or makes output differ; the command finds the library of BUILD."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not re.match("LD_PRELOAD$|BIGMALLOC|MALLOC_|PYTHON|LC_|LANG|COLUMNS$|LINES$|NO_COLOR$|TMUX", name)
    }
    return ours | {"LC_ALL": "C.UTF-8", "BIGMALLOC_LIBRARY": str(LIBRARY)}


def run(
    *command: object,
    env: dict[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    preload: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Any program, with text in and out, in a plain environment; preload: under the library."""
    return subprocess.run(
        [str(word) for word in command],
        env=plain_environment() | ({"LD_PRELOAD": str(LIBRARY)} if preload else {}) | (env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd,
        timeout=LIMIT_S,
        check=False,
    )


def bigmalloc(*arguments: object, **how: object) -> subprocess.CompletedProcess[str]:
    return run(COMMAND, *arguments, **how)  # type: ignore[arg-type]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty one, for as long as it is needed."""
    path = tempfile.mkdtemp(prefix="cli.")
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def needs(*programs: str) -> None:
    """Skips the test that calls it where one is missing."""
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed")


def python_with(module: str) -> str:
    """Of the Pythons that the tests know, one that has it; none: the test that calls this is skipped."""
    noted = ROOT / "build" / "python.path"
    for python in (sys.executable, *(noted.read_text().split() if noted.exists() else []), "python3"):
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            return python
    raise unittest.SkipTest(f"no Python here has {module}")


class Case(unittest.TestCase):
    """A test with a folder of its own, and sentences for what a command did."""

    def setUp(self) -> None:
        self.maxDiff = None
        self.folder = Path(self.enter(folder()))

    def enter(self, manager: contextlib.AbstractContextManager[Path]) -> Path:
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def assert_status(self, done: subprocess.CompletedProcess[str], status: int) -> None:
        told = f"{done.args}\nstdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-2000:]}"
        self.assertEqual(done.returncode, status, told)

    def assert_one_line_error(self, done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
        """One line on stderr that holds the words, nothing on stdout, never a traceback."""
        self.assert_status(done, status)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Abigmalloc[^\n]*\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)
