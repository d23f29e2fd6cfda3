"""run --report: waits, passes signals on, leaves the terminal alone, and reports at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

from harness import COMMAND, LIBRARY, LIMIT_S, TOOL, Case, bigmalloc, needs, plain_environment, run
from subject import needs_live_files

sys.path.insert(0, str(TOOL.parent))
from bigmalloc_tool import waiting  # noqa: E402

PASSED_ON = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2")
# Signals that end a program which does nothing about them, but those of glibc, and what stops or is ignored.
DEADLY = sorted(set(range(1, 65)) - {17, 18, 19, 20, 21, 22, 23, 28, 32, 33})
# Says that it is there, and then which signals it got, until it got TERM, or a line.
LISTENER = """
import os, signal, sys
def write(text):  # print() cannot be entered a second time by a signal
    os.write(1, text.encode() + b'\\n')
def say(number, frame):
    write(signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit(7)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, 'SIG' + name), say)
write('ready')
line = sys.stdin.readline()
write('read ' + line.strip())
"""
LARGE = "x = bytearray(64 << 20); del x; y = bytearray(64 << 20)"
LARGE_CHILD = f"{sys.executable} -c '{LARGE}'"
SYS_EXIT_GROUP = {"x86_64": 231, "aarch64": 94}


class Waiting(Case):
    """TMPDIR is a folder of the test, so that it is seen what is left there."""

    def setUp(self) -> None:
        super().setUp()
        self.temporary = self.folder / "tmp 100%p"
        self.temporary.mkdir()
        self.environment = {"TMPDIR": str(self.temporary)}

    def report(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return bigmalloc("run", *arguments, env=self.environment | environment, cwd=self.folder)

    def tearDown(self) -> None:
        self.assertEqual(list(self.temporary.iterdir()), [], "what is left in TMPDIR")
        super().tearDown()

    def listener(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [COMMAND, "run", "--report", sys.executable, "-c", LISTENER, *PASSED_ON],
            env=plain_environment() | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process


class Programs(Waiting):
    def test_the_signal_that_ended_it_is_told_as_a_shell_does(self) -> None:
        self.assertGreater(len(DEADLY), 50)
        for number in DEADLY:
            settle = "" if number == signal.SIGKILL else f"signal.signal({number}, signal.SIG_DFL);"
            code = (
                f"import os, signal, resource; resource.setrlimit(4, (0, 0)); {settle} os.kill(os.getpid(), {number})"
            )
            self.assert_status(self.report("--report", sys.executable, "-c", code), 128 + number)

    def test_signals_are_passed_on_each_once(self) -> None:
        process = self.listener()
        assert process.stdout is not None
        for name in ("USR1", "INT", "HUP", "QUIT", "USR2", "INT", "TERM"):
            process.send_signal(getattr(signal, f"SIG{name}"))
            self.assertEqual(process.stdout.readline(), f"SIG{name}\n")
        rest, _ = process.communicate(timeout=LIMIT_S)
        self.assertEqual((rest, process.returncode), ("", 7))

    def test_it_reads_its_input(self) -> None:
        rest, _ = self.listener().communicate("hello\n", timeout=LIMIT_S)
        self.assertEqual(rest, "read hello\n")

    def test_its_signals_are_as_without_us(self) -> None:
        show = "grep ^Sig[BI] /proc/self/status"
        for ignored in ("HUP INT", "QUIT TERM"):
            bare = run("sh", "-c", f"trap '' {ignored}; exec {show}")
            ours = run("sh", "-c", f"trap '' {ignored}; exec {COMMAND} run --report {show}", env=self.environment)
            self.assertEqual(ours.stdout, bare.stdout)

    def test_we_ourselves_are_not_preloaded_and_neither_is_the_report(self) -> None:
        code = "import os; print('libbigmalloc' in open(f'/proc/{os.getppid()}/maps').read())"
        self.assertEqual(self.report("--report", sys.executable, "-c", code).stdout, "False\n")


class Reports(Waiting):
    def test_nothing_to_report_is_told_and_the_status_is_the_program_s(self) -> None:
        done = self.report("--report", "sh", "-c", "echo out; exit 3")
        self.assert_status(done, 3)
        self.assertEqual(done.stdout, "out\n")
        self.assertRegex(done.stderr, r"\Abigmalloc run: [^\n]*nothing to report[^\n]*\n\Z")

    def test_the_program_and_its_children_are_in_one_report_on_stderr(self) -> None:
        child = f"{sys.executable} -c '{LARGE}'"
        done = self.report("--report", "sh", "-c", f"{child} & {child}; wait; echo out; exit 5")
        self.assert_status(done, 5)
        self.assertEqual(done.stdout, "out\n")
        self.assertRegex(done.stderr, r"\b2 processes\b")

    def test_a_program_that_was_killed_is_reported_from_its_live_counters(self) -> None:
        needs_live_files()
        done = self.report("--report", sys.executable, "-c", f"{LARGE}; import os; os.kill(os.getpid(), 9)")
        self.assert_status(done, 137)
        self.assertRegex(done.stderr, r"\(process \d+\), killed")
        self.assertIn("requests   2 for 128 MiB", done.stderr)

    def test_children_that_were_killed_are_in_the_report(self) -> None:
        """Also a child of a child, and where the user names the files, relative to a folder that they leave."""
        needs_live_files()
        (self.folder / "child.py").write_text(f"{LARGE}; import os; os.kill(os.getpid(), 9)")
        child = f"{sys.executable} {self.folder}/child.py"
        for names in ({}, {"BIGMALLOC_STATS_FILE": "stats.%h.%p"}, {"BIGMALLOC_STATS_FILE": "all-in-one"}):
            done = self.report("--report", "sh", "-c", f"cd /tmp; sh -c '{child}; true'; {LARGE_CHILD}", **names)
            self.assert_status(done, 0)
            self.assertRegex(done.stderr, r"\b2 processes\b")
            self.assertRegex(done.stderr, r"(?m)\bkilled$")
            self.assertIn("4 for 256 MiB", done.stderr)

    def test_children_that_end_past_all_handlers_are_in_the_report(self) -> None:
        """os._exit, which multiprocessing ends its workers with, and the system call itself."""
        needs_live_files()
        for end in ("os._exit(0)", f"ctypes.CDLL(None).syscall({SYS_EXIT_GROUP[os.uname().machine]}, 0)"):
            code = f"import os, ctypes\nif os.fork() == 0:\n {LARGE}; {end}\nos.wait(); {LARGE}"
            done = self.report("--report", sys.executable, "-c", code)
            self.assertRegex(done.stderr, r"\b2 processes\b", end)

    def test_what_runs_on_is_in_the_report_as_it_is_now(self) -> None:
        needs_live_files()
        code = f"{LARGE}; print('ready', flush=True); import time; time.sleep(100)"
        start = f"{sys.executable} -c \"{code}\" >ready 2>/dev/null </dev/null & echo $!; until [ -s ready ]; do sleep 0.01; done"
        done = self.report("--report", "sh", "-c", start)
        os.kill(int(done.stdout), signal.SIGKILL)
        self.assertRegex(done.stderr, r"\(process \d+\), running")

    def test_others_that_are_killed_meanwhile_are_not_in_the_report(self) -> None:
        needs_live_files()
        other = f"env -u BIGMALLOC_STATS_FILE {sys.executable} -c '{LARGE}; import os; os.kill(os.getpid(), 9)'"
        done = self.report("--report", "sh", "-c", f"{other}; {LARGE_CHILD}")
        self.assertRegex(done.stderr, r"\(process \d+\), ended")

    def test_it_goes_into_a_file_that_is_named(self) -> None:
        for flag in (f"--report={self.folder}/a report", "--report=here"):
            done = self.report(flag, sys.executable, "-c", LARGE)
            self.assert_status(done, 0)
            self.assertEqual((done.stdout, done.stderr), ("", ""))
            path = self.folder / flag.partition("=")[2]
            self.assertRegex(path.read_text(), r"\(process \d+\)")

    def test_its_ending_chooses_the_format(self) -> None:
        for name, beginning in (("r.json", "{"), ("r.md", "#"), ("r.txt", "")):
            self.report(f"--report={name}", sys.executable, "-c", LARGE)
            self.assertRegex((self.folder / name).read_text(), rf"\A{beginning}")

    def test_a_file_that_cannot_be_written_is_told_and_the_status_is_the_program_s(self) -> None:
        done = self.report("--report=/no/folder/x", sys.executable, "-c", f"{LARGE}; raise SystemExit(4)")
        self.assert_one_line_error(done, 4, "/no/folder/x")

    def test_a_process_that_dumped_several_times_counts_once(self) -> None:
        code = f"import os, signal; {LARGE}; os.kill(os.getpid(), signal.SIGUSR1)"
        done = self.report("--report", sys.executable, "-c", code)
        self.assertRegex(done.stderr, r"\(process \d+\)")

    def test_files_of_the_user_are_read_and_stay(self) -> None:
        pattern = f"{self.folder}/mine.%h.%p.json"
        (self.folder / "mine.old.1.json").write_text("not of this run")
        os.utime(self.folder / "mine.old.1.json", (1, 1))
        done = self.report("--report", sys.executable, "-c", LARGE, BIGMALLOC_STATS_FILE=pattern)
        self.assert_status(done, 0)
        self.assertEqual(len(list(self.folder.glob("mine.*.json"))), 2)
        self.assertNotIn("mine.old", done.stderr)
        self.assertRegex(done.stderr, r"\(process \d+\)")

    def test_what_leaves_nothing_to_read_is_refused_before_the_program_starts(self) -> None:
        started = self.folder / "started"
        for variable, value in (("BIGMALLOC_STATS", "text"), ("BIGMALLOC_STATS_FILE", "-")):
            done = self.report("--report", "touch", started, **{variable: value})
            self.assert_one_line_error(done, 2, variable, "leave it out")
        self.assertFalse(started.exists())

    def test_the_last_file_of_each_process_is_taken(self) -> None:
        folder = self.folder / "files"
        folder.mkdir()
        for name in ("h.1.1.json", "h.1.10.json", "h.1.9.json", "h.x.2.1.json", "h.3.x.json"):
            (folder / name).touch()
        found = [path.name for path in waiting.last_of_each_process(folder)]
        self.assertEqual(found, ["h.1.10.json", "h.x.2.1.json"])

    def test_a_pattern_finds_the_names_that_it_makes(self) -> None:
        self.assertEqual(waiting.glob_of("a[1].%p.%q{X Y}%%%n"), "a[[]1].*.*%*")


class Terminal(Waiting):
    """In tmux, as at a desk."""

    def setUp(self) -> None:
        super().setUp()
        needs("tmux")
        self.socket = self.folder / "tmux"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "50", "sh")
        self.tmux("set-option", "-g", "remain-on-exit", "on")
        self.addCleanup(self.tmux, "kill-server")
        (self.folder / "listener.py").write_text(LISTENER)
        self.type("PS1='$ '; cd " + str(self.folder))

    def tmux(self, *words: str) -> str:
        settings = plain_environment() | self.environment | {"TERM": "xterm"}
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], env=settings, capture_output=True, text=True, check=False
        )
        return done.stdout

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def wait_for(self, pattern: str) -> str:
        limit = time.monotonic() + LIMIT_S
        while time.monotonic() < limit:
            screen = self.tmux("capture-pane", "-p")
            if re.search(pattern, screen, re.MULTILINE):
                return screen
            time.sleep(0.05)
        self.fail(f"no {pattern!r} on the screen:\n{screen}")

    def wait_for_the_end(self) -> None:
        """Of the program in the pane. The screen says so, too, but not where the server is late."""
        limit = time.monotonic() + LIMIT_S
        while time.monotonic() < limit and self.tmux("display-message", "-p", "#{pane_dead}").strip() != "1":
            time.sleep(0.05)
        self.assertLess(time.monotonic(), limit, self.tmux("capture-pane", "-p"))

    def start(self, command: str) -> None:
        """On a screen that is empty when it begins, though the shell may be late, and is told the status in the end."""
        self.tmux("send-keys", "-R")
        self.type(f"clear; {command}; echo status $?")
        self.wait_for("^ready$")

    def start_listener(self, flags: str, *names: str) -> None:
        self.start(f"{COMMAND} run {flags} {sys.executable} listener.py {' '.join(names)}")

    def test_ctrl_c_reaches_the_program_once_and_it_goes_on_reading(self) -> None:
        for flags in ("", "--report"):
            self.start_listener(flags, "INT")
            self.tmux("send-keys", "C-c")
            self.wait_for("SIGINT$")
            self.type("hello")
            screen = self.wait_for("^status 0$")
            self.assertEqual(len(re.findall("SIGINT", screen)), 1, screen)
            self.assertIn("read hello", screen)

    def test_what_the_terminal_sends_is_not_passed_on_a_second_time(self) -> None:
        """We are stopped meanwhile: the second of two signals at once would be lost, and not be seen."""
        listener = f"{sys.executable} {self.folder}/listener.py INT USR1"
        self.tmux("respawn-pane", "-k", f"exec {COMMAND} run --report {listener}")
        self.wait_for("^ready$")
        us = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        os.kill(us, signal.SIGSTOP)
        self.tmux("send-keys", "C-c")
        self.wait_for("SIGINT$")
        os.kill(us, signal.SIGUSR1)  # which is taken after SIGINT, as the lower number comes first
        os.kill(us, signal.SIGCONT)
        screen = self.wait_for("^SIGUSR1$")
        self.assertEqual(screen.count("SIGINT"), 1, screen)
        self.type("")
        self.wait_for_the_end()

    def test_ctrl_c_ends_a_program_that_does_nothing_about_it(self) -> None:
        for flags in ("", "--report"):
            self.start(f"{COMMAND} run {flags} sh -c 'echo ready; sleep 100'")
            self.tmux("send-keys", "C-c")
            self.wait_for(r"^status 130$|^\^C\s*\n\$")

    def test_ctrl_z_stops_it_and_fg_lets_it_go_on(self) -> None:
        self.type("set -m")
        self.start_listener("--report")
        self.tmux("send-keys", "C-z")
        self.wait_for("Stopped|status 148")
        self.type("fg")
        self.type("again")
        self.wait_for("^read again$")
        self.wait_for(r"nothing to report")


assert LIBRARY.exists(), f"{LIBRARY} is missing: make it first"
