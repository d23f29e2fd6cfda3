"""`metrics`: a text for Prometheus of all living processes, which none can spoil, and whose counters never fall."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness import COMMAND, LIMIT_S, ROOT, Case, bigmalloc, plain_environment
from live_fixture import MIB, Fixture, PoolRecord, start_ticks, typical, write
from subject import KEPT_BYTES, Subject, needs_live_files

GPU = "GPU-00000000-1111-2222-3333-444444444444"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*)\})? ([0-9.]+)')
# Other processes of this machine may have live files too: those of these tests have ranks that nobody has.
RANKS = 900_000_000

Samples = dict[tuple[str, str], float]


class MetricsCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.live = self.folder / "bigmalloc"
        self.live.mkdir(mode=0o700)
        self.textfiles = self.folder / "textfiles"
        self.textfiles.mkdir()
        self.env = {"XDG_RUNTIME_DIR": str(self.folder)}

    def process(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def samples(self, text: str) -> Samples:
        """Strictly: every line is a comment or a sample, and no sample is there twice."""
        found: Samples = {}
        for line in text.splitlines():
            if line.startswith("# "):
                continue
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            key = (sample[1], sample[2] or "")
            self.assertNotIn(key, found)
            found[key] = float(sample[3])
        return found

    def metrics(self) -> Samples:
        told = bigmalloc("metrics", env=self.env)
        self.assert_status(told, 0)
        return self.samples(told.stdout)


class OneText(MetricsCase):
    def test_names_and_labels_follow_the_rule(self) -> None:
        pools = [*typical().pools, PoolRecord("device", 3, GPU, counters={"miss_us": 1_500_000})]
        write(self.live, Fixture(pid=self.process().pid, rank=RANKS, pools=pools))
        told = self.metrics()
        node, gpu = f'kind="host",node="0",rank="{RANKS}"', f'kind="device",gpu="{GPU}",rank="{RANKS}"'
        expected = {
            ("bigmalloc_requests_total", node): 102,
            ("bigmalloc_hits_total", node): 90,
            ("bigmalloc_misses_total", node): 12,
            ("bigmalloc_idle_bytes", node): 96 * MIB,
            ("bigmalloc_allocated_bytes", node): 288 * MIB,
            ("bigmalloc_allocated_peak_bytes", node): 384 * MIB,
            ("bigmalloc_allocated_acquired_bytes_total", node): 102 * 32 * MIB,
            ("bigmalloc_allocated_released_bytes_total", node): 93 * 32 * MIB,
            ("bigmalloc_missed_bytes_total", node): 12 * 32 * MIB,
            ("bigmalloc_miss_seconds_total", gpu): 1.5,
            ("bigmalloc_request_size_bytes_bucket", f'{node},le="{32 * MIB}"'): 102,
            ("bigmalloc_request_size_bytes_bucket", f'{node},le="{4 * MIB}"'): 0,
            ("bigmalloc_request_size_bytes_bucket", f'{node},le="+Inf"'): 102,
            ("bigmalloc_request_size_bytes_sum", node): 102 * 32 * MIB,
            ("bigmalloc_request_size_bytes_count", node): 102,
        }
        self.assertEqual({key: told.get(key) for key in expected}, expected)

    def test_processes_of_one_rank_and_place_are_one_sample(self) -> None:
        for _ in range(3):
            write(self.live, typical(self.process().pid, rank=RANKS))
        told = self.metrics()
        node = f'kind="host",node="0",rank="{RANKS}"'
        self.assertEqual(told["bigmalloc_hits_total", node], 270)
        self.assertEqual(told["bigmalloc_allocated_peak_bytes", node], 3 * 384 * MIB)
        self.assertGreaterEqual(told["bigmalloc_processes", ""], 3)

    def test_a_device_is_there_once_however_many_use_it(self) -> None:
        for rank, free in enumerate((9, 7, 8)):
            pools = [
                PoolRecord("device", rank, GPU, device_bytes=80 * MIB, device_free_bytes=free * MIB),
                PoolRecord("pinned", rank, GPU, device_free_bytes=free * MIB),
            ]
            write(self.live, Fixture(pid=self.process().pid, rank=RANKS + rank, pools=pools))
        told = self.metrics()
        devices = {key: value for key, value in told.items() if key[0].startswith("bigmalloc_device_")}
        mine = {key: value for key, value in devices.items() if GPU in key[1]}
        gpu = f'gpu="{GPU}"'
        self.assertEqual(
            mine, {("bigmalloc_device_bytes", gpu): 80 * MIB, ("bigmalloc_device_free_bytes", gpu): 7 * MIB}
        )

    def test_what_is_counted_of_processes_is_by_rank_alone(self) -> None:
        for rank, lookups in ((0, 3), (0, 4), (1, 5), (2, 0)):
            counts = {"cuda_lookups": lookups, "cuda_small_bytes": 2 * lookups}
            write(self.live, Fixture(pid=self.process().pid, rank=RANKS + rank, counts=counts))
        told = self.metrics()
        mine = {key: value for key, value in told.items() if "cuda" in key[0] and str(RANKS)[:6] in key[1]}
        expected = {
            ("bigmalloc_cuda_lookups_total", f'rank="{RANKS}"'): 7,
            ("bigmalloc_cuda_lookups_total", f'rank="{RANKS + 1}"'): 5,
            ("bigmalloc_cuda_small_bytes_total", f'rank="{RANKS}"'): 14,
            ("bigmalloc_cuda_small_bytes_total", f'rank="{RANKS + 1}"'): 10,
        }
        self.assertEqual(mine, expected)

    def test_those_that_ended_are_not_in_it(self) -> None:
        process = self.process()
        write(self.live, typical(process.pid, rank=RANKS))
        process.kill()
        process.wait()
        self.assertFalse([key for key in self.metrics() if str(RANKS) in key[1]])

    def test_no_process_can_spoil_the_text_for_the_others(self) -> None:
        hostile = [
            "pool counter hits 128 another family of that name\n",
            "pool counter x{evil} 128 doc\npool counter bad-name 128 doc\n",
            "pool gauge request_size_bytes 128 a family that is a histogram\n",
            "pool gauge missed_bytes 128 of another type than for all others\n",
            "process counter hits 128 of the name of a family of pools\n",
            "process counter device_bytes 128 of the name of one of ours\nprocess counter bad-name 128 doc\n",
            "process counter far 99999 beyond the header\n",
            "process gauge x_bytes 128 of another type than all others\n",
            "pool counter allocated_peak_bytes 128 \\ doc \\n with \x7f and more\n",
        ]
        write(self.live, typical(self.process().pid, rank=RANKS))
        for n, schema in enumerate(hostile):
            pool = PoolRecord(kind='\u00e9"\\\n', uuid='}" 1\nevil 1')
            write(self.live, Fixture(pid=self.process().pid, rank=RANKS + 1 + n, pools=[pool], schema=schema))
        told = bigmalloc("metrics", env=self.env).stdout
        self.samples(told)
        self.assertNotRegex(told, "(?m)^evil")
        self.assertTrue(told.isascii())
        families = re.findall("(?m)^# TYPE ([a-z_]+) ", told)
        self.assertEqual(len(families), len(set(families)))
        for name in re.findall(r"(?m)^([a-z_]+)[{ ]", told):
            self.assertIn(re.sub("_(bucket|sum|count)$", "", name) if "request_size" in name else name, families)

    def test_promtool_finds_nothing_to_say(self) -> None:
        promtool = shutil.which("promtool") or next(map(str, ROOT.glob("build/tools/**/bin/promtool")), None)
        if promtool is None:
            self.skipTest("promtool is not installed")
        write(self.live, typical(self.process().pid, rank=RANKS))
        text = bigmalloc("metrics", env=self.env).stdout
        said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        complaints = [line for line in (said.stdout + said.stderr).splitlines() if "no help text" not in line]
        self.assertEqual((said.returncode, complaints), (0, []))


class Textfile(MetricsCase):
    def start(self, interval: str = "0.1") -> subprocess.Popen[str]:
        command = [COMMAND, "metrics", "--textfile", str(self.textfiles), "--interval", interval]
        metrics = subprocess.Popen(
            command, env=plain_environment() | self.env, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.addCleanup(metrics.communicate)
        self.addCleanup(metrics.kill)
        return metrics

    def file(self) -> Path:
        return self.textfiles / "bigmalloc.prom"

    def wait_for(self, is_it: Callable[[Samples], bool]) -> Samples:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            told = self.samples(self.file().read_text()) if self.file().exists() else {}
            if told and is_it(told):
                return told
            time.sleep(0.05)
        self.fail(f"it did not come to that: {told}")

    def test_the_collector_can_read_it_whatever_the_umask(self) -> None:
        before = os.umask(0o077)
        try:
            self.assert_status(bigmalloc("metrics", "--textfile", self.textfiles, env=self.env), 0)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.file().stat().st_mode), 0o644)
        self.assertEqual([path.name for path in self.textfiles.iterdir()], ["bigmalloc.prom"])

    def test_the_file_is_always_whole(self) -> None:
        write(self.live, typical(self.process().pid, rank=RANKS))
        self.start()
        self.wait_for(lambda told: True)
        inodes, end = set(), time.monotonic() + LIMIT_S
        while len(inodes) < 5 and time.monotonic() < end:
            with self.file().open() as file:
                inodes.add(os.fstat(file.fileno()).st_ino)
                text = file.read()
            self.assertRegex(text, r"\A# HELP [^\0]*\n\Z")
            self.assertIn("bigmalloc_request_size_bytes_count", text.splitlines()[-1])
        self.assertGreaterEqual(len(inodes), 2)

    def test_a_counter_does_not_fall_when_a_process_ends_but_a_gauge_does(self) -> None:
        processes = [self.process() for _ in range(2)]
        paths = [write(self.live, typical(process.pid, rank=RANKS)) for process in processes]
        counter, gauge = (
            (name, f'kind="host",node="0",rank="{RANKS}"')
            for name in ("bigmalloc_hits_total", "bigmalloc_allocated_bytes")
        )
        self.start()
        self.wait_for(lambda told: told.get(counter) == 180)
        for path in paths:
            path.unlink()
            expected = 288 * MIB * len(list(self.live.iterdir()))
            told = self.wait_for(lambda told, expected=expected: told.get(gauge, 0) == expected)  # type: ignore[misc]
            self.assertEqual(told[counter], 180)
        third = self.process()
        write(self.live, typical(third.pid, rank=RANKS))
        self.wait_for(lambda told: told[counter] == 270)

    def test_what_a_process_counted_last_is_kept(self) -> None:
        pid = self.process().pid
        path = write(self.live, typical(pid, rank=RANKS))
        counter = ("bigmalloc_hits_total", f'kind="host",node="0",rank="{RANKS}"')
        self.start()
        self.wait_for(lambda told: told.get(counter) == 90)
        more = typical(pid, rank=RANKS)
        more.pools[0].classes[32 * MIB] = (95, 12, 3, 9)
        self.assertEqual(path.name, f"{pid}-{start_ticks(pid)}")
        path.write_bytes(more.packed())
        self.wait_for(lambda told: told[counter] == 95)
        path.unlink()
        self.wait_for(
            lambda told: not [key for key in told if key[0] == "bigmalloc_idle_bytes" and str(RANKS) in key[1]]
        )
        self.wait_for(lambda told: told[counter] == 95)

    def test_when_it_is_told_to_end_it_leaves_no_stale_file(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                metrics = self.start()
                self.wait_for(lambda told: True)
                metrics.send_signal(number)
                self.assertEqual((metrics.wait(LIMIT_S), list(self.textfiles.iterdir())), (0, []))

    def test_a_folder_that_is_not_there_is_told_in_a_line(self) -> None:
        told = bigmalloc("metrics", "--textfile", self.folder / "absent")
        self.assert_one_line_error(told, 1, "absent/bigmalloc.prom", "no such file")

    def test_what_makes_no_sense_is_told_in_a_line(self) -> None:
        self.assert_one_line_error(bigmalloc("metrics", "--interval", "0"), 2, "--interval")
        self.assert_one_line_error(bigmalloc("metrics", "x"), 2)


class OfRealProcesses(MetricsCase):
    def test_it_says_what_the_process_itself_says(self) -> None:
        """BIGMALLOC_STATS=prom on the signal: the same families with the same documentation and the same values."""
        needs_live_files()
        path = self.folder / "own.prom"
        env = {
            "BIGMALLOC_STATS": "prom",
            "BIGMALLOC_STATS_FILE": str(path),
            "RANK": str(RANKS),
            "BIGMALLOC_HELPER": "off",
        }
        with Subject(env) as subject:
            subject.work()
            if "BIGMALLOC_STATS" in subject.said():
                self.skipTest("the library has no BIGMALLOC_STATS=prom")
            self.assert_status(bigmalloc("stat", subject.pid, "--dump"), 0)
            end = time.monotonic() + LIMIT_S
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.02)
            merged, own = bigmalloc("metrics").stdout, path.read_text()
        mine = f'rank="{RANKS}"'
        ours = {key: value for key, value in self.samples(merged).items() if mine in key[1]}
        theirs = {key: value for key, value in self.samples(own).items() if key[0] != "bigmalloc_info"}
        self.assertEqual(ours, theirs)
        self.assertEqual(ours["bigmalloc_allocated_bytes", f'kind="host",node="0",{mine}'], KEPT_BYTES)
        heads = [set(re.findall("(?m)^# .*", text)) for text in (merged, own)]
        self.assertEqual({line for line in heads[1] - heads[0] if "bigmalloc_info" not in line}, set())
