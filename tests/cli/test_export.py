"""Exports of traces, loaded by what they are for, or by what understands no more than that does."""

from __future__ import annotations

import csv
import io
import json
import pickle
import pickletools
import re
import subprocess
import sys
import unittest
from collections import Counter
from typing import Any

import trace_fixture as fixture
from harness import ROOT, Case, bigmalloc, python_with, run
from test_trace import REQUESTS, traced
from trace_fixture import MIB, Program

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import history, pickles, trace  # noqa: E402
from bigmalloc_tool.trace import Kind  # noqa: E402


def busy() -> Program:
    """All kinds of events, on a node and on a device."""
    program = fixture.training(Program(), steps=12)
    device = program.pool("device", 0, "GPU-7")
    site = program.stack(0x409000)
    for n in range(5):
        block = program.malloc((n + 3) * MIB, site, pool=device)
        program.work(9000)
        program.free(block, thread=99)
    program.fail(80 * MIB)
    program.fail(2 * MIB, fixture.PASSED)
    program.free(program.resize(program.malloc(4 * MIB, site), 6 * MIB, site))
    program.malloc(5 * MIB, site, pool=device)
    return program


class ExportCase(Case):
    def export(self, format_: str, *traces: bytes) -> bytes:
        paths = []
        for number, data in enumerate(traces):
            paths.append(self.folder / f"trace{number}")
            paths[-1].write_bytes(data)
        done = bigmalloc("report", "--trace", format_, "-o", self.folder / "out", *paths)
        self.assert_status(done, 0)
        self.assertEqual(done.stdout, "")
        return (self.folder / "out").read_bytes()


class Command(ExportCase):
    def test_mistakes_are_told_in_one_line(self) -> None:
        path, other = self.folder / "a", self.folder / "b"
        for one in (path, other):
            one.write_bytes(Program().end())
        self.assert_one_line_error(bigmalloc("report", "--trace", "pprof", path), 2, "pprof", "perfetto")
        self.assert_one_line_error(bigmalloc("report", "--trace", "rmm-csv", path, other), 2, "one file")
        self.assert_one_line_error(bigmalloc("report", "--trace", "sites", path, "--top", "0"), 2, "--top")
        self.assert_one_line_error(bigmalloc("report", "--trace", "rmm-csv", path), 1, "BIGMALLOC_TRACE_EVENTS=on")
        self.assert_one_line_error(
            bigmalloc("report", "--trace", "perfetto", path, "-o", "/none/x"), 1, "/none/x", "no such file"
        )

    def test_without_a_name_it_goes_to_standard_output(self) -> None:
        path = self.folder / "a"
        path.write_bytes(busy().end())
        done = bigmalloc("report", "--trace", "rmm-csv", path)
        self.assert_status(done, 0)
        self.assertTrue(done.stdout.startswith("Thread,Time,"))

    def test_a_reader_that_goes_away_is_no_failure_to_speak_of(self) -> None:
        path = self.folder / "a"
        path.write_bytes(fixture.training(Program(), steps=300).end())
        done = run("sh", "-c", f"'{ROOT}/scripts/bigmalloc' report --trace perfetto '{path}' | head -n 1")
        self.assertEqual(done.stderr, "")

    def test_what_is_missing_is_told(self) -> None:
        path = self.folder / "a"
        path.write_bytes(fixture.training(Program(), steps=300).finish().ring(3))
        done = bigmalloc("report", "--trace", "rmm-csv", path)
        self.assert_status(done, 0)
        self.assertIn("overwritten by later ones", done.stderr)


class Perfetto(ExportCase):
    def events(self, *traces: bytes) -> list[dict[str, Any]]:
        told = json.loads(self.export("perfetto", *traces))
        return list(told["traceEvents"])

    def test_counters_are_the_samples(self) -> None:
        program = busy()
        events = self.events(program.end())
        live = [e["args"] for e in events if e["name"] == "node 0: bytes"]
        read = trace.load(self.folder / "trace0")
        self.assertEqual([(e["live"], e["idle"]) for e in live], [(row.live, row.idle) for row in read.samples[0]])
        peaks = [e["args"]["peak"] for e in events if e["name"] == "node 0: peak of live bytes"]
        self.assertEqual(max(peaks), program.pools[0].peak)
        self.assertTrue(all(e["ph"] == "C" and e["ts"] >= 0 for e in events if "bytes" in e["name"]))

    def test_every_call_is_a_slice_of_its_thread(self) -> None:
        calls = [e for e in self.events(busy().end()) if e["ph"] == "X"]
        read = list(trace.load(self.folder / "trace0").events())
        self.assertEqual(Counter(e["cat"] for e in calls), Counter(event.kind.name.lower() for event in read))
        first = calls[0]
        self.assertEqual((first["name"], first["tid"], first["ts"], first["dur"]), ("malloc 64.0 MiB", 4242, 0, 6400))
        self.assertEqual(first["args"]["bytes"], 64 * MIB)
        self.assertEqual(first["args"]["site"][0], "0x401000")
        names = {e["args"]["name"] for e in self.events(busy().end()) if e["name"] == "thread_name"}
        self.assertEqual(names, {"thread 4242", "thread 99"})

    def test_every_block_has_a_life(self) -> None:
        events = self.events(busy().end())
        begun = {e["id"]: e["ts"] for e in events if e["ph"] == "b"}
        ended = {e["id"]: e["ts"] for e in events if e["ph"] == "e"}
        blocks = list(history.blocks(trace.load(self.folder / "trace0")))
        self.assertEqual(len(begun), len(blocks))
        self.assertEqual(len(ended), sum(block.freed_ns is not None for block in blocks))
        self.assertTrue(all(begun[id_] <= at for id_, at in ended.items()))

    def test_ranks_are_processes_of_one_trace(self) -> None:
        later = fixture.header(rank="1", started_unix_us=fixture.STARTED_UNIX_US + 500)
        ranks = [Program(fixture.header(rank="0")), Program(later)]
        for program in ranks:
            program.malloc(MIB)
        events = self.events(*(program.end() for program in ranks))
        names = {e["args"]["name"]: e["pid"] for e in events if e["name"] == "process_name"}
        self.assertEqual(sorted(names), ["python (rank 0)", "python (rank 1)"])
        begins = {e["pid"]: e["ts"] for e in events if e["ph"] == "X"}
        self.assertEqual(begins[names["python (rank 1)"]] - begins[names["python (rank 0)"]], 500)

    def test_texts_of_the_program_stay_texts(self) -> None:
        events = self.events(Program(fixture.header(command='"}],<script>')).end())
        self.assertEqual(events[0]["args"]["name"], '"}],<script>')


class Csv(ExportCase):
    def rows(self, data: bytes) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.export("rmm-csv", data).decode("ascii"))))

    def test_columns_and_actions_are_those_of_rmm(self) -> None:
        rows = self.rows(busy().end())
        self.assertEqual(list(rows[0]), ["Thread", "Time", "Action", "Pointer", "Size", "Stream"])
        self.assertEqual({row["Action"] for row in rows}, {"allocate", "free", "allocate failure"})
        for row in rows:
            self.assertRegex(",".join(row.values()), r"^\d+,\d\d:\d\d:\d\d\.\d{6},[a-z ]+,0x[0-9a-f]+,\d+,0$")
        failure = next(row for row in rows if row["Action"] == "allocate failure")
        self.assertEqual((failure["Pointer"], failure["Size"]), ("0x0", str(80 * MIB)))

    def test_what_is_live_at_the_end_is_what_was_requested(self) -> None:
        program = busy()
        live: dict[str, int] = {}
        for row in self.rows(program.end()):
            if row["Action"] == "allocate":
                self.assertNotIn(row["Pointer"], live)
                live[row["Pointer"]] = int(row["Size"])
            elif row["Action"] == "free":
                self.assertEqual(live.pop(row["Pointer"]), int(row["Size"]))
        self.assertEqual(sum(live.values()), sum(pool.requested for pool in program.pools))

    def test_frees_from_before_the_ring_are_left_out_and_told(self) -> None:
        path = self.folder / "a"
        path.write_bytes(fixture.training(Program(), steps=300).finish().ring(3))
        done = bigmalloc("report", "--trace", "rmm-csv", path)
        free: set[str] = set()
        for row in csv.DictReader(io.StringIO(done.stdout)):
            self.assertNotIn(row["Pointer"] if row["Action"] == "free" else None, free)
            (free.add if row["Action"] == "free" else free.discard)(row["Pointer"])
        self.assertRegex(done.stderr, r"\d+ frees? of blocks from before the trace")


# What unpickle() in torch/utils/viz/MemoryViz.js of PyTorch has a case for.
VIEWER_OPCODES = set(
    """
    APPENDS BINGET BININT BININT1 BININT2 EMPTY_DICT EMPTY_LIST FRAME LONG1 LONG_BINGET MARK MEMOIZE PROTO SETITEMS
    SHORT_BINUNICODE STOP TUPLE2 APPEND NEWFALSE BINPUT BINUNICODE EMPTY_TUPLE NEWTRUE NONE BINFLOAT TUPLE TUPLE1
    TUPLE3 LONG_BINPUT LIST DICT SETITEM
    """.split()
)
LARGEST_EXACT = 1 << 53  # of the integers that JavaScript's numbers keep


class NoClasses(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise AssertionError(f"the viewer has no classes, and no {module}.{name}")


class MemoryViz(ExportCase):
    def snapshot(self, data: bytes) -> dict[str, Any]:
        pickled = self.export("memory-viz", data)
        opcodes = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(pickled)]
        self.assertEqual({name for name, _ in opcodes} - VIEWER_OPCODES, set())
        self.assertIn(dict(opcodes)["PROTO"], (2, 3, 4))
        numbers = [argument for name, argument in opcodes if name == "LONG1"]
        self.assertLess(max(map(abs, numbers)), LARGEST_EXACT)
        return dict(NoClasses(io.BytesIO(pickled)).load())

    def test_it_has_what_a_snapshot_of_pytorch_has(self) -> None:
        told = self.snapshot(busy().end())
        self.assertEqual(len(told["device_traces"]), 2)
        for segment in told["segments"]:
            self.assertGreaterEqual(
                set(segment), {"device", "address", "total_size", "stream", "segment_type", "blocks"}
            )
            self.assertEqual(segment["total_size"], sum(block["size"] for block in segment["blocks"]))
        for entry in told["device_traces"][0]:
            wanted = {"action", "size", "stream", "frames", "time_us"}
            self.assertGreaterEqual(set(entry), wanted | ({"device_free"} if entry["action"] == "oom" else {"addr"}))
        frame = next(entry["frames"] for entry in told["device_traces"][1])[0]
        self.assertEqual(frame, {"name": "??", "filename": "0x409000", "line": 0})

    def test_played_backwards_every_block_is_in_a_segment_at_all_times(self) -> None:
        """As "Allocator State History" does it: from the segments at the end to none."""
        told = self.snapshot(busy().end())
        for device, entries in enumerate(told["device_traces"]):
            segments = {s["address"]: s["total_size"] for s in told["segments"] if s["device"] == device}
            blocks = dict(segments)
            for entry in reversed(entries):
                if entry["action"] == "free_completed":
                    blocks[entry["addr"]] = entry["size"]
                elif entry["action"] == "alloc":
                    self.assertEqual(blocks.pop(entry["addr"]), entry["size"])
                elif entry["action"] == "segment_free":
                    self.assertNotIn(entry["addr"], segments)
                    segments[entry["addr"]] = entry["size"]
                elif entry["action"] == "segment_alloc":
                    del segments[entry["addr"]]
                for address, size in blocks.items():
                    self.assertGreaterEqual(segments[address], size)
            self.assertEqual((segments, blocks), ({}, {}))

    def test_played_forwards_the_peak_is_that_of_the_requests(self) -> None:
        program = fixture.training(Program(), steps=12)
        told = self.snapshot(program.end())
        live = peak = 0
        for entry in told["device_traces"][0]:
            live += {"alloc": 1, "free_completed": -1}.get(entry["action"], 0) * entry["size"]
            peak = max(peak, live)
        requested = max(sample.requested for sample in trace.load(self.folder / "trace0").samples[0])
        self.assertGreaterEqual(peak, requested)
        self.assertEqual(live, program.pools[0].requested)
        self.assertLessEqual(peak, program.pools[0].peak)

    def test_pytorch_reads_it(self) -> None:
        python = python_with("torch")
        self.snapshot(busy().end())
        for words in (
            ["stats"],
            ["trace"],
            ["trace_plot", "-o", self.folder / "a.html"],
            ["segment_plot", "-o", self.folder / "b.html"],
        ):
            done = run(
                python, "-W", "ignore", "-m", "torch.cuda._memory_viz", words[0], self.folder / "out", *words[1:]
            )
            self.assert_status(done, 0)
            if words == ["stats"]:
                self.assertIn("segments: 5", done.stdout)
                self.assertRegex(done.stdout, r"total_allocated: 149\.0MiB")

    def test_a_real_program(self) -> None:
        traced(self.folder, sys.executable, "-c", REQUESTS)
        told = self.snapshot((self.folder / "trace").read_bytes())
        actions = Counter(entry["action"] for entry in told["device_traces"][0])
        kinds = Counter(event.kind for event in trace.load(self.folder / "trace").events())
        self.assertEqual(actions["alloc"], kinds[Kind.HIT] + kinds[Kind.MISS] + kinds[Kind.RESIZE])
        self.assertEqual(len(told["segments"]), actions["alloc"] - actions["free_completed"])


class Pickles(unittest.TestCase):
    def test_values_come_back(self) -> None:
        shared = pickles.Shared([{"name": "f"}])
        value = {
            "numbers": [0, 255, 256, 65535, 65536, -1, -129, 2**31 - 1, 2**31, -(2**31), 2**47, -(2**63), 2**64],
            "texts": ["", "é\u20ac", "x" * 300, ""],
            "lists": [[], shared, shared, {}, None],
            "many": list(range(2500)),
        }
        out = io.BytesIO()
        pickles.Pickler(out).write({**value, "streamed": iter(range(1001))})
        back = pickle.loads(out.getvalue())
        self.assertEqual(back.pop("streamed"), list(range(1001)))
        self.assertEqual(back, value)
        self.assertIs(back["lists"][1], back["lists"][2])

    def test_lists_come_in_batches(self) -> None:
        out = io.BytesIO()
        pickles.Pickler(out).write(iter(range(2500)))
        self.assertEqual(
            len(re.findall("APPENDS", str([op.name for op, _, _ in pickletools.genops(out.getvalue())]))), 3
        )


if __name__ == "__main__":
    unittest.main()
