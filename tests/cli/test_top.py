"""`top` as a person uses it: in a terminal (tmux), with keys, in windows of any size; and without a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from harness import COMMAND, LIMIT_S, ROOT, Case, bigmalloc, needs, plain_environment
from live_fixture import MIB, Fixture, PoolRecord, start_ticks, typical, write

GPU = "GPU-00000000-1111-2222-3333-444444444444"
sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import screens, terminal  # noqa: E402


class TopCase(Case):
    """With processes that live, and live files that say of them what we like."""

    def setUp(self) -> None:
        super().setUp()
        self.live = self.folder / "bigmalloc"
        self.live.mkdir(mode=0o700)
        self.env = {"XDG_RUNTIME_DIR": str(self.folder)}

    def process(self) -> int:
        process = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process.pid

    def write_busy_one(self) -> int:
        """Four times as much live as a typical one, on a node and on a device."""
        pid = self.process()
        host = PoolRecord(gauges={"allocated_bytes": (1152 * MIB, 0, 1152 * MIB)}, classes={4 * MIB: (5, 5, 0, 0)})
        device = PoolRecord(kind="device", uuid=GPU, gauges={"allocated_bytes": (64 * MIB, 0, 64 * MIB)})
        write(self.live, Fixture(pid=pid, command="trainer", rank=0, pools=[host, device]))
        return pid

    def write_typical_one(self) -> int:
        pid = self.process()
        write(self.live, typical(pid, command="server", rank=1))
        return pid


class AsText(TopCase):
    def test_without_a_terminal_it_prints_once_and_ends(self) -> None:
        pid = self.write_typical_one()
        told = bigmalloc("top", env=self.env)
        self.assert_status(told, 0)
        self.assertRegex(told.stdout, rf"(?m)^ *{pid} +1 +288 MiB +96.0 MiB .* 88\.2 % .* server$")

    def test_numbers_stand_below_each_other(self) -> None:
        pids = [self.write_typical_one(), self.write_busy_one()]
        lines = bigmalloc("top", env=self.env).stdout.splitlines()
        rows = [line for line in lines if re.match(rf" *({pids[0]}|{pids[1]}) ", line)]
        head = next(line for line in lines if "COMMAND" in line)
        for column in ("LIVE", "IDLE", "RESIDENT", "GPU LIVE", "HITS", "REQ/S", "MISS/S"):
            end = head.index(column) + len(column)
            for row in rows:
                self.assertRegex(row[end - 1 : end + 2], r"\S(  )?$", f"{column} in {row}")
        self.assertEqual(len({row.index(name) for row, name in zip(rows, ("trainer", "server"))}), 1)

    def test_the_largest_comes_first(self) -> None:
        self.write_typical_one()
        self.write_busy_one()
        self.assertRegex(bigmalloc("top", env=self.env).stdout, r"(?s)1\.12 GiB .*trainer.*288 MiB .*server")

    def test_one_process_is_told_with_its_nodes_devices_and_sizes(self) -> None:
        told = bigmalloc("top", self.write_busy_one(), env=self.env).stdout
        self.assertRegex(told, r"\Atrainer, process \d+, rank 0, running for ")
        self.assertIn("sleep 1000", told)
        self.assertRegex(told, r"(?m)^node 0 +\[\|+ *\] +live 1\.12 GiB")
        self.assertRegex(told, r"(?m)^device 0 +\[\|+ *\] +live 64\.0 MiB")
        self.assertRegex(told, r"(?m)^ *4\.00 MiB +5 +5 +0 ")

    def test_bars_are_as_long_as_what_they_show(self) -> None:
        told = bigmalloc("top", self.write_two_nodes(), env=self.env).stdout
        bars = re.findall(r"\[([|: ]+)\]", told)
        self.assertEqual([(bar.count("|"), bar.count(":"), len(bar)) for bar in bars], [(16, 16, 32), (8, 0, 32)])

    def write_two_nodes(self) -> int:
        pid = self.process()
        full = PoolRecord(idle_bytes=40 * MIB, gauges={"allocated_bytes": (40 * MIB, 0, 40 * MIB)})
        part = PoolRecord(id=1, gauges={"allocated_bytes": (20 * MIB, 0, 20 * MIB)})
        write(self.live, Fixture(pid=pid, pools=[full, part]))
        return pid

    def test_events_are_told_with_what_they_mean(self) -> None:
        pool = PoolRecord(counters={"pressure_events": 3, "emergencies": 1, "released_bytes": 5 * MIB})
        pid = self.process()
        write(self.live, Fixture(pid=pid, pools=[pool]))
        told = bigmalloc("top", pid, env=self.env).stdout
        self.assertIn("pressure  3 events, 1 emergency", told)
        self.assertRegex(told, r"(?m)^pressure events +3 .* times that memory was found short$")
        self.assertRegex(told, r"(?m)^released +5\.00 MiB ")

    def test_it_counts_and_waits_as_asked(self) -> None:
        self.write_typical_one()
        began = time.monotonic()
        told = bigmalloc("top", "--count", "3", "--interval", "0.2", env=self.env)
        self.assertEqual(told.stdout.count("bigmalloc: "), 3)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_rates_are_those_between_two_looks(self) -> None:
        pid = self.process()
        path = write(self.live, typical(pid, command="server"))
        with subprocess.Popen(
            [COMMAND, "top", str(pid), "--count", "2", "--interval", "1"],
            env=plain_environment() | self.env,
            stdout=subprocess.PIPE,
            text=True,
        ) as top:
            assert top.stdout is not None
            first = "".join(iter(top.stdout.readline, "\n")) + top.stdout.readline()
            more = typical(pid, command="server")
            more.pools[0].classes[32 * MIB] = (140, 12, 3, 9)
            path.write_bytes(more.packed())
            second = top.stdout.read()
        self.assertIn("requests  102", first)
        rate = re.search(r"requests  152, ([\d.]+)/s", second)
        assert rate is not None, second
        self.assertTrue(10 <= float(rate[1]) <= 51, rate[1])  # 50 in a second, and somewhat more on a busy machine
        self.assertIn("now 100.0 %", second)

    def test_what_makes_no_sense_is_told_in_a_line(self) -> None:
        self.assert_one_line_error(bigmalloc("top", "--interval", "0"), 2, "--interval")
        self.assert_one_line_error(bigmalloc("top", "--count", "0"), 2, "--count")
        self.assert_one_line_error(bigmalloc("top", "x"), 2, "PID")
        self.assert_one_line_error(bigmalloc("top", "999999999"), 1, "no process 999999999")

    def test_a_process_without_the_library_is_told_so(self) -> None:
        self.assert_one_line_error(bigmalloc("top", self.process()), 1, "no live file", "bigmalloc run")

    def test_a_reader_that_goes_away_is_no_failure(self) -> None:
        self.write_typical_one()
        told = subprocess.run(
            f"{COMMAND} top --count 100 --interval 0.05 | head -n 1",
            shell=True,
            env=plain_environment() | self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((told.returncode, told.stderr), (0, ""))


class OnTerminal(TopCase):
    def setUp(self) -> None:
        super().setUp()
        needs("tmux")
        self.tmux_command = ["tmux", "-S", str(self.folder / "tmux"), "-f", "/dev/null"]
        self.addCleanup(self.tmux, "kill-server")

    def tmux(self, *words: str) -> str:
        command = [*self.tmux_command, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S).stdout

    def start(self, arguments: str = "", columns: int = 110, rows: int = 30, term: str = "") -> None:
        """In a shell, which tells the state of the terminal before and after."""
        named = {"TERM": term} if term else {}
        ours = {name: value for name, value in plain_environment().items() if name != "TERM"}
        env = " ".join(f"{name}='{value}'" for name, value in (ours | self.env | named).items())
        script = self.folder / "session.sh"
        script.write_text(
            f"trap : INT\nstty -g > before\nenv -i TERM=$TERM {env} {COMMAND} top --interval 0.2 {arguments}\n"
            "echo status=$?\nstty -g > after\necho done\ncat\n"
        )
        size = ["-x", str(columns), "-y", str(rows)]
        self.tmux("new-session", "-d", *size, f"cd {self.folder} && sh {script}")

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait_for(self, pattern: str) -> str:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            screen = self.screen()
            if re.search(pattern, screen):
                return screen
            time.sleep(0.05)
        self.fail(f"{pattern!r} is not on the screen:\n{self.screen()}")

    def keys(self, *names: str) -> None:
        self.tmux("send-keys", *names)

    def assert_restored(self, status: int = 0) -> None:
        screen = self.wait_for("done")
        self.assertIn(f"status={status}", screen)
        before, after = ((self.folder / name).read_text() for name in ("before", "after"))
        self.assertEqual(before, after)

    def test_q_quits_and_leaves_the_terminal_as_it_was(self) -> None:
        self.write_typical_one()
        self.start()
        screen = self.wait_for("server")
        self.assertRegex(screen, "q quit .* every 0.2 s")
        self.keys("q")
        self.assert_restored()
        self.assertNotIn("COMMAND", self.screen())

    def test_control_c_leaves_the_terminal_as_it_was(self) -> None:
        self.start()
        self.wait_for("q quit")
        self.keys("C-c")
        self.assert_restored(130)

    def test_being_told_to_end_leaves_the_terminal_as_it_was(self) -> None:
        self.start()
        self.wait_for("q quit")
        pid = next(
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if cmdline(path).endswith("top --interval 0.2") and self.is_ours(path.parent)
        )
        subprocess.run(["kill", "-TERM", pid], check=True)
        self.assert_restored(143)

    def is_ours(self, process: Path) -> bool:
        try:
            return str(self.folder).encode() in (process / "environ").read_bytes()
        except OSError:
            return False

    def test_a_process_is_chosen_looked_at_and_left(self) -> None:
        self.write_busy_one()
        self.write_typical_one()
        self.start()
        self.wait_for("(?s)trainer.*server")
        self.keys("Down", "Enter")
        self.wait_for("(?s)server, process.*32.0 MiB +90 +12 +3")
        self.keys("Escape")
        self.wait_for("COMMAND")
        self.keys("q")
        self.assert_restored()

    def test_s_sorts_by_the_next_column_and_r_the_other_way_round(self) -> None:
        self.write_busy_one()
        self.write_typical_one()
        self.start()
        self.wait_for("(?s)trainer.*server")
        self.keys("s")  # by idle bytes, of which only the server has any
        self.wait_for("(?s)server.*trainer")
        self.keys("r")
        self.wait_for("(?s)trainer.*server")

    def test_help_tells_the_keys(self) -> None:
        self.start()
        self.wait_for("q quit")
        self.keys("h")
        self.wait_for(r"up, down +choose a line")
        self.keys("h")
        self.wait_for("q quit")

    def test_plus_and_minus_change_how_often_it_looks(self) -> None:
        self.start()
        self.wait_for("every 0.2 s")
        self.keys("-", "-")
        self.wait_for("every 1 s")
        self.keys("+")
        self.wait_for("every 0.5 s")

    def test_the_screen_follows_what_processes_do(self) -> None:
        pid = self.write_typical_one()
        self.start()
        self.wait_for("288 MiB")
        more = typical(pid, command="server")
        more.pools[0].gauges["allocated_bytes"] = (640 * MIB, 0, 640 * MIB)
        (self.live / f"{pid}-{start_ticks(pid)}").write_bytes(more.packed())
        self.wait_for("640 MiB")

    def test_a_process_that_ends_leaves_the_list_and_stays_where_it_is_looked_at(self) -> None:
        pid = self.write_typical_one()
        self.start(str(pid))
        self.wait_for("server, process .* running")
        (self.live / f"{pid}-{start_ticks(pid)}").unlink()
        self.wait_for("server, process .* ended")
        self.keys("Escape")
        screen = self.wait_for("COMMAND|No process")
        self.assertNotIn("server", screen)

    def test_every_size_of_window_will_do(self) -> None:
        self.write_typical_one()
        self.start()
        self.wait_for("server")
        for columns, rows in ((40, 8), (20, 4), (1, 1), (2, 3), (200, 60)):
            self.tmux("resize-window", "-x", str(columns), "-y", str(rows))
            time.sleep(0.3)  # for it to draw, or to fail
        self.wait_for("(?s)node 0.*server.*q quit")
        self.keys("q")
        self.assert_restored()

    def test_it_works_without_colours_and_without_a_known_terminal(self) -> None:
        self.write_typical_one()
        for term, seen in (("vt100", "q quit"), ("nonesuch", "this terminal cannot be used"), ("dumb", "status=0")):
            with self.subTest(term=term):
                self.tmux_command[2] = str(self.folder / f"tmux-{term}")  # the last one may still end
                self.start(term=term)
                self.wait_for(seen)
                self.tmux("kill-server")


def cmdline(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


class Fitting(Case):
    def screen_of(self, top: int, rows: int, chosen: int | None = None, first: int = 0) -> screens.Screen:
        return screens.Screen(
            [screens.plain(f"top {n}") for n in range(top)],
            [screens.plain(f"row {n}") for n in range(rows)],
            chosen,
            first,
        )

    def fitted(self, screen: screens.Screen, height: int) -> list[str]:
        return [screens.text_of(line) for line in terminal.fitted(screen, "hint", height)]

    def test_it_is_as_high_as_the_window(self) -> None:
        for height in range(40):
            for rows in (0, 1, 5, 50):
                with self.subTest(height=height, rows=rows):
                    self.assertEqual(len(self.fitted(self.screen_of(4, rows, 0), height)), height)

    def test_the_chosen_row_is_always_seen(self) -> None:
        for height in range(1, 30):
            for chosen in range(20):
                with self.subTest(height=height, chosen=chosen):
                    self.assertIn(f"row {chosen}", self.fitted(self.screen_of(4, 20, chosen), height))

    def test_in_a_low_window_the_rows_win_over_the_top(self) -> None:
        self.assertEqual(self.fitted(self.screen_of(9, 9, 0), 5), ["top 8", "row 0", "row 1", "row 2", "hint"])

    def test_it_never_scrolls_beyond_the_end(self) -> None:
        self.assertEqual(self.fitted(self.screen_of(0, 4, None, 99), 4), ["row 1", "row 2", "row 3", "hint"])
