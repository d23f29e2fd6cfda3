"""`report`: of one process and of many, by every way in which programs become many."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from harness import Case, bigmalloc, needs
from live_fixture import MIB, Fixture, PoolRecord, typical, write
from subject import Subject, needs_live_files, python_with, run_program

Json = dict[str, Any]
GAUGES = ("allocated_bytes", "requested_bytes", "reserved_bytes")
LEVELS = ("kind", "id", "classes", "mappings", "fragmentation", "idle_bytes", "uuid", "pci_address", "device_bytes", "device_free_bytes")

# What every process of these programs does: some large requests, more of them with a higher number.
WORK = "def work(n):\n    keep = [bytearray((4 + i % 5) << 20) for i in range(8 + 8 * n)]\n"


class Merging(Case):
    def report(self, *words: object) -> Json:
        told = bigmalloc("report", "--json", *(words or (self.folder,)))
        self.assert_status(told, 0)
        return dict(json.loads(told.stdout))

    def run_script(self, text: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        script = self.folder / "program.py"
        script.write_text(text)
        run_program(self.folder, [*(arguments or (sys.executable,)), str(script)], env)

    def assert_is_the_sum(self, least: int) -> Json:
        """Of the dumps, added here by hand; there are at least so many processes."""
        dumps = [json.loads(path.read_text()) for path in sorted(self.folder.glob("stats.*.json"))]
        report, pools = self.report(), [pool for dump in dumps for pool in dump["pools"]]
        self.assertGreaterEqual(len(dumps), least)
        self.assertEqual(sorted(one["pid"] for one in report["processes"]), sorted(dump["pid"] for dump in dumps))
        for name in ("requests", "hits", "misses", "failures", "passed", "oom_retries"):
            self.assertEqual(report["totals"][name], sum(dump["totals"][name] for dump in dumps), name)
        figures = report["figures"]
        for name in GAUGES:
            for part in ("allocated", "freed"):
                self.assertEqual(figures[name][part], sum(pool[name][part] for pool in pools))
            peaks = [pool[name]["peak"] for pool in pools]
            self.assertEqual(
                (figures[name]["peak"], figures[name].get("peak_bound", peaks[0])), (max(peaks), sum(peaks))
            )
        for name in pools[0].keys() - set(GAUGES) - set(LEVELS):
            self.assertEqual(figures[name], sum(pool[name] for pool in pools), name)
        for one in figures["classes"]:
            parts = [part for pool in pools for part in pool["classes"] if part["size"] == one["size"]]
            self.assertEqual(one, {name: sum(part[name] for part in parts) for name in one} | {"size": one["size"]})
        return report

    def assert_ranks(self, report: Json, ranks: set[int]) -> None:
        self.assertLessEqual(ranks, {one["rank"] for one in report["processes"]})
        text = bigmalloc("report", self.folder).stdout
        self.assertIn(f"of {len(ranks)} ranks", text.splitlines()[0])
        for rank in ranks:
            self.assertRegex(text, rf"(?m)^ *{rank} +\d+  \S")

    # ---- ways to become many ----

    def multiprocessing(self, method: str) -> Json:
        self.run_script(
            f"import multiprocessing\n{WORK}"
            "if __name__ == '__main__':\n"
            f"    context = multiprocessing.get_context('{method}')\n"
            "    children = [context.Process(target=work, args=(n,)) for n in range(3)]\n"
            "    work(1)\n    kept = bytearray(32 << 20)\n"
            "    [child.start() for child in children]\n    [child.join() for child in children]\n"
        )
        return self.assert_is_the_sum(4)

    def test_children_of_multiprocessing_by_spawn(self) -> None:
        report = self.multiprocessing("spawn")
        self.assertEqual(report["host"]["shared_bytes"], 0)

    def test_children_of_multiprocessing_by_forkserver(self) -> None:
        self.multiprocessing("forkserver")

    def test_children_of_multiprocessing_by_fork_share_memory_which_counts_once(self) -> None:
        report = self.multiprocessing("fork")
        self.assertGreaterEqual(report["host"]["shared_bytes"], 3 * 32 * MIB)
        bound = report["figures"]["allocated_bytes"]["peak_bound"] - report["host"]["shared_bytes"]
        self.assertEqual(report["host"]["peak_bound_bytes"], bound)

    def test_ranks_of_torchrun(self) -> None:
        python = python_with("torch")
        self.run_script(
            "import torch, torch.distributed as dist\n"
            "dist.init_process_group('gloo')\n"
            "x = torch.ones(4 << 20) * dist.get_rank()\n"
            "[dist.all_reduce(x) for _ in range(5)]\n"
            "dist.destroy_process_group()\n",
            *(python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        )
        self.assert_ranks(self.assert_is_the_sum(2), {0, 1})

    def test_ranks_of_mpirun(self) -> None:
        needs("mpirun")
        mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "btl", "self,tcp", "-n", "2"]
        self.run_script(f"{WORK}work(2)\n", *mpirun, sys.executable)
        self.assert_ranks(self.assert_is_the_sum(2), {0, 1})

    def test_workers_of_dask(self) -> None:
        python = python_with("dask", "distributed")
        self.run_script(
            "import os\nfrom dask.distributed import Client, LocalCluster\n"
            "def work(n):\n    return len(bytearray(8 << 20)) and os.getpid()\n"
            "if __name__ == '__main__':\n"
            "    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:\n"
            "        with Client(cluster) as client:\n"
            "            client.wait_for_workers(2)\n"
            "            workers = list(client.scheduler_info()['workers'])\n"
            "            done = [client.submit(work, n, workers=[workers[n % 2]], pure=False) for n in range(8)]\n"
            "            assert len(set(client.gather(done))) == 2\n",
            python,
        )
        self.assert_is_the_sum(2)

    def test_workers_of_a_data_loader(self) -> None:
        python = python_with("torch")
        self.run_script(
            "import torch\nfrom torch.utils.data import DataLoader, Dataset\n"
            "class Images(Dataset):\n"
            "    def __len__(self): return 16\n"
            "    def __getitem__(self, n): return torch.ones(1 << 18)\n"
            "if __name__ == '__main__':\n"
            "    kept = torch.ones(8 << 20)\n"
            "    assert sum(1 for _ in DataLoader(Images(), batch_size=4, num_workers=2)) == 4\n",
            python,
            env={"RANK": "0"},
        )
        report = self.assert_is_the_sum(1)
        self.assertEqual({one["rank"] for one in report["processes"]}, {0})

    # ---- what is left ----

    def test_a_killed_process_is_reported_from_what_its_live_file_says(self) -> None:
        needs_live_files()
        with Subject() as subject:
            subject.work()
            live = self.report(subject.pid)
            subject.kill()
            killed = self.report(subject.pid)
        self.assertEqual([live["processes"][0]["state"], killed["processes"][0]["state"]], ["running", "killed"])
        self.assertEqual(killed["figures"], live["figures"])


class Text(Case):
    def device(self, pid: int, uuid: str, ordinal: int, live: int) -> None:
        host = PoolRecord(gauges={"allocated_bytes": (live, 0, live)}, counters={"miss_us": 100})
        device = PoolRecord("device", ordinal, uuid, gauges={"allocated_bytes": (8 * MIB, 0, 8 * MIB)})
        write(self.folder, Fixture(pid=pid, rank=pid - 900_000_000, pools=[host, device]))

    def ranks(self) -> None:
        for n in range(4):
            self.device(900_000_000 + n, f"GPU-{n // 2}", n % 2, (16 if n != 2 else 640) * MIB)

    def test_devices_are_merged_by_uuid(self) -> None:
        self.ranks()
        text = bigmalloc("report", self.folder).stdout
        self.assertRegex(text, r"(?m)^device 0 GPU-0 +16\.0 MiB +0 B +8\.00 MiB +16\.0 MiB ")
        self.assertEqual(len(re.findall("(?m)^device ", text)), 2)

    def test_totals_add_and_peaks_are_told_with_their_bounds(self) -> None:
        self.ranks()
        text = bigmalloc("report", self.folder).stdout
        self.assertIn("peak       640 MiB in the largest process; 688 MiB in all, if they", text)
        self.assertRegex(text, r"(?m)^node 0 +688 MiB +0 B +640 MiB +688 MiB ")

    def test_a_rank_that_stands_out_is_named(self) -> None:
        self.ranks()
        text = bigmalloc("report", self.folder).stdout
        self.assertRegex(text, r"(?m)^python 900000002, rank 2 +peak +640 MiB +16\.0 MiB$")

    def test_what_is_live_at_the_end_is_told_but_not_what_was_inherited(self) -> None:
        for pid, inherited in ((900_000_000, 0), (900_000_001, 16 * MIB)):
            pool = PoolRecord(
                gauges={"allocated_bytes": (16 * MIB, 0, 16 * MIB)}, counters={"inherited_bytes": inherited}
            )
            write(self.folder, Fixture(pid=pid, pools=[pool]))
        still_live = bigmalloc("report", self.folder).stdout.partition("Still live")[2].partition("Sizes")[0]
        self.assertRegex(still_live, r"python 900000000 +node 0 +16\.0 MiB")
        self.assertNotIn("900000001", still_live)

    def test_blocks_that_are_live_are_told_by_size_where_the_dump_knows(self) -> None:
        told = bigmalloc("report", "--json", write(self.folder, typical(900_000_000)))
        dump = json.loads(told.stdout)["processes"][0]
        dump["pools"][0]["classes"][0]["live"] = 9
        path = self.folder / "stats.json"
        path.write_text(json.dumps(dump))
        self.assertRegex(bigmalloc("report", path).stdout, r"(?m)^python 900000000 +node 0 +288 MiB +9 of 32\.0 MiB$")

    def test_markdown_has_tables_that_names_cannot_break(self) -> None:
        write(self.folder, typical(900_000_000, command="a|b<i>`c"))
        self.device(900_000_001, "GPU-1", 0, MIB)
        lines = bigmalloc("report", "--markdown", self.folder).stdout.splitlines()
        tables = [line for line in lines if line.startswith("|")]
        head = next(line for line in tables if "COMMAND" in line)
        row = next(line for line in tables if "900000000" in line)
        self.assertEqual(len(re.findall(r"(?<!\\)\|", row)), head.count("|"))
        self.assertIn(r"a\|b&lt;i>\`c", row)
        self.assertTrue(lines[0].startswith("## "))

    def test_columns_stand_below_each_other(self) -> None:
        self.ranks()
        lines = bigmalloc("report", self.folder).stdout.splitlines()
        head = next(n for n, line in enumerate(lines) if "REQUESTS" in line and "PID" in line)
        for title in ("RANK", "PID", "REQUESTS", "HITS", "MISSES", "PEAK", "LIVE"):
            end = lines[head].index(f"{title} ") + len(title)
            for row in lines[head + 1 : head + 5]:
                self.assertRegex(row[end - 1 : end + 1], r"\S ", f"{title} in {row!r}")


class Usage(Case):
    def test_what_makes_no_sense_is_told_in_a_line(self) -> None:
        for words in (["report"], ["report", "--json", "--markdown", "x"], ["report", "--nonsense"]):
            with self.subTest(words=words):
                self.assert_one_line_error(bigmalloc(*words), 2)

    def test_a_folder_without_statistics_is_told_in_a_line(self) -> None:
        self.assert_one_line_error(bigmalloc("report", self.folder), 1, "nothing to report", "BIGMALLOC_STATS=json")
        Path(self.folder / "notes.txt").write_text("nothing of ours")
        self.assert_one_line_error(bigmalloc("report", self.folder), 1, "nothing to report")
