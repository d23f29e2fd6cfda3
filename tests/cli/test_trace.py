"""Traces: what is read of them, whatever has become of the file, and that it is what the program did."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import unittest
from pathlib import Path

import trace_fixture as fixture
from harness import LIBRARY, ROOT, Case, bigmalloc, run
from trace_fixture import MIB, Program

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import history, timeline, trace  # noqa: E402
from bigmalloc_tool.errors import FileError  # noqa: E402
from bigmalloc_tool.trace import Kind, Sample, Trace  # noqa: E402

REQUESTS = """
import sys
kept = [bytearray(9 << 20)]
for step in range(50):
    parts = [bytearray((step % 5 + part + 2) << 20) for part in range(4)]
    if step % 10 == 0:
        kept.append(parts.pop())
sys.stdout.write("done")
"""


def writes_traces() -> bool:
    return LIBRARY.exists() and b"BIGMALLOC_TRACE" in LIBRARY.read_bytes()


def traced(folder: Path, *command: object, events: str = "on", **options: str) -> tuple[Trace, dict[str, object]]:
    """What a real program left: its trace, and its statistics."""
    if not writes_traces():
        raise unittest.SkipTest(f"{LIBRARY} writes no traces")
    env = {"BIGMALLOC_TRACE": str(folder / "trace"), "BIGMALLOC_TRACE_EVENTS": events, **options}
    stats = {"BIGMALLOC_STATS": "json", "BIGMALLOC_STATS_FILE": str(folder / "stats")}
    done = run(*command, env=env | stats, preload=True)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stderr}")
    return trace.load(folder / "trace"), json.loads((folder / "stats").read_text())


class TraceCase(Case):
    def load(self, data: bytes) -> Trace:
        path = self.folder / "trace"
        path.write_bytes(data)
        return trace.load(path)

    def load_body(self, body: bytes) -> Trace:
        """Of a file with one chunk of records, behind that of node 0."""
        return self.load(fixture.chunk(0, fixture.header()) + fixture.chunk(1, fixture.pool_record(0) + body))


class Tables(TraceCase):
    def test_the_header_tells_whose_it_is(self) -> None:
        header = self.load(Program(fixture.header(command="train", rank="3", pid=77)).end()).header
        self.assertEqual((header.pid, header.command, header.rank, header.host), (77, "train", "3", "host1"))
        self.assertEqual(header.unix_us(fixture.STARTED_US + 5), fixture.STARTED_UNIX_US + 5)

    def test_pools_stacks_and_modules_are_read(self) -> None:
        program = Program()
        device = program.pool("device", 1, "GPU-7")
        number = program.stack(0x401000, 0x402000)
        program.malloc(MIB, number, pool=device)
        program.module(0x400000, 0x500000, 0x1000, "/usr/lib/libx.so", "abcd")
        read = self.load(program.end())
        self.assertEqual((read.pools[1].name, read.pools[1].uuid), ("device 1", "GPU-7"))
        self.assertEqual(read.pools[0].name, "node 0")
        self.assertEqual(read.stacks, {number: (0x401000, 0x402000)})
        self.assertEqual(
            list(read.modules.values()), [trace.Module(0x400000, 0x500000, 0x1000, "/usr/lib/libx.so", "abcd")]
        )

    def test_a_sample_has_its_fields_in_their_places(self) -> None:
        words = [fixture.STARTED_US + 1, *range(2, 13)]
        read = self.load_body(fixture.record(fixture.SAMPLE, 0, *words))
        self.assertEqual(read.samples, {0: [Sample(*words)]})
        self.assertEqual((read.samples[0][0].live_peak, read.samples[0][0].released_bytes), (3, 12))

    def test_the_module_that_came_last_to_a_place_holds(self) -> None:
        old, new = (
            fixture.record(fixture.MODULE, 0, 4096, 8192, 0, tail=fixture.texts(name, "")) for name in ("/a", "/b")
        )
        self.assertEqual([module.path for module in self.load_body(old + new).modules.values()], ["/b"])

    def test_a_program_that_ended_says_when(self) -> None:
        program = Program()
        program.work(3000)
        self.assertEqual(self.load(program.end()).end_us, fixture.STARTED_US + 3000)
        self.assertIsNone(self.load_body(b"").end_us)


class Events(TraceCase):
    def test_allocations_and_frees_come_as_they_were(self) -> None:
        program = Program()
        site = program.stack(0x401000)
        program.free(program.malloc(8 * MIB, site, thread=7))
        program.malloc(8 * MIB)
        miss, free, hit = self.load(program.end()).events()
        self.assertEqual((miss.kind, miss.bytes, miss.thread, miss.stack), (Kind.MISS, 8 * MIB, 7, site))
        self.assertEqual((free.kind, free.address), (Kind.FREE, miss.address))
        self.assertEqual((hit.kind, hit.took_ns, hit.address), (Kind.HIT, fixture.HIT_NS, miss.address))
        self.assertEqual(miss.time_ns - fixture.STARTED_US * 1000, miss.took_ns)

    def test_a_free_ends_the_newest_block_at_its_address(self) -> None:
        program = Program()
        for bytes_ in (8 * MIB, 8 * MIB - 5):
            program.free(program.malloc(bytes_))
        program.malloc(8 * MIB)
        lives = list(history.blocks(self.load(program.end())))
        self.assertEqual([block.born.bytes for block in lives], [8 * MIB, 8 * MIB - 5, 8 * MIB])
        self.assertEqual(len({block.born.address for block in lives}), 1)
        self.assertEqual([block.freed_ns is None for block in lives], [False, False, True])

    def test_records_of_two_threads_are_sorted_by_time(self) -> None:
        def at(us: int) -> int:
            return (fixture.STARTED_US + us) * 1000

        first = fixture.record(fixture.ALLOC, 1, at(10), 4096, MIB, 5, 0)
        again = fixture.record(fixture.ALLOC, 2, at(30), 4096, MIB, 5, 0)
        freed = fixture.record(fixture.FREE, 1, at(20), 4096, 5)
        halves = history.Halves()
        lives = list(history.blocks(self.load_body(first + again + freed), halves))
        self.assertEqual(halves, history.Halves(0, 0))
        self.assertEqual([(block.born.thread, block.freed_ns) for block in lives], [(1, at(20)), (2, None)])

    def test_a_realloc_ends_a_block_and_begins_another(self) -> None:
        program = Program()
        moved = program.resize(program.malloc(4 * MIB), 6 * MIB)
        program.free(moved)
        lives = list(history.blocks(self.load(program.end())))
        self.assertEqual([block.born.bytes for block in lives], [4 * MIB, 6 * MIB])
        self.assertTrue(all(block.freed_ns for block in lives))

    def test_what_failed_or_went_elsewhere_is_no_block(self) -> None:
        program = Program()
        program.fail(MIB)
        program.fail(MIB, fixture.PASSED)
        read = self.load(program.end())
        self.assertEqual(list(history.blocks(read)), [])
        self.assertEqual([event.kind for event in read.events()], [Kind.FAILED, Kind.PASSED])

    def test_halves_are_counted(self) -> None:
        now = fixture.STARTED_US * 1000
        stray = fixture.record(fixture.FREE, 1, now, 4096, 5)
        twice = fixture.record(fixture.ALLOC, 1, now + 9, 8192, MIB, 5, 0) + fixture.record(
            fixture.ALLOC, 1, now + 99, 8192, MIB, 5, 0
        )
        halves = history.Halves()
        self.assertEqual(len(list(history.blocks(self.load_body(stray + twice), halves))), 2)
        self.assertEqual(halves, history.Halves(frees=1, replaced=1))


class Truth(TraceCase):
    """The sum of the events is what the samples say."""

    def assert_events_make_samples(self, read: Trace) -> None:
        last = [samples[-1] for samples in read.samples.values()]
        hits, misses = ([event for event in read.events() if event.kind == kind] for kind in (Kind.HIT, Kind.MISS))
        self.assertEqual(len(hits), sum(sample.hits for sample in last))
        self.assertEqual(len(misses), sum(sample.misses for sample in last))
        self.assertEqual(sum(event.bytes for event in misses), sum(sample.missed_bytes for sample in last))
        live = sum(block.born.bytes for block in history.blocks(read) if block.freed_ns is None)
        self.assertEqual(live, sum(sample.requested for sample in last))

    def test_of_a_fixture(self) -> None:
        program = fixture.training(Program())
        kept = program.malloc(3 * MIB)
        read = self.load(program.end())
        self.assert_events_make_samples(read)
        peak = max(sample.live_peak for sample in read.samples[0])
        self.assertEqual(peak, program.pools[0].peak)
        took = sum(event.took_ns for event in read.events() if event.kind == Kind.MISS)
        self.assertEqual(took // 1000, read.samples[0][-1].miss_us)
        self.assertIn(kept.address, {block.born.address for block in history.blocks(read) if block.freed_ns is None})

    def test_of_a_real_program(self) -> None:
        read, stats = traced(self.folder, sys.executable, "-c", REQUESTS)
        self.assert_events_make_samples(read)
        pool = stats["pools"][0]  # type: ignore[index]
        last = read.samples[0][-1]
        self.assertEqual(max(sample.live_peak for sample in read.samples[0]), pool["allocated_bytes"]["peak"])
        self.assertEqual((last.hits, last.misses), (stats["totals"]["hits"], stats["totals"]["misses"]))  # type: ignore[index]
        self.assertEqual(last.miss_us, pool["miss_us"])
        self.assertIsNotNone(read.end_us)
        self.assertEqual(read.notes, [])

    def test_the_mean_time_of_a_miss_is_that_of_the_statistics(self) -> None:
        read, stats = traced(self.folder, sys.executable, "-c", REQUESTS)
        misses = [event.took_ns / 1000 for event in read.events() if event.kind == Kind.MISS]
        reported = stats["pools"][0]["miss_us"]  # type: ignore[index]
        # The events time the whole call, the statistics what follows when no idle block fits, in whole microseconds.
        self.assertGreaterEqual(sum(misses), reported)
        self.assertLess(sum(misses), 1.5 * reported + 20 * len(misses))

    def test_samples_alone_tell_the_peak(self) -> None:
        read, stats = traced(self.folder, sys.executable, "-c", REQUESTS, events="off", BIGMALLOC_TRACE_MS="-1")
        self.assertEqual(read.event_count, 0)
        peak = max(sample.live_peak for sample in read.samples[0])
        self.assertEqual(peak, stats["pools"][0]["allocated_bytes"]["peak"])  # type: ignore[index]


class Damage(TraceCase):
    def test_a_ring_keeps_the_newest_chunks_in_their_order(self) -> None:
        writer = fixture.training(Program(), steps=300).finish()
        self.assertGreater(len(writer.chunks), 5)
        for places in (5, 3, 4):
            read = self.load(writer.ring(places))
            newest = range(len(writer.chunks) - places + 1, len(writer.chunks))
            self.assertEqual([chunk.number for chunk in read.chunks], [0, *newest])
        self.assertRegex(read.notes[0], r"chunks overwritten .*BIGMALLOC_TRACE_MAX")
        times = [event.time_ns for event in read.events()]
        self.assertEqual(times, sorted(times))
        self.assertFalse(read.is_whole())

    def test_lost_records_are_told(self) -> None:
        read = self.load(fixture.chunk(0, fixture.header()) + fixture.chunk(1, b"", dropped=3))
        self.assertRegex(read.notes[0], "^3 records lost")

    def test_a_file_cut_anywhere_is_read_up_to_there(self) -> None:
        data = fixture.training(Program(), steps=8).end()
        whole = self.load(data)
        for length in (*range(0, 700, 7), *range(65536 - 9, 65536 + 200), len(data) - 3):
            try:
                read = self.load(data[:length])
            except FileError:
                self.assertLess(length, 32 + len(fixture.header()), "a header that is whole is enough")
                continue
            events = list(read.events())
            self.assertEqual(events, list(whole.events())[: len(events)])

    def test_a_record_that_does_not_fit_ends_its_chunk_and_no_other(self) -> None:
        good = fixture.record(fixture.END, 0, fixture.STARTED_US + 9)
        for bad in (
            b"\0" * 8,
            fixture.record(fixture.SAMPLE, 0, 1, 2),
            fixture.record(fixture.SAMPLE, 5, *[fixture.STARTED_US] * 12),
            fixture.record(fixture.SAMPLE, 0, *[1 << 60] * 12),
            fixture.record(fixture.POOL, 1 << 20, 0, tail=fixture.texts("host", "", "")),
            fixture.record(fixture.POOL, 1, 0, tail=b"no end here....."),
            fixture.record(fixture.MODULE, 0, 9, 9, 0, tail=fixture.texts("/x", "")),
            struct.pack("<HHI", fixture.STACK, 9999, 1),
        ):
            chunks = [fixture.pool_record(0) + bad + good, fixture.pool_record(1)]
            data = b"".join(fixture.chunk(n, body) for n, body in enumerate([fixture.header(), *chunks]))
            read = self.load(data)
            self.assertEqual((sorted(read.pools), read.end_us), ([0, 1], None), bad[:16])
            self.assertEqual(read.notes, [trace.DAMAGED])

    def test_an_event_that_does_not_fit_ends_its_chunk(self) -> None:
        now = fixture.STARTED_US * 1000
        good = fixture.record(fixture.FREE, 1, now, 4096, 5)
        for bad in (
            fixture.record(fixture.ALLOC, 1, now, 4096, MIB, 5, 77 << 48),
            fixture.record(fixture.ALLOC, 1, now, 1 << 63, MIB, 5, 0),
            fixture.record(fixture.FREE, 1, 1, 4096, 5),
            fixture.record(fixture.RESIZE, 1, now),
        ):
            read = self.load_body(good + bad + good)
            self.assertEqual(len(list(read.events())), 1)
            self.assertEqual(read.notes, [trace.DAMAGED])

    def test_records_of_other_versions_are_passed_over(self) -> None:
        read = self.load_body(fixture.record(200, 1, 2, 3) + fixture.record(fixture.END, 0, fixture.STARTED_US, 7, 8))
        self.assertEqual((read.end_us, read.notes), (fixture.STARTED_US, []))

    def test_places_that_hold_no_chunk_are_left_out(self) -> None:
        head, one = fixture.chunk(0, fixture.header()), fixture.chunk(1, fixture.pool_record(0))
        self.assertEqual(self.load(head + one + bytes(65536)).notes, [])
        self.assertEqual(self.load(head + b"x" * 65536 + one).notes, ["1 chunk that cannot be one: left out"])
        self.assertEqual(sorted(self.load(head + one + one).pools), [0])

    def test_texts_cannot_steer_a_terminal(self) -> None:
        read = self.load(fixture.chunk(0, fixture.header(command="\x1b[2Jx\n\u202e", rank="\xff\x00")))
        self.assertTrue(read.header.command.isprintable(), read.header.command)

    def test_what_is_no_trace_is_told_in_one_line(self) -> None:
        version = fixture.chunk(0, fixture.header(version=2))
        cases = {b"": "not a trace", b"hello" * 99: "not a trace", version: "version 2"}
        cases[fixture.chunk(0, fixture.header(chunk_bytes=0))] = "0 bytes"
        cases[fixture.chunk(0, fixture.header(chunk_bytes=1 << 62))] = "chunks cannot have"
        cases[fixture.chunk(0, fixture.record(1, 1, 7))] = "too short"
        cases[fixture.chunk(3, fixture.header())] = "first chunk"
        for data, words in cases.items():
            path = self.folder / "trace"
            path.write_bytes(data)
            self.assert_one_line_error(bigmalloc("report", "--trace", "sites", path), 1, words)
        os.mkfifo(self.folder / "fifo")
        self.assert_one_line_error(bigmalloc("report", "--trace", "sites", self.folder / "fifo"), 1, "regular")
        self.assert_one_line_error(bigmalloc("report", "--trace", "sites", self.folder), 1, "regular")
        self.assert_one_line_error(bigmalloc("report", "--trace", "sites", self.folder / "none"), 1, "none")

    def test_no_byte_makes_it_fail_in_another_way(self) -> None:
        chance = random.Random(7)
        program = fixture.training(Program(), steps=3)
        program.module(0x400000, 0x500000, 0, "/bin/true")
        data = program.end()
        for _ in range(300):
            broken = bytearray(data)
            for _ in range(chance.randrange(1, 6)):
                broken[chance.choice((0, 65536)) + chance.randrange(2000)] = chance.randrange(256)
            try:
                read = self.load(bytes(broken))
            except FileError:
                continue
            list(history.blocks(read))
            clock = timeline.Clock(read, read.last_us())
            for samples in read.samples.values():
                timeline.live_line(samples, clock)
            timeline.rates(read, clock)


COUNT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from bigmalloc_tool import trace
read = trace.load(sys.argv[2])
print(read.event_count, sum(1 for _ in read.events()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Size(TraceCase):
    def test_64_mib_of_events_are_read_without_being_kept(self) -> None:
        _, one, *_ = fixture.training(Program(), steps=120).finish().chunks
        chunks = [fixture.chunk(0, fixture.header())]
        chunks += [one[:8] + number.to_bytes(8, "little") + one[16:] for number in range(1, 1024)]
        (self.folder / "trace").write_bytes(b"".join(chunks))
        command = [sys.executable, "-c", COUNT, str(ROOT / "scripts"), str(self.folder / "trace")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        counted, came, kib = map(int, done.stdout.split())
        self.assertEqual(counted, came)
        self.assertGreater(counted, 900_000)
        samples = 200 * 1024 * 150 // 1024  # 150 bytes for each of those of this trace
        self.assertLess(kib, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 100 * 1024 + samples)


class Lines(TraceCase):
    """The samples as they are drawn."""

    def sample(self, at_us: int, live: int, peak: int) -> Sample:
        return Sample(at_us, live, peak, *([0] * 9))

    def test_a_peak_is_as_wide_as_the_time_since_the_sample_before(self) -> None:
        line = timeline.envelope([(0, 10, 10, True), (1, 20, 50, False), (9, 20, 80, False)], width=2)
        self.assertEqual(line, [(0, 10)] * 3 + [(0, 50), (1, 50), (1, 20)] + [(1, 80), (9, 80), (9, 20)])

    def test_what_rises_after_a_pause_rises_at_its_end(self) -> None:
        line = timeline.envelope([(0, 10, 10, True), (20, 90, 90, True)], width=2)
        self.assertEqual(line[3:], [(18, 10), (18, 90), (20, 90), (20, 90)])

    def test_live_memory_is_never_above_live_and_idle(self) -> None:
        samples = [Sample(fixture.STARTED_US + at, *([0] * 11)) for at in (0, 9_000_000)]
        samples[1] = samples[1]._replace(live_peak=50, reserved=50, reserved_peak=50)
        clock = timeline.Clock(self.load(Program().end()), fixture.STARTED_US + 9_000_000)
        self.assertIn((0.0, 50), timeline.live_line(samples, clock))
        self.assertIn((0.0, 50), timeline.reserved_line(samples, clock))

    def test_no_peak_is_lost_among_many_samples(self) -> None:
        samples = [self.sample(at, 5, 1000 if at == 4321 else 6) for at in range(100_000)]
        thinned = timeline.thin(samples)
        self.assertLess(len(thinned), 1100)
        self.assertEqual(max(row.live_peak for row in thinned), 1000)
        self.assertAlmostEqual(next(row.time_us for row in thinned if row.live_peak == 1000), 4321, delta=100)

    def test_values_of_several_pools_add_up_as_time_goes(self) -> None:
        rows = timeline.summed([[(0, 1), (5, 2)], [(3, 10)]])
        self.assertEqual(rows, [(0, 1), (3, 11), (5, 12)])

    def test_rates_count_every_request_once(self) -> None:
        read = self.load(fixture.training(Program(events=False)).end())
        rates = timeline.rates(read, timeline.Clock(read, read.last_us()))
        self.assertEqual(sum(row.hits for row in rates), read.samples[0][-1].hits)
        self.assertEqual(sum(row.miss_us for row in rates), read.samples[0][-1].miss_us)
        self.assertTrue(all(before.end_s == after.begin_s for before, after in zip(rates, rates[1:])))


class Sites(TraceCase):
    def sites(self, program: Program, *options: object) -> str:
        (self.folder / "trace").write_bytes(program.end())
        done = bigmalloc("report", "--trace", "sites", self.folder / "trace", *options)
        self.assert_status(done, 0)
        return done.stdout

    def leaking(self) -> Program:
        program = Program()
        leak, fine = program.stack(0x401000, 0x402000), program.stack(0x403000)
        same = program.stack(0x401000, 0x402000)  # as the library may number it anew
        for number in (leak, leak, same):
            program.malloc(4 * MIB, number)
        for _ in range(5):
            program.free(program.malloc(16 * MIB, fine))
        return program

    def test_what_nobody_freed_is_told_by_size_and_call_site(self) -> None:
        text = self.sites(self.leaking())
        live = text.split("Asked for")[0]
        self.assertIn("Live at the end: 12.0 MiB in 3 blocks", live)
        self.assertRegex(live, r"12\.0 MiB +3 +4\.00 MiB +0x401000\n +0x402000\n")
        self.assertNotIn("0x403000", live)

    def test_sites_are_sorted_by_what_they_asked_for_and_missed(self) -> None:
        asked, missed = self.sites(self.leaking()).split("Asked for in all: ")[1].split("Not served")
        self.assertRegex(asked, r"\A92\.0 MiB in 8 requests\n.*\n *80\.0 MiB +5 +1 .*0x403000\n *12\.0 MiB +3 +3 ")
        self.assertRegex(
            missed, r"by idle blocks: 4 requests\n.*\n *12\.0 MiB +3 +3 .*0x401000\n.*\n *80\.0 MiB +5 +1 "
        )

    def test_json_says_the_same(self) -> None:
        told = json.loads(self.sites(self.leaking(), "--json"))
        self.assertEqual((told["schema"], told["live_bytes"], told["live_blocks"]), ("bigmalloc-sites/1", 12 * MIB, 3))
        site = told["live"][0]
        self.assertEqual((site["bytes"], site["blocks"], site["bytes_each"]), (12 * MIB, 3, 4 * MIB))
        self.assertEqual([frame["address"] for frame in site["frames"]], [0x401000, 0x402000])

    def test_top_and_frames_shorten_it(self) -> None:
        text = self.sites(self.leaking(), "--top", 1, "--frames", 1)
        self.assertEqual(text.count("... 1 more"), 2)
        self.assertEqual(len(re.findall("0x403000", text)), 1)

    def test_a_trace_of_samples_alone_has_no_sites(self) -> None:
        (self.folder / "trace").write_bytes(Program(events=False).end())
        done = bigmalloc("report", "--trace", "sites", self.folder / "trace")
        self.assert_one_line_error(done, 1, "samples alone", "BIGMALLOC_TRACE_EVENTS=on")

    def test_a_real_leak_is_found(self) -> None:
        traced(
            self.folder,
            sys.executable,
            "-c",
            "import os\nkept = bytearray(33 << 20)\ndel kept\nkept = bytearray(77 << 20)\nos._exit(0)",
        )
        done = bigmalloc("report", "--trace", "sites", "--json", self.folder / "trace")
        self.assert_status(done, 0)
        told = json.loads(done.stdout)
        self.assertEqual([(site["blocks"], site["bytes"] >> 20) for site in told["live"]], [(1, 77)])


if __name__ == "__main__":
    unittest.main()
