"""`stat`: the figures of a process as its live file has them, what changes, and the signal that must never kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

from harness import COMMAND, LIMIT_S, Case, bigmalloc, plain_environment
from live_fixture import MIB, typical, write
from subject import KEPT_BYTES, Subject, needs_live_files

GAUGES = ("allocated_bytes", "requested_bytes", "reserved_bytes")
COUNTERS = {"missed_bytes", "miss_us", "recycled_blocks", "recycled_bytes", "moves", "released_bytes", "idle_bytes"}


class OfRealProcesses(Case):
    def setUp(self) -> None:
        super().setUp()
        needs_live_files()

    def json_env(self) -> dict[str, str]:
        return {"BIGMALLOC_STATS": "json", "BIGMALLOC_STATS_FILE": str(self.folder / "stats.%n.json")}

    def dumped(self, n: int = 0) -> dict[str, object]:
        """The dump that the process writes, as soon as it is whole."""
        path, end = self.folder / f"stats.{n}.json", time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                return dict(json.loads(path.read_text()))
            except (OSError, ValueError):
                time.sleep(0.02)
        self.fail(f"{path} was not written")

    def test_the_live_file_says_what_the_dump_of_the_same_instant_says(self) -> None:
        with Subject(self.json_env() | {"BIGMALLOC_HELPER": "off"}) as subject:
            subject.work()
            live = json.loads(bigmalloc("stat", subject.pid, "--json").stdout)
            self.assert_status(bigmalloc("stat", subject.pid, "--dump"), 0)
            dump = self.dumped()
        for name in ("command", "pid", "host", "rank", "start_ticks", "boot_id"):
            self.assertEqual(live[name], dump[name], name)
        self.assertEqual(live["totals"], dump["totals"])
        self.assertEqual(comparable(live), comparable(dump))
        self.assertEqual(live["pools"][0]["allocated_bytes"]["current"], KEPT_BYTES)

    def test_the_live_file_says_what_the_text_of_the_same_instant_says(self) -> None:
        path = self.folder / "stats.txt"
        settings = {"BIGMALLOC_STATS": "text", "BIGMALLOC_STATS_FILE": str(path), "BIGMALLOC_HELPER": "off"}
        with Subject(settings) as subject:
            subject.work()
            live = json.loads(bigmalloc("stat", subject.pid, "--json").stdout)
            self.assert_status(bigmalloc("stat", subject.pid, "--dump"), 0)
            end = time.monotonic() + 20
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.02)
            text = path.read_text()
        totals, pool = live["totals"], live["pools"][0]
        self.assertIn(f"  {totals['requests']} large requests for ", text)
        self.assertIn(f"  {totals['hits']} hits, {totals['misses']} misses, {totals['failures']} failures;", text)
        told = dict(line.split(None, 1) for line in text.splitlines() if line.startswith("  "))
        for name in GAUGES:
            cells = re.findall(r"[\d.]+ [KMGT]?i?B", told[name])
            for cell, part in zip(cells, ("current", "peak", "allocated", "freed"), strict=True):
                self.assert_rounded(cell, pool[name][part], f"{name} {part}")
        for name in COUNTERS & told.keys():
            self.assert_rounded(told[name], pool[name], name)
        self.assertEqual({name for name in COUNTERS if pool[name]} - told.keys(), set(), "not told")
        rows = {(one["size"], one["hits"], one["misses"], one["idle"]) for one in pool["classes"]}
        found = re.findall(r"(?m)^  ([\d.]+) MiB +(\d+) +(\d+) +(\d+)$", text)
        self.assertEqual({(int(float(mib) * MIB), int(h), int(m), int(i)) for mib, h, m, i in found}, rows)

    def assert_rounded(self, told: str, exact: int, name: str) -> None:
        """What is told is a number, or bytes in a unit with one decimal at most."""
        number, unit = (told.split() + [""])[:2]
        if not re.fullmatch("[KMGT]?i?B", unit):
            self.assertEqual(int(number), exact, name)
            return
        size = {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}[unit]
        self.assertAlmostEqual(float(number), exact / size, delta=0.1 if "." in number else 1, msg=name)

    def test_differences_are_what_was_done_in_between(self) -> None:
        with Subject() as subject:
            subject.work()
            began = time.monotonic()
            stat = subprocess.Popen(
                [COMMAND, "stat", str(subject.pid), "--interval", "0.5", "--json"],
                env=plain_environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert stat.stdout is not None
            told = [json.loads(stat.stdout.readline())]
            subject.do("for n in range(50): bytearray(4 << 20)")
            while sum(one["requests"] for one in told) < 50:
                told.append(json.loads(stat.stdout.readline()))
            told.append(json.loads(stat.stdout.readline()))
            took = time.monotonic() - began
            stat.terminate()
            stat.communicate()
        first, last = told[0], told[-1]
        self.assertEqual((first["requests"], first["growth"]["allocated_bytes"]), (0, {"allocated": 0, "freed": 0}))
        self.assertEqual(sum(one["requests"] for one in told), 50)
        self.assertEqual(sum(one["hits"] + one["misses"] for one in told), 50)
        grown = [one["growth"]["requested_bytes"] for one in told]
        self.assertEqual(sum(one["freed"] for one in grown), sum(one["allocated"] for one in grown))
        self.assertEqual((last["requests"], last["live_bytes"]), (0, KEPT_BYTES))
        self.assertGreater(min(one["seconds"] for one in told), 0.4)
        self.assertLess(sum(one["seconds"] for one in told), took)

    def test_differences_end_with_the_process(self) -> None:
        with Subject() as subject:
            subject.work()
            stat = subprocess.Popen(
                [COMMAND, "stat", str(subject.pid), "--interval", "0.1"],
                env=plain_environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert stat.stdout is not None
            self.assertRegex(stat.stdout.readline(), "LIVE +IDLE +RESIDENT")
        stat.communicate(timeout=LIMIT_S)
        self.assertEqual(stat.returncode, 0)

    def test_a_process_that_was_killed_is_told_about(self) -> None:
        with Subject() as subject:
            subject.work()
            subject.kill()
            told = bigmalloc("stat", subject.pid)
            self.assert_one_line_error(bigmalloc("stat", subject.pid, "--dump"), 1, "runs no more (killed)")
            self.assert_one_line_error(bigmalloc("stat", subject.pid, "--interval", "1"), 1, "runs no more (killed)")
        self.assert_status(told, 0)
        self.assertRegex(told.stdout, r"process \d+, killed")
        self.assertIn("live        24.0 MiB", told.stdout)

    def test_a_program_with_a_handler_of_its_own_is_sent_nothing(self) -> None:
        with Subject(prologue="import signal; signal.signal(signal.SIGUSR1, lambda *_: print('HANDLED'))") as subject:
            subject.work()
            self.assert_one_line_error(
                bigmalloc("stat", subject.pid, "--dump"), 1, "sent no signal", "handles it itself"
            )
            subject.do("pass")  # 'HANDLED' would come before its 'done'

    def test_a_program_that_wants_no_signal_survives(self) -> None:
        with Subject({"BIGMALLOC_STATS_SIGNAL": "none"}) as subject:
            subject.work()
            self.assert_one_line_error(bigmalloc("stat", subject.pid, "--dump"), 1, "sent no signal")
            subject.do("pass")

    def test_a_process_without_a_live_file_is_sent_nothing(self) -> None:
        with Subject({"BIGMALLOC_LIVE": "off"}) as subject:
            subject.work()
            for how in ((), ("--dump",)):
                self.assert_one_line_error(
                    bigmalloc("stat", subject.pid, *how), 1, "no live file", "BIGMALLOC_LIVE=off"
                )
            subject.do("pass")


class OfLyingFiles(Case):
    """A live file may be anybody's: no process is killed over what it says."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "bigmalloc").mkdir(mode=0o700)
        self.victim = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(self.victim.wait)
        self.addCleanup(self.victim.kill)

    def assert_no_signal(self, number: int, *words: str) -> Path:
        path = write(self.folder / "bigmalloc", typical(self.victim.pid, header={"dump_signal": number}))
        told = bigmalloc("stat", self.victim.pid, "--dump", env={"XDG_RUNTIME_DIR": str(self.folder)})
        self.assert_one_line_error(told, 1, "sent no signal", *words)
        self.assertIsNone(self.victim.poll())
        return path

    def test_a_signal_that_nobody_handles_is_not_sent(self) -> None:
        self.assert_no_signal(signal.SIGUSR1, "no handler")

    def test_no_other_signal_is_sent(self) -> None:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, 255):
            with self.subTest(number=number):
                self.assert_no_signal(number, "none to dump on")


class Usage(Case):
    def test_what_makes_no_sense_is_told_in_a_line(self) -> None:
        for words in (
            ["stat"],
            ["stat", "x"],
            ["stat", "1", "--count", "3"],
            ["stat", "1", "--interval", "-1"],
            ["stat", "1", "--dump", "--json"],
            ["stat", "1", "--nonsense"],
        ):
            with self.subTest(words=words):
                self.assert_one_line_error(bigmalloc(*words), 2)

    def test_a_process_that_is_not_there_is_told_in_a_line(self) -> None:
        self.assert_one_line_error(bigmalloc("stat", "999999999"), 1, "no process 999999999")


def comparable(dump: dict[str, object]) -> list[dict[str, object]]:
    """Its pools, with what a live file has too."""
    pools = dump["pools"]
    assert isinstance(pools, list)
    return [{name: value for name, value in pool.items() if name not in ("mappings", "idle_bytes")} for pool in pools]
