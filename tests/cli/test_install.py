"""make install: what is installed works from there; and the manual page and the completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness import BUILD, ROOT, Case, needs, run

FILES = {
    "bin/bigmalloc": 0o755,
    "lib/libbigmalloc.so.1": 0o755,
    "share/man/man1/bigmalloc.1": 0o644,
    "share/bash-completion/completions/bigmalloc": 0o644,
    "share/bigmalloc/bigmalloc_tool/__main__.py": 0o644,
    "share/bigmalloc/grafana.json": 0o644,
}
LARGE = "x = bytearray(64 << 20)"
ELSEWHERE = {"BIGMALLOC_LIBRARY": "", "PYTHONDONTWRITEBYTECODE": "1"}


OTHERS = ["top", "stat", "report", "plot", "metrics", "options", "doctor"]
INTERNAL = {"--library", "--no-library"}  # between the command and doctor


def flags_of(command: str) -> set[str]:
    told = run(ROOT / "scripts/bigmalloc", command, "--help").stdout
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", told)) - INTERNAL | {"--help"}


class Installed(Case):
    def make(self, target: str, prefix: str, destination: str = "") -> None:
        done = run("make", "-C", ROOT, "-s", f"BUILD={BUILD}", f"PREFIX={prefix}", f"DESTDIR={destination}", target)
        self.assert_status(done, 0)

    def setUp(self) -> None:
        super().setUp()
        needs("make")
        self.prefix = self.folder / "usr"
        self.make("install", str(self.prefix))

    def installed(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{self.prefix}/bin:{os.environ['PATH']}"}
        return run("bigmalloc", *arguments, env=ELSEWHERE | path | environment, cwd=self.folder)

    def test_all_files_are_where_they_belong(self) -> None:
        for name, mode in FILES.items():
            self.assertEqual((self.prefix / name).stat().st_mode & 0o777, mode, name)
        self.assertEqual(os.readlink(self.prefix / "lib/libbigmalloc.so"), "libbigmalloc.so.1")

    def test_run_finds_the_installed_library(self) -> None:
        done = self.installed("run", "printenv", "LD_PRELOAD")
        self.assertEqual(done.stdout, f"{self.prefix}/lib/libbigmalloc.so.1\n")
        done = self.installed("run", "--report", sys.executable, "-c", LARGE)
        self.assertRegex(done.stderr, r"\(process \d+\)")

    def test_the_other_commands_find_the_package(self) -> None:
        self.assertIn(f"{self.prefix}/lib/libbigmalloc.so.1 loads", self.installed("doctor").stdout)
        for command in ("top", "stat", "report", "metrics"):
            self.assert_status(self.installed(command, "--help"), 0)
        self.assert_status(self.installed("options"), 0)

    def test_a_package_is_staged_elsewhere(self) -> None:
        self.make("install", "/opt/x", str(self.folder / "stage"))
        self.assertTrue((self.folder / "stage/opt/x/bin/bigmalloc").exists())

    def test_installing_again_leaves_no_modules_of_before(self) -> None:
        old = self.prefix / "share/bigmalloc/bigmalloc_tool/gone.py"
        old.touch()
        self.make("install", str(self.prefix))
        self.assertFalse(old.exists())

    def test_uninstall_leaves_nothing(self) -> None:
        self.installed("doctor", PYTHONDONTWRITEBYTECODE="")
        self.make("uninstall", str(self.prefix))
        self.assertEqual([path for path in self.prefix.rglob("*") if not path.is_dir()], [])

    def test_without_the_package_that_is_told(self) -> None:
        for path in (self.prefix / "share/bigmalloc/bigmalloc_tool").iterdir():
            path.unlink()
        self.assert_one_line_error(self.installed("top"), 1, "share/bigmalloc", "make install")
        self.assert_status(self.installed("run", "true"), 0)


class Manual(Case):
    page = ROOT / "scripts/bigmalloc.1"

    def test_mandoc_finds_nothing_wrong(self) -> None:
        needs("mandoc")
        done = run("mandoc", "-T", "lint", "-W", "warning", self.page)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_it_reads_well(self) -> None:
        needs("man")
        done = run("man", "--warnings", "-l", self.page, env={"MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""})
        self.assertEqual(done.stderr, "")
        text = re.sub(r".\x08", "", done.stdout)
        for words in ("NAME", "EXIT STATUS", "--cache-max=value, BIGMALLOC_CACHE_MAX", "--recycle[=on | off], --no-recycle, BIGMALLOC_RECYCLE"):
            self.assertIn(words, text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_it_names_every_command(self) -> None:
        commands = run(ROOT / "scripts/bigmalloc", "help").stdout
        for command in re.findall(r"^  (\w+) ", commands, re.MULTILINE):
            self.assertRegex(self.page.read_text(), rf"(?m)^\.Cm {command}$")

    def test_it_names_every_flag_of_every_command(self) -> None:
        for command in OTHERS:
            for flag in flags_of(command) - {"--help"}:
                self.assertRegex(self.page.read_text(), rf"(?m)\bFl {flag[1:]}\b", f"{command} {flag}")


class Completion(Case):
    def complete(self, line: str, before: str = "") -> list[str]:
        """What bash offers for a line; its words are split at "=" as bash does it."""
        needs("bash")
        words = [word for part in line.split(" ") for word in re.split("(=)", part)]
        if len(words) > 1 and words[-1] == "" and words[-2] == "=":
            words.pop()
        quoted = " ".join(f"'{word}'" for word in words)
        script = f"""
            compopt() {{ :; }}
            source {ROOT}/scripts/bigmalloc.bash
            {before}
            COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
            _bigmalloc
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = run("bash", "-c", script, cwd=self.folder)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands(self) -> None:
        self.assertEqual(self.complete("bigmalloc do"), ["doctor"])
        self.assertEqual(self.complete("bigmalloc help me"), ["metrics"])
        listed = re.findall(r"^  (\w+) ", run(ROOT / "scripts/bigmalloc", "help").stdout, re.MULTILINE)
        self.assertEqual(self.complete("bigmalloc "), [*listed, "--help", "--version"])

    def test_flags(self) -> None:
        self.assertEqual(self.complete("bigmalloc run --cach"), ["--cache-max="])
        self.assertEqual(self.complete("bigmalloc run --thp=on --no-rec"), ["--no-recycle"])
        self.assertEqual(self.complete("bigmalloc run --rep"), ["--report", "--report="])

    def test_flags_of_every_other_command(self) -> None:
        for command in OTHERS:
            self.assertEqual(set(self.complete(f"bigmalloc {command} --")), flags_of(command), command)

    def test_values(self) -> None:
        self.assertEqual(self.complete("bigmalloc run --thp="), ["auto", "on", "off"])
        self.assertEqual(self.complete("bigmalloc run --cache-max=4g --numa=int"), ["interleave"])

    def test_programs_and_their_arguments(self) -> None:
        (self.folder / "train.py").touch()
        self.assertIn("printenv", self.complete("bigmalloc run printen"))
        self.assertIn("printenv", self.complete("bigmalloc run --thp=on -- printen"))
        self.assertEqual(self.complete("bigmalloc run --thp=on python3 tra"), ["train.py"])
        self.assertEqual(self.complete("bigmalloc run -- python3 -x tra"), ["train.py"])

    def test_the_completion_of_the_program_is_asked_where_there_is_one(self) -> None:
        asked = "_command_offset() { COMPREPLY=(offset $1); }"
        self.assertEqual(self.complete("bigmalloc run --thp=on git a", asked), ["offset", "5"])

    def test_files_and_processes(self) -> None:
        (self.folder / "a.json").touch()
        self.assertEqual(self.complete("bigmalloc report a"), ["a.json"])
        folder = self.folder / "bigmalloc"
        folder.mkdir()
        for name in (f"{os.getpid()}-77", "4194305-1"):
            (folder / name).touch()
        found = self.complete("bigmalloc stat ", f"XDG_RUNTIME_DIR={self.folder}")
        self.assertIn(str(os.getpid()), found)
        self.assertNotIn("4194305", found)


assert Path(BUILD / "libbigmalloc.so").exists(), "make the library first"
