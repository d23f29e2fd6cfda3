"""Live files and dumps: read as written; and broken, truncated, hostile and strange ones told in a line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

from harness import ROOT, Case, bigmalloc, needs, run
from live_fixture import MIB, POOL_BYTES, POOLS_OFFSET, Fixture, PoolRecord, typical, write

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import dump_file, live_file, sweep
from bigmalloc_tool.errors import FileError
from bigmalloc_tool.model import Gauge, Life, SizeClass

BLOCK = 32 * MIB


class FilesCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.live = self.folder / "bigmalloc"
        self.live.mkdir(mode=0o700)
        self.env = {"XDG_RUNTIME_DIR": str(self.folder)}

    def assert_refused(self, path: Path, *words: str) -> None:
        """By the reader, and by the command in one line."""
        with self.assertRaises(FileError):
            dump_file.read(path) if path.suffix == ".json" else live_file.read(path)
        self.assert_one_line_error(bigmalloc("report", path), 1, str(path), *words)


class LiveFiles(FilesCase):
    def test_everything_in_it_is_read(self) -> None:
        one = live_file.read(write(self.live, typical(7, command="train.py", rank=3, header={"dump_signal": 10})))
        self.assertEqual((one.pid, one.command, one.rank, one.dump_signal, one.threshold), (7, "train.py", 3, 10, MIB))
        figures = one.pools[0].figures
        self.assertEqual(figures.gauge("allocated_bytes"), Gauge.of_one(102 * BLOCK, 93 * BLOCK, 12 * BLOCK))
        self.assertEqual(figures.classes, {BLOCK: SizeClass(BLOCK, 90, 12, 3, 9)})
        self.assertEqual((figures.count("miss_us"), figures.idle_bytes), (1200, 3 * BLOCK))
        self.assertEqual(one.schema[0].doc, "memory that blocks in the program's hands hold")
        self.assertFalse(one.pools[0].is_torn)

    def test_a_pool_that_is_not_in_use_is_skipped(self) -> None:
        path = write(self.live, Fixture(pools=[PoolRecord(in_use=0), PoolRecord(id=1)]))
        self.assertEqual([pool.place.id for pool in live_file.read(path).pools], [1])

    def test_a_figure_of_a_kind_that_nobody_knows_yet_is_skipped(self) -> None:
        schema = "pool gauge allocated_bytes 128 doc\npool colour red 152 doc\nplanet 3 4\nclass 0 200 1048576\n"
        one = live_file.read(write(self.live, Fixture(schema=schema)))
        self.assertEqual(list(one.pools[0].figures.gauges), ["allocated_bytes"])

    def test_a_record_in_the_middle_of_a_change_is_taken_and_said_to_be(self) -> None:
        one = live_file.read(write(self.live, Fixture(pools=[PoolRecord(sequence=3)])))
        self.assertTrue(one.pools[0].is_torn)

    def test_another_version_is_refused(self) -> None:
        self.assert_refused(write(self.live, Fixture(header={"version": 2})), "version 2")

    def test_a_file_of_another_kind_is_refused(self) -> None:
        path = write(self.live, Fixture())
        path.write_bytes(b"\x7fELF" + bytes(1000))
        with self.assertRaisesRegex(FileError, "no live file of bigmalloc"):
            live_file.read(path)
        self.assert_one_line_error(bigmalloc("report", path), 1, str(path), "no statistics of bigmalloc")

    def test_every_truncated_length_is_refused(self) -> None:
        whole = typical().packed()
        path = write(self.live, typical())
        for length in (0, 1, 255, 256, 300, POOLS_OFFSET, POOLS_OFFSET + POOL_BYTES - 1):
            with self.subTest(length=length):
                path.write_bytes(whole[:length])
                with self.assertRaises(FileError):
                    live_file.read(path)
        self.assert_refused(path, "truncated")

    def test_sizes_that_cannot_be_are_refused(self) -> None:
        beyond = {"schema_offset", "schema_bytes", "pools_offset", "pool_bytes"}
        cases = [(name, value) for name in sorted(beyond) for value in ((1 << 64) - 1, 1 << 62, 1 << 32)]
        cases += [("header_bytes", 0), ("header_bytes", 255), ("header_bytes", (1 << 32) - 1)]
        cases += [("pool_bytes", 0), ("pool_bytes", 127), ("pool_count", 2), ("pool_count", (1 << 32) - 1)]
        for name, value in cases:
            with self.subTest(name=name, value=value), self.assertRaises(FileError):
                live_file.read(write(self.live, Fixture(header={name: value})))

    def test_a_schema_that_points_beyond_the_record_is_refused(self) -> None:
        for offset in (POOL_BYTES - 8, POOL_BYTES, 1 << 63, 10**19):
            with self.subTest(offset=offset):
                self.assert_refused(write(self.live, Fixture(schema=f"pool gauge x_bytes {offset} doc\n")), "damaged")

    def test_a_schema_with_numbers_that_are_none_is_refused(self) -> None:
        for word in ("-1", "1_0", "0x10", "1e3", "9" * 30):
            with self.subTest(word=word):
                self.assert_refused(write(self.live, Fixture(schema=f"pool gauge x_bytes {word} doc\n")), "damaged")

    def test_random_damage_never_breaks_the_reader(self) -> None:
        whole = bytearray(typical().packed())
        path = self.live / "1-1"
        chance = random.Random(7)
        for _ in range(2000):
            damaged = bytearray(whole)
            for _ in range(chance.randint(1, 20)):
                where = chance.choice((chance.randrange(256), chance.randrange(2000), chance.randrange(len(whole))))
                damaged[where] = chance.randrange(256)
            path.write_bytes(damaged)
            with contextlib.suppress(FileError):
                live_file.read(path)

    def test_a_file_that_shrinks_while_it_is_read_is_told_and_kills_nobody(self) -> None:
        path = write(self.live, typical())
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        source = live_file.Source(path, fd)
        os.truncate(path, 300)
        with self.assertRaisesRegex(FileError, "shrank"):
            live_file.read_open(source)

    def test_links_folders_and_pipes_are_not_read(self) -> None:
        secret = write(self.folder, typical(5))
        link, pipe, folder = (self.live / f"{n}-1" for n in (1, 2, 3))
        link.symlink_to(secret)
        os.mkfifo(pipe)
        folder.mkdir()
        for path in (link, pipe, folder):
            with self.subTest(path=path), self.assertRaises(FileError):
                live_file.read(path)
        told = bigmalloc("top", "--once", env=self.env)
        self.assert_status(told, 0)

    def test_names_cannot_move_the_cursor(self) -> None:
        hostile = "\x1b[2J\x07\n\u202eevil"
        write(self.live, typical(command=hostile[:9]))
        told = bigmalloc("top", "--once", env=self.env)
        self.assert_status(told, 0)
        self.assertNotRegex(told.stdout, "[\x00-\x09\x0b-\x1f\x7f\u202e]")
        self.assertIn(r"\x1b[2J", told.stdout)


class Whose(FilesCase):
    def life_of(self, **header: int | bytes) -> str:
        path = write(self.live, typical(header=header))
        told = bigmalloc("report", "--json", path)
        self.assert_status(told, 0)
        path.unlink()
        return str(json.loads(told.stdout)["processes"][0]["state"])

    def test_a_process_that_lives_is_running(self) -> None:
        self.assertEqual(self.life_of(), "running")

    def test_one_that_is_not_there_was_killed(self) -> None:
        child = subprocess.Popen(["true"])
        child.wait()
        self.assertEqual(self.life_of(pid=child.pid), "killed")

    def test_one_that_started_at_another_time_was_killed(self) -> None:
        self.assertEqual(self.life_of(start_ticks=1), "killed")

    def test_one_of_another_boot_was_killed(self) -> None:
        self.assertEqual(self.life_of(boot_id=b"0" * 36), "killed")

    def test_one_that_ended_regularly_and_left_its_file_has_ended(self) -> None:
        self.assertEqual(self.life_of(state=2), "ended")

    def test_a_process_in_a_container_is_found_with_both_numbers(self) -> None:
        """A PID namespace with a /dev/shm of its own, into which only /proc/PID/root leads."""
        needs("unshare")
        script = self.folder / "inside.py"
        script.write_text(INSIDE.format(cli=str(ROOT / "tests" / "cli")))
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, str(script)]
        container = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(container.communicate)
        assert container.stdout is not None
        if container.stdout.readline() != b"ready\n":
            self.skipTest("no PID and mount namespaces can be made here")
        told = json.loads(bigmalloc("stat", "--json", self.inner_child(container.pid)).stdout)
        self.assertEqual((told["pid"], told["command"]), (1, "inside"))
        seen = bigmalloc("top", "--once").stdout
        self.assertRegex(seen, rf"\b{self.inner_child(container.pid)} +1 .*inside")

    def inner_child(self, pid: int) -> int:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()[0])


INSIDE = """
import os, pathlib, subprocess, sys
sys.path.insert(0, {cli!r})
import live_fixture
subprocess.run(["mount", "-t", "tmpfs", "shm", "/dev/shm"], check=True)
folder = pathlib.Path("/dev/shm/bigmalloc-0")
folder.mkdir(mode=0o700)
live_fixture.write(folder, live_fixture.typical(command="inside"))
print("ready", flush=True)
sys.stdin.read()
"""


class Sweeping(FilesCase):
    """A folder with files of processes that were killed, which the command looks at."""

    def dead(self, ticks: int, **header: int | bytes) -> Path:
        return write(self.live, typical(header={"start_ticks": ticks, **header}))

    def look(self) -> None:
        self.assert_status(bigmalloc("top", "--once", env=self.env), 0)

    def test_the_newest_64_are_kept(self) -> None:
        old = [self.dead(ticks) for ticks in range(1, 7)]
        for path in old:
            path.chmod(0o400)  # which tells since when they are dead
        new = [self.dead(ticks) for ticks in range(7, 71)]
        latest = max(path.stat().st_ctime_ns for path in old)
        for path in new:
            while path.stat().st_ctime_ns <= latest:  # the clock of files ticks every few milliseconds
                path.chmod(0o400)
        self.look()
        self.assertEqual([path for path in [*old, *new] if path.exists()], new)

    def test_a_file_is_marked_when_its_process_is_first_seen_to_be_dead(self) -> None:
        path = self.dead(1)
        self.look()
        marked = path.stat()
        self.assertEqual(marked.st_mode & 0o777, 0o400)
        self.look()
        self.assertEqual(path.stat().st_ctime_ns, marked.st_ctime_ns)

    def test_what_was_dead_for_a_day_is_removed(self) -> None:
        path, other = self.dead(1), write(self.live, typical())
        self.look()
        with mock.patch("time.time", lambda: path.stat().st_ctime + sweep.DAY_S + 1):
            sweep.sweep(
                [replace(live_file.read(one), life=life) for one, life in ((path, Life.KILLED), (other, Life.RUNNING))]
            )
        self.assertEqual((path.exists(), other.exists()), (False, True))

    def test_the_file_of_a_running_process_stays_as_it_is(self) -> None:
        path = write(self.live, typical())
        self.look()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)


class Dumps(FilesCase):
    def dump(self, text: str, name: str = "stats.json") -> Path:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def good(self, **changes: object) -> str:
        one = live_file.read(write(self.live, typical(7, command="train.py", rank=2)))
        return json.dumps({**dump_file.to_json(one), **changes})

    def test_what_is_written_is_read(self) -> None:
        one = live_file.read(write(self.live, typical(7, command="train.py", rank=2)))
        again = dump_file.read(self.dump(json.dumps(dump_file.to_json(one))))[0]
        self.assertEqual(again.pools, one.pools)
        self.assertEqual(again.identity, one.identity)
        self.assertEqual((again.command, again.rank, again.life), ("train.py", 2, Life.ENDED))

    def test_a_dump_is_found_among_what_a_program_says(self) -> None:
        path = self.dump(f"epoch 1\nwarning: {{\n{self.good()}\nbye\n", "train.log")
        self.assertEqual([one.pid for one in dump_file.read(path)], [7])

    def test_of_several_dumps_the_last_one_of_each_process_counts(self) -> None:
        path = self.dump(self.good(time_unix_us=1) + self.good(pid=8) + self.good(time_unix_us=2), "stats.log")
        found = dump_file.read(path)
        self.assertEqual({one.pid: one.time_unix_us for one in found}[7], 2)
        self.assertEqual(len(found), 2)

    def test_damaged_ones_are_refused(self) -> None:
        pools = json.loads(self.good())["pools"]
        cases = {
            "cut short": self.good()[:-20],
            "version 2": self.good().replace("stats/1", "stats/2"),
            "pid": self.good(pid=-1),
            "where a list": self.good(pools={"a": 1}),
            "where an object": self.good(pools=[7]),
            "no number": self.good(pools=[{**pools[0], "classes": [{"size": 1.5}]}]),
            "allocated": self.good(
                pools=[{**pools[0], "allocated_bytes": {"allocated": 1 << 64, "freed": 0, "peak": 0}}]
            ),
            "no statistics": "{}",
            "damaged": '{"schema": "bigmalloc-stats/1", "pools": ' + "[" * 100_000,
        }
        for word, text in cases.items():
            with self.subTest(word=word):
                self.assert_refused(self.dump(text), word)

    def test_random_damage_never_breaks_the_reader(self) -> None:
        whole, chance = self.good(), random.Random(7)
        for _ in range(500):
            where = chance.randrange(len(whole))
            path = self.dump(whole[:where] + chance.choice('{}[]",:0-9aé\0') + whole[where + chance.randint(0, 3) :])
            with contextlib.suppress(FileError):
                dump_file.read(path)

    def test_missing_unreadable_and_strange_files_are_told_in_a_line(self) -> None:
        os.mkfifo(self.folder / "pipe")
        for name, word in (("absent", "no such file"), ("pipe", "no regular file")):
            with self.subTest(name=name):
                self.assert_one_line_error(bigmalloc("report", self.folder / name), 1, name, word)

    def test_a_damaged_file_does_not_hide_the_others(self) -> None:
        self.dump(self.good(), "stats.1.json")
        self.dump(self.good()[:100], "stats.2.json")
        self.dump("just a text", "notes.txt")
        told = bigmalloc("report", self.folder)
        self.assert_status(told, 1)
        self.assertIn("train.py", told.stdout)
        self.assertRegex(told.stderr, r"\Abigmalloc report: [^\n]*stats.2.json: damaged[^\n]*\n\Z")


class Pythons(FilesCase):
    def test_every_python_from_3_9_on_says_the_same(self) -> None:
        path = write(self.live, typical(7))
        pythons = [sys.executable, *(found for v in range(9, 16) if (found := python_of(v)))]
        told = {run(one, ROOT / "scripts" / "bigmalloc_tool", "report", path).stdout for one in pythons}
        self.assertEqual(len(told), 1, told)
        self.assertIn("served by idle blocks", told.pop())
        if len(pythons) < 3:
            self.skipTest(f"only {len(pythons) - 1} of the versions is here; it passed")


def python_of(version: int) -> str | None:
    """One that works: what pyenv puts on the PATH may only complain."""
    places = [
        shutil.which(f"python3.{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/3.{version}.*/bin/python")),
    ]
    for found in filter(None, places):
        if subprocess.run([found, "-c", "0"], capture_output=True, check=False).returncode == 0:
            return str(found)
    return None
