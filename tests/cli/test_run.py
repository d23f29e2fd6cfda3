"""run: what reaches the program, and what comes back from it, is as without us."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from harness import BUILD, COMMAND, LIBRARY, ROOT, Case, bigmalloc, needs, plain_environment, run

KNOWN_SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
SHELLS = {name: command for name, command in KNOWN_SHELLS.items() if shutil.which(command[0])}
# Signals that end a program which does nothing about them.
DEADLY = sorted(
    set(range(1, 65))
    - {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}
    - {signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, 32, 33}  # ignored; glibc's own
)
COMMANDS = ["run", "top", "stat", "report", "plot", "metrics", "options", "doctor", "help"]
LARGE = "x = bytearray(64 << 20)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Shells(Case):
    def test_dash(self) -> None:
        needs("dash")

    def test_bash(self) -> None:
        needs("bash")

    def test_busybox(self) -> None:
        needs("busybox")


class WhatReachesTheProgram(Case):
    def test_the_library_alone_and_nothing_else_is_new_in_the_environment(self) -> None:
        for shell, command in SHELLS.items():
            with self.subTest(shell):
                extra = {"flag": "1", "bm": "2", "name": "a  b\n*", "empty": "", "i": "x", "ENV": ""}
                bare = environment_of(run("env", "-0", env=extra))
                ours = environment_of(run(*command, COMMAND, "run", "env", "-0", env=extra))
                self.assertEqual(ours.pop("LD_PRELOAD"), str(LIBRARY))
                self.assertEqual(bare.pop("BIGMALLOC_LIBRARY"), str(LIBRARY))
                for name in ("_", "SHLVL", "PWD", "OLDPWD"):  # shells set these by themselves
                    bare.pop(name, None)
                    ours.pop(name, None)
                self.assertEqual(ours, bare)

    def test_the_library_is_in_the_program_and_serves_it(self) -> None:
        done = bigmalloc("run", "--stats=json", *python(f"{LARGE}; print(open('/proc/self/maps').read())"))
        self.assert_status(done, 0)
        self.assertIn(str(LIBRARY), done.stdout)
        self.assertIn('"schema": "bigmalloc-stats/1"', done.stderr)

    def test_what_was_preloaded_stays_behind_ours_which_is_there_once(self) -> None:
        for before in ("libm.so.6:libdl.so.2", "libm.so.6  libdl.so.2", f"libm.so.6:{LIBRARY} :libdl.so.2"):
            done = bigmalloc("run", "printenv", "LD_PRELOAD", env={"LD_PRELOAD": before})
            self.assertEqual(done.stdout, f"{LIBRARY}:libm.so.6:libdl.so.2\n", before)

    def test_flags_set_variables(self) -> None:
        cases = {
            "--cache-max=4g": {"CACHE_MAX": "4g"},
            "--cache-max 4g": {"CACHE_MAX": "4g"},
            "--stats-file=a=b": {"STATS_FILE": "a=b"},
            "--numa=nodes:0,2 --thp on": {"NUMA": "nodes:0,2", "THP": "on"},
            "--device": {"DEVICE": "on"},
            "--device=off": {"DEVICE": "off"},
            "--no-device --no-recycle": {"DEVICE": "off", "RECYCLE": "off"},
            "--cache-max=1g --cache-max=2g": {"CACHE_MAX": "2g"},
            "--cache-max=": {"CACHE_MAX": ""},
        }
        for shell, command in SHELLS.items():
            for flags, expected in cases.items():
                with self.subTest(shell=shell, flags=flags):
                    done = run(*command, COMMAND, "run", *flags.split(), "env", "-0")
                    seen = {
                        name[len("BIGMALLOC_") :]: value
                        for name, value in environment_of(done).items()
                        if name.startswith("BIGMALLOC_")
                    }
                    self.assertEqual(seen, expected)

    def test_a_flag_wins_over_a_variable(self) -> None:
        done = bigmalloc("run", "--thp=on", "printenv", "BIGMALLOC_THP", env={"BIGMALLOC_THP": "off"})
        self.assertEqual(done.stdout, "on\n")

    def test_every_option_is_a_flag(self) -> None:
        variables = re.findall(r'^OPTION\(.*?"(BIGMALLOC\w*)"', (ROOT / "pool/options.def").read_text(), re.MULTILINE)
        self.assertGreater(len(variables), 15)
        for variable in variables:
            flag = variable[len("BIGMALLOC_") :].lower().replace("_", "-") or "enabled"
            done = bigmalloc("run", f"--{flag}=x y", "printenv", variable)
            self.assertEqual(done.stdout, "x y\n", variable)

    def test_arguments_arrive_as_they_are(self) -> None:
        odd = ["", " ", "a b", "*", "~", "$HOME", "`id`", "a\nb", "\\", "'", '"', "--report", "--", "-x", "ä\x01"]
        show = python("import sys; sys.stdout.buffer.write(b'|'.join(map(__import__('os').fsencode, sys.argv[1:])))")
        for shell, command in SHELLS.items():
            done = run(*command, COMMAND, "run", "--thp=on", "--", *show, *odd)
            self.assertEqual(done.stdout, "|".join(odd), shell)

    def test_programs_may_have_odd_names(self) -> None:
        for name in ("a b", "a\nb", "-x", "--report", "a=b", "*", "ä", "$(id)", "[", "cd"):
            program = self.folder / name
            program.write_text("#!/bin/sh\nprintf '%s' \"$0\"\n")
            program.chmod(0o755)
        path = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        for shell, command in SHELLS.items():
            start = [shutil.which(command[0]), *command[1:], COMMAND, "run", "--"]
            for program in self.folder.iterdir():
                if shell == "busybox" and program.name == "[":
                    continue  # a shell that prefers what it has inside
                with self.subTest(shell=shell, program=program.name):
                    self.assertEqual(run(*start, program.name, env=path).stdout, str(program))
                    by_path = run(*start, f"./{program.name}", cwd=self.folder).stdout
                    self.assertIn(by_path, (f"./{program.name}", str(program)))  # bash makes it absolute

    def test_an_empty_part_of_path_is_the_current_folder(self) -> None:
        (self.folder / "here").write_text("#!/bin/sh\necho here\n")
        (self.folder / "here").chmod(0o755)
        for path in ("/usr/bin:/bin:", ":/usr/bin:/bin", "/usr/bin::/bin"):
            self.assertEqual(bigmalloc("run", "here", cwd=self.folder, env={"PATH": path}).stdout, "here\n", path)

    def test_its_files_and_signals_are_as_without_us(self) -> None:
        show = "cat /proc/self/status | grep ^Sig[BI]; ls -l /proc/self/fd | sed 's/.*[0-9] //' | grep -v /proc/"
        for ignored in ("", "HUP INT USR1"):
            ignore = f"trap '' {ignored}; " if ignored else ""
            bare = run("sh", "-c", f'{ignore}exec sh -c "{show}"')
            ours = run("sh", "-c", f'{ignore}exec {COMMAND} run sh -c "{show}"')
            self.assertEqual(re.sub(r"pipe:\S+", "pipe", ours.stdout), re.sub(r"pipe:\S+", "pipe", bare.stdout))

    def test_input_and_output_pass_untouched(self) -> None:
        data = os.urandom(1 << 20)
        for flags in ([], ["--report"]):
            done = subprocess.run(
                [COMMAND, "run", *flags, "cat"], input=data, capture_output=True, env=plain_environment(), check=True
            )
            self.assertEqual(done.stdout, data)


class WhatComesBack(Case):
    def test_the_exit_status(self) -> None:
        for flags in ([], ["--report"]):
            for status in (0, 1, 77, 126, 127, 255):
                self.assert_status(bigmalloc("run", *flags, "sh", "-c", f"exit {status}"), status)

    def test_the_signal_that_ended_it(self) -> None:
        self.assertGreater(len(DEADLY), 50)
        for number in DEADLY:
            die = python(f"import os, signal; {default(number)}; os.kill(os.getpid(), {number})")
            self.assert_status(run(*die), -number)
            self.assert_status(bigmalloc("run", *die), -number)

    def test_an_unknown_flag_is_told_with_the_nearest_one(self) -> None:
        for command in SHELLS.values():
            for flag, near in {"--cach-max=4g": "--cache-max", "--thq": "--thp", "--no-devise": "--no-device"}.items():
                done = run(*command, COMMAND, "run", flag, "true")
                self.assert_one_line_error(done, 2, flag.partition("=")[0], f"did you mean {near}?")
        self.assertNotIn("did you mean", bigmalloc("run", "--qqqqqqqqqqqq", "true").stderr)

    def test_a_flag_that_lacks_its_value_is_told(self) -> None:
        for rest in ([], ["--", "true"], ["--thp=on", "true"], [""]):
            self.assert_one_line_error(bigmalloc("run", "--cache-max", *rest), 2, "--cache-max needs a value")
        self.assert_one_line_error(bigmalloc("run", "--report=", "true"), 2, "--report= names no file")
        self.assertEqual(bigmalloc("run", "--decay-ms", "-1", "printenv", "BIGMALLOC_DECAY_MS").stdout, "-1\n")
        self.assert_one_line_error(bigmalloc("run", "--no-cache-max", "true"), 2, "--no-cache-max")
        self.assert_one_line_error(bigmalloc("run", "-x", "true"), 2, "-x")

    def test_no_program_is_told(self) -> None:
        self.assert_one_line_error(bigmalloc("run"), 2, "which program?")
        self.assert_one_line_error(bigmalloc("run", "--thp=on", "--"), 2, "which program?")

    def test_a_program_that_is_not_there_is_127_and_one_that_cannot_be_executed_126(self) -> None:
        (self.folder / "plain").write_text("text")
        (self.folder / "folder").mkdir()
        path = {"PATH": f"/nowhere:{self.folder}:{os.environ['PATH']}"}
        for flags in ([], ["--report"]):
            for command in SHELLS.values():
                start = [*command, COMMAND, "run", *flags]
                self.assert_one_line_error(run(*start, "no_such_program"), 127, "no_such_program")
                self.assert_one_line_error(run(*start, "./no_such_program"), 127, "no_such_program")
                self.assert_one_line_error(run(*start, "a\n\nb"), 127, "a  b")
                self.assert_one_line_error(run(*start, ""), 127)
                self.assert_one_line_error(run(*start, "folder", env=path), 127, "folder")
                self.assert_one_line_error(run(*start, "plain", env=path), 126, "plain")
                self.assert_one_line_error(run(*start, self.folder / "plain"), 126, "plain")
                self.assert_one_line_error(run(*start, self.folder), 126)

    def test_folders_of_path_are_no_patterns(self) -> None:
        (self.folder / "a").mkdir()
        (self.folder / "a/here").symlink_to("/bin/true")
        for command in SHELLS.values():
            start = [shutil.which(command[0]), *command[1:], COMMAND, "run"]
            self.assert_one_line_error(run(*start, "here", env={"PATH": f"{self.folder}/*"}), 127, "here")

    def test_a_later_folder_of_path_has_it_where_an_earlier_one_has_it_unexecutable(self) -> None:
        (self.folder / "true").write_text("text")
        self.assert_status(bigmalloc("run", "true", env={"PATH": f"{self.folder}:{os.environ['PATH']}"}), 0)

    def test_it_costs_little(self) -> None:
        """Printed, not asserted: a busy machine would decide."""
        for shell, command in SHELLS.items():
            ours = [*command, str(COMMAND), "run", "--cache-max=4g", "--", "/bin/true"]
            least, median = added_ms(ours, ["env", f"LD_PRELOAD={LIBRARY}", "/bin/true"])
            print(f"# {shell}: run takes {median:.2f} ms more than env in the median, {least:.2f} at least")


class Library(Case):
    """Which one it is. The command is copied, so that it lies where each test wants it."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "tree/scripts").mkdir(parents=True)
        self.command = Path(shutil.copy(COMMAND, self.folder / "tree/scripts"))

    def preloaded(self, *command: object, **environment: str) -> str:
        variables = {"BIGMALLOC_LIBRARY": "", **environment}
        done = run(*command, "run", "printenv", "LD_PRELOAD", env=variables, cwd=self.folder / "tree")
        self.assert_status(done, 0)
        return done.stdout.rstrip("\n")

    def provide(self, where: str) -> Path:
        path = self.folder / "tree" / where
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(LIBRARY, path))

    def test_none_is_told(self) -> None:
        done = run(self.command, "run", "true", env={"BIGMALLOC_LIBRARY": ""})
        self.assert_one_line_error(done, 1, "tree/build", "tree/lib", "build it with make")
        for path in ("/no/such.so", str(self.folder)):
            done = run(self.command, "run", "true", env={"BIGMALLOC_LIBRARY": path})
            self.assert_one_line_error(done, 1, f"BIGMALLOC_LIBRARY is {path}")

    def test_the_built_one_however_the_command_is_named(self) -> None:
        built = self.provide("build/libbigmalloc.so")
        (self.folder / "link").symlink_to(self.command)
        (self.folder / "folder").symlink_to(self.folder / "tree")
        path = {"PATH": f"{self.folder / 'tree/scripts'}:{os.environ['PATH']}"}
        self.assertEqual(self.preloaded(self.command), str(built))
        self.assertEqual(self.preloaded("scripts/bigmalloc"), str(built))
        self.assertEqual(self.preloaded("bigmalloc", **path), str(built))
        self.assertEqual(self.preloaded(self.folder / "link"), str(built))
        for name in ("./scripts/../scripts/bigmalloc", "../folder/scripts/bigmalloc"):
            self.assertTrue(os.path.samefile(self.preloaded(name), built), name)
        for shell in SHELLS.values():
            self.assertEqual(self.preloaded(*shell, "scripts/bigmalloc"), str(built))

    def test_the_installed_one(self) -> None:
        installed = self.provide("lib/libbigmalloc.so.1")
        self.assertEqual(self.preloaded(self.command), str(installed))

    def test_the_installed_one_where_the_folder_of_programs_is_a_link(self) -> None:
        installed = self.provide("lib/libbigmalloc.so.1")
        (self.folder / "bin").symlink_to(self.folder / "tree/scripts")
        self.assertTrue(os.path.samefile(self.preloaded(self.folder / "bin/bigmalloc"), installed))

    def test_the_one_that_the_user_names_also_by_a_relative_path(self) -> None:
        self.provide("build/libbigmalloc.so")
        mine = self.provide("my/libbigmalloc.so")
        self.assertEqual(self.preloaded(self.command, BIGMALLOC_LIBRARY=str(mine)), str(mine))
        self.assertEqual(self.preloaded(self.command, BIGMALLOC_LIBRARY="my/libbigmalloc.so"), str(mine))

    def test_a_path_that_cannot_be_preloaded_is_told_and_a_link_to_it_helps(self) -> None:
        for name in ("a b", "a:b", "a$b"):
            odd = self.provide(f"{name}/libbigmalloc.so")
            done = run(self.command, "run", "true", env={"BIGMALLOC_LIBRARY": str(odd)})
            self.assert_one_line_error(done, 1, str(odd), "LD_PRELOAD cannot carry", "BIGMALLOC_LIBRARY")
            link = self.folder / "link.so"
            link.unlink(missing_ok=True)
            link.symlink_to(odd)
            self.assertEqual(self.preloaded(self.command, BIGMALLOC_LIBRARY=str(link)), str(link))

    def test_the_command_may_lie_in_a_folder_with_an_odd_name(self) -> None:
        odd = self.folder / "a b*\n$x"
        shutil.move(self.folder / "tree", odd)
        done = run(odd / "scripts/bigmalloc", "run", "printenv", "LD_PRELOAD")
        self.assertEqual(done.stdout, f"{LIBRARY}\n")


class Help(Case):
    def test_nothing_asked_gives_the_commands_and_status_2(self) -> None:
        done = bigmalloc()
        self.assert_status(done, 2)
        self.assertEqual(done.stdout, "")
        self.assertIn("usage: bigmalloc COMMAND", done.stderr)

    def test_help_names_every_command(self) -> None:
        for words in (["help"], ["--help"], ["-h"]):
            done = bigmalloc(*words)
            self.assert_status(done, 0)
            for command in COMMANDS:
                self.assertRegex(done.stdout, rf"(?m)^  {command} ")

    def test_a_command_tells_about_itself_in_either_way(self) -> None:
        for command in ("run", "options", "doctor"):
            told = bigmalloc("help", command)
            self.assert_status(told, 0)
            self.assertIn(f"usage: bigmalloc {command}", told.stdout)
            self.assertEqual(bigmalloc(command, "--help").stdout, told.stdout)

    def test_an_unknown_command_is_told_with_the_nearest_one(self) -> None:
        self.assert_one_line_error(bigmalloc("rum"), 2, "rum", "did you mean run?")
        self.assert_one_line_error(bigmalloc("help", "metric"), 2, "metric", "did you mean metrics?")
        for word in ("", "zzzzzzzz", "a b", "*", "--frobnicate"):
            self.assert_one_line_error(bigmalloc(word), 2)

    def test_the_version_is_the_library_s(self) -> None:
        declared = re.search(r'VERSION "(.*)"', (ROOT / "pool/version.h").read_text())
        self.assertEqual(bigmalloc("--version").stdout, f"bigmalloc {declared.group(1) if declared else '1.0'}\n")

    def test_a_python_that_is_missing_or_old_is_told(self) -> None:
        for name in ("readlink", "sed"):
            (self.folder / name).symlink_to(shutil.which(name) or "")
        done = bigmalloc("doctor", env={"PATH": str(self.folder)})
        self.assert_one_line_error(done, 1, "needs Python 3.9 or newer")
        (self.folder / "python3").write_text("#!/bin/sh\nexit 1\n")
        (self.folder / "python3").chmod(0o755)
        self.assert_one_line_error(bigmalloc("doctor", env={"PATH": str(self.folder)}), 1, "needs Python 3.9")


class Options(Case):
    def test_every_row_of_the_readme_is_there(self) -> None:
        rows = re.findall(
            r"^\| `(BIGMALLOC\w*)` \| `(.*?)` \| (.*) \| (.*) \|$",
            (ROOT / "README.md").read_text().partition("with BIGMALLOC_PRESET")[0],
            re.MULTILINE,
        )
        self.assertGreater(len(rows), 15)
        text, markdown = bigmalloc("options", env={"COLUMNS": "9999"}), bigmalloc("options", "--markdown")
        self.assert_status(text, 0)
        for variable, default, values, meaning in rows:
            plain = [part.replace("`", "") for part in (meaning, f"values: {values}; default: {default}")]
            self.assertIn("\n    ".join(plain) + "\n", text.stdout)
            self.assertRegex(text.stdout, rf"(?m)^{variable}  --")
            self.assertRegex(markdown.stdout, rf"(?m)^\| `{variable}` \| `--\S+` \| `{re.escape(default)}` \| ")
        self.assertNotIn("now, by the environment", text.stdout)

    def test_what_is_set_is_told_and_whether_the_library_takes_it(self) -> None:
        settings = {
            "COLUMNS": "200",
            "BIGMALLOC_CACHE_MAX": "much",
            "BIGMALLOC_THP": "on",
            "BIGMALLOC_STATS_FILE": "/no/%p",
        }
        for command in SHELLS.values():
            done = run(*command, COMMAND, "options", env=settings)
            self.assertIn("now, by the environment: much (not a value of this option, using 80%)\n", done.stdout)
            self.assertIn("now, by the environment: on\n", done.stdout)
            self.assertIn("now, by the environment: /no/%p\n", done.stdout)
            self.assertEqual(done.stderr, "")

    def test_the_name_of_the_library_does_not_matter(self) -> None:
        library = self.folder / "path" / "libbigmalloc.so"
        library.parent.mkdir()
        shutil.copy(LIBRARY, library)
        done = bigmalloc("options", env={"BIGMALLOC_LIBRARY": str(library), "BIGMALLOC_THP": "much"})
        self.assertIn("much (not a value of this option, using auto)", done.stdout)

    def test_names_of_files_are_not_tried_out(self) -> None:
        target = self.folder / "stats.json"
        bigmalloc("options", env={"BIGMALLOC_STATS_FILE": str(target), "BIGMALLOC_STATS": "json"})
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_variable_that_is_no_option_is_told(self) -> None:
        done = bigmalloc("options", env={"BIGMALLOC_CACHEMAX": "1g"})
        self.assertIn("BIGMALLOC_CACHEMAX: no such option; did you mean BIGMALLOC_CACHE_MAX?\n", done.stdout)

    def test_no_line_is_wider_than_the_terminal(self) -> None:
        done = bigmalloc("options", env={"COLUMNS": "60"})
        self.assertLessEqual(max(map(len, done.stdout.splitlines()[1:])), 60)

    def test_without_a_library_the_table_is_still_told(self) -> None:
        done = bigmalloc("options", env={"BIGMALLOC_LIBRARY": "/none", "BIGMALLOC_THP": "x"})
        self.assert_status(done, 0)
        self.assertIn("now, by the environment: x\n", done.stdout)

    def test_a_word_too_many_is_told(self) -> None:
        self.assert_one_line_error(bigmalloc("options", "cache-max"), 2, "cache-max")


def environment_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Of what env -0 printed."""
    return dict(entry.split("=", 1) for entry in done.stdout.rstrip("\0").split("\0"))


def default(number: int) -> str:
    """Python code after which the signal ends the program without a core file."""
    settle = f"signal.signal({number}, signal.SIG_DFL)" if number not in (signal.SIGKILL, 9) else "pass"
    return f"__import__('resource').setrlimit(4, (0, 0)); {settle}"


def added_ms(ours: list[str], theirs: list[str]) -> tuple[float, float]:
    """What ours takes more than theirs: at least, and in the median; the two take turns."""
    ours_ms, theirs_ms = [], []
    for _ in range(60):
        ours_ms.append(once_ms(ours))
        theirs_ms.append(once_ms(theirs))
    return min(ours_ms) - min(theirs_ms), statistics.median(ours_ms) - statistics.median(theirs_ms)


def once_ms(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=plain_environment(), check=True)
    return (time.perf_counter() - started) * 1000


assert BUILD.is_dir(), f"{BUILD} is no folder: build the library first"
