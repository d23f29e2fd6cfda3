"""Pictures of traces: their size, their words, and that what is drawn is what there was."""

from __future__ import annotations

import io
import math
import re
import struct
import sys
import unittest
import xml.etree.ElementTree
import zlib
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import trace_fixture as fixture
from harness import ROOT, TOOL, Case, bigmalloc, folder, python_with, run
from test_trace import REQUESTS, traced
from trace_fixture import MIB, Program

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import panels, plot, trace  # noqa: E402
from bigmalloc_tool.story import Story  # noqa: E402
from bigmalloc_tool.units import bytes_text  # noqa: E402

TRAINING: list[tuple[Program, str]] = []
MATPLOTLIB: list[Path] = []  # its settings, for all tests
SVG = "{http://www.w3.org/2000/svg}"


def nodes() -> Program:
    """Two nodes, a device and its pinned memory."""
    program = Program()
    pools = [
        program.pools[0],
        program.pool("host", 1),
        program.pool("device", 0, "GPU-7"),
        program.pool("pinned", 0, "GPU-7"),
    ]
    for step in range(40):
        blocks = [program.malloc((2 + step % 3 + n) * MIB, pool=pools[n % 4]) for n in range(8)]
        program.work(9000)
        for block in blocks:
            program.free(block)
        program.work(3000)
    return program


class PlotCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.python = python_with("matplotlib")
        if not MATPLOTLIB:
            MATPLOTLIB.append(self.settled_matplotlib())

    def settled_matplotlib(self) -> Path:
        """A folder with its cache of fonts, of which it says that it makes one, where that takes long."""
        place = folder()
        unittest.addModuleCleanup(place.__exit__, None, None, None)
        made = place.__enter__()
        done = run(self.python, "-c", "import matplotlib.font_manager", env={"MPLCONFIGDIR": str(made)})
        self.assert_status(done, 0)
        return made

    def plot(self, *arguments: object) -> CompletedProcess[str]:
        return run(self.python, TOOL, "plot", *arguments, env={"MPLCONFIGDIR": str(MATPLOTLIB[0])})

    def drawn(self, data: bytes | list[bytes], *options: object, ending: str = "svg") -> Path:
        paths = []
        for number, one in enumerate(data if isinstance(data, list) else [data]):
            paths.append(self.folder / f"trace{number}")
            paths[-1].write_bytes(one)
        out = self.folder / f"out.{ending}"
        done = self.plot("-o", out, *options, *paths)
        self.assert_status(done, 0)
        self.assertEqual((done.stdout, done.stderr), (f"wrote {out}\n", ""))
        return out

    def words(self, data: bytes | list[bytes], *options: object) -> list[str]:
        return list(texts(self.drawn(data, *options)))

    def training(self) -> tuple[Program, str]:
        """A picture that several tests look at, drawn once: what it is of, and the SVG."""
        if not TRAINING:
            program = fixture.training(Program(fixture.header(command="train", rank="3")))
            TRAINING.append((program, self.drawn(program.end()).read_text("utf-8")))
        return TRAINING[0]

    def training_words(self) -> list[str]:
        return list(texts(io.StringIO(self.training()[1])))


def texts(svg: Path | io.StringIO) -> Iterator[str]:
    for element in xml.etree.ElementTree.parse(svg).iter(f"{SVG}text"):
        yield "".join(element.itertext())


def pixels(png: Path) -> tuple[int, int, bytes]:
    """Width, height, and the lines of RGBA: PNG 1.2, chapters 4 and 6."""
    data, at, packed = png.read_bytes(), 8, b""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    assert (depth, color) == (8, 6), "8 bits each of red, green, blue and alpha"
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return width, height, zlib.decompress(packed)


class Words(PlotCase):
    def test_a_picture_says_whose_it_is_where_and_when(self) -> None:
        said = self.training_words()
        self.assertIn("train (4242)", said)
        where = next(text for text in said if "host1" in text)
        self.assertRegex(where, r"rank 3  ·  host1  ·  2023-11-1[45] \d\d:\d\d:20 [+-]\d{4}  ·  [\d.]+ s")

    def test_all_panels_are_there_where_there_are_requests(self) -> None:
        said = self.training_words()
        for title in (
            "Memory (MiB)",
            "Utilisation (%)",
            "Requests per second",
            "Time of a miss",
            "Sizes asked for",
            "Requests by size",
            "Time of a request",
            "seconds since the trace began",
        ):
            self.assertIn(title, said)
        for label in ("live", "live + idle", "resident", "node 0", "hits", "misses", "16 MiB", "1 µs", "p50", "p99"):
            self.assertIn(label, said)

    def test_samples_alone_have_no_panels_of_requests(self) -> None:
        said = self.words(fixture.training(Program(events=False)).end())
        self.assertIn("Time of a miss", said)
        self.assertNotIn("Sizes asked for", said)
        self.assertNotIn("Time of a request", said)

    def test_nodes_and_devices_have_their_lines_and_their_panels(self) -> None:
        said = self.words(nodes().end())
        for title in ("Memory of all nodes (MiB)", "Memory of device 0 (MiB)", "Pinned memory for device 0 (MiB)"):
            self.assertIn(title, said)
        for name in ("node 0", "node 1", "device 0", "pinned 0"):
            self.assertEqual(said.count(name), 2, name)
        self.assertTrue(any("highest sample" in text for text in said), "peaks of nodes do not add up")

    def test_the_peak_is_that_of_the_run(self) -> None:
        for sample_us in (1, 10_000, 10**9):
            program = fixture.training(Program(sample_us=sample_us))
            said = self.words(program.end())
            facts = next(text for text in said if "peak" in text)
            self.assertIn(f"peak {bytes_text(program.pools[0].peak)} live", facts)

    def test_the_figures_are_those_of_the_samples(self) -> None:
        pool, said = self.training()[0].pools[0], self.training_words()
        self.assertIn(f"hits: {pool.hits}", said)
        self.assertIn(f"misses: {pool.misses}", said)
        self.assertIn(f"mean {panels.time_text(pool.miss_ns / pool.misses)}", said)
        requests = next(text for text in said if "requests," in text)
        self.assertTrue(requests.startswith(f"{pool.hits + pool.misses} requests"), requests)

    def test_kinds_choose_panels(self) -> None:
        said = self.words(fixture.training(Program()).end(), "--kind", "latency,rates")
        self.assertIn("Time of a request", said)
        self.assertIn("Requests per second", said)
        self.assertNotIn("Memory (MiB)", said)

    def test_what_is_missing_stands_below(self) -> None:
        said = self.words(fixture.training(Program(), steps=300).finish().ring(3))
        self.assertTrue(any("overwritten by later ones" in text for text in said))

    def test_texts_of_the_program_stay_texts(self) -> None:
        said = self.words(Program(fixture.header(command="$x_{2$<b>&")).end())
        self.assertIn("$x_{2$<b>& (4242)", said)

    def test_several_files_are_small_multiples_on_one_scale(self) -> None:
        ranks = [
            fixture.training(Program(fixture.header(rank=str(rank), pid=70 + rank)), steps=4 + 9 * rank)
            for rank in range(3)
        ]
        ranks[1].malloc(300 * MIB)
        said = self.words([program.end() for program in ranks])
        self.assertEqual(said.count("Memory (MiB): 3 processes"), 1)
        for rank in range(3):
            self.assertIn(f"rank {rank}, host1, {70 + rank}", said)
        ticks = [text for text in said if re.fullmatch(r"[1-9]\d\d+", text)]
        self.assertEqual({ticks.count(tick) for tick in ticks}, {3}, "each has the ticks of the highest")


class Looks(PlotCase):
    def test_a_png_has_its_size_and_is_not_blank(self) -> None:
        width, height, lines = pixels(self.drawn(fixture.training(Program()).end(), ending="png"))
        self.assertGreater(width, 1500)
        self.assertGreater(height, 1200)
        self.assertGreater(len(set(lines)), 50)
        self.assertGreater(len(zlib.compress(lines)), 20_000)

    def test_a_pdf_is_one(self) -> None:
        data = self.drawn(fixture.training(Program()).end(), ending="pdf").read_bytes()
        self.assertTrue(data.startswith(b"%PDF-"))
        self.assertGreater(len(data), 5000)

    def test_lines_and_bars_can_be_told_apart_without_colour(self) -> None:
        svg = self.training()[1]
        self.assertGreaterEqual(len(set(re.findall(r"stroke-dasharray: ([^;\"]+)", svg))), 2)
        self.assertIn("<pattern", svg, "hatches")

    def test_a_trace_of_many_requests_is_no_huge_picture(self) -> None:
        self.assertLess(self.drawn(fixture.training(Program(), steps=3000).end()).stat().st_size, 2 * MIB)

    def test_a_trace_of_nothing_but_its_beginning_is_drawn_too(self) -> None:
        self.words(Program().end())

    def test_a_real_program(self) -> None:
        read, stats = traced(self.folder, sys.executable, "-c", REQUESTS)
        said = self.words(read.path.read_bytes())
        pool = stats["pools"][0]  # type: ignore[index]
        facts = next(text for text in said if "peak" in text)
        self.assertIn(f"peak {bytes_text(pool['allocated_bytes']['peak'])} live", facts)
        mean = 1000 * pool["miss_us"] / stats["totals"]["misses"]  # type: ignore[index]
        self.assertIn(f"mean {panels.time_text(mean)}", said)


class Mistakes(PlotCase):
    def test_are_told_in_one_line(self) -> None:
        path = self.folder / "a"
        path.write_bytes(Program(events=False).end())
        for arguments, status, words in (
            ([path, "--kind", "pie"], 2, ["pie", "latency"]),
            ([path, "--kind", "latency"], 1, ["latency", "BIGMALLOC_TRACE_EVENTS=on"]),
            ([path, "-o", "x.gif"], 2, ["x.gif", "svg"]),
            ([path, "-o", "/none/x.png"], 1, ["/none/x.png", "no such file"]),
            ([self.folder / "none"], 1, ["none", "no such file"]),
            ([path, path, "--kind", "rates,memory"], 2, ["one kind"]),
            ([path] * 65, 2, ["65 files"]),
            ([], 2, ["FILE"]),
        ):
            self.assert_one_line_error(self.plot(*arguments), status, *words)

    def test_a_file_without_pools_has_no_picture(self) -> None:
        path = self.folder / "a"
        path.write_bytes(fixture.chunk(0, fixture.header()))
        self.assert_one_line_error(self.plot(path), 1, "has nothing for a picture")


class WithoutMatplotlib(Case):
    def test_it_says_how_to_get_it(self) -> None:
        (self.folder / "matplotlib.py").write_text("raise ImportError('not here')\n")
        path = self.folder / "a"
        path.write_bytes(Program().end())
        done = bigmalloc("plot", path, env={"PYTHONPATH": str(self.folder)})
        self.assert_one_line_error(done, 1, "matplotlib is not installed", "pip install matplotlib")


class Parts(Case):
    """What needs no Matplotlib."""

    def test_labels_are_moved_apart_and_keep_their_order(self) -> None:
        self.assertEqual(plot_apart([0.1, 0.5]), [0.1, 0.5])
        self.assertEqual(plot_apart([0.5, 0.5, 0.52]), [0.5, 0.6, 0.7])
        self.assertEqual(plot_apart([0.95, 1.0]), [0.9, 1.0])

    def test_slower_than_ends_with_the_slowest(self) -> None:
        times = [float(n) for n in range(1, 100_001)]
        points = panels.slower_than(times)
        self.assertEqual((points[0], points[-1]), ((1.0, 1.0), (100_000.0, 1 - 99_999 / 100_000)))
        self.assertLess(len(points), 450)
        at_99 = next(time for time, part in points if part <= 0.01)
        self.assertTrue(math.isclose(at_99, 99_000, rel_tol=0.01))

    def test_times_have_units(self) -> None:
        for ns, text in ((60, "60 ns"), (1234, "1.23 µs"), (5e6, "5 ms"), (3e9, "3 s"), (999.6e3, "1 ms")):
            self.assertEqual(panels.time_text(ns), text)

    def test_requests_are_kept_by_kind(self) -> None:
        path = self.folder / "a"
        path.write_bytes(fixture.training(Program(), steps=5).end())
        story = Story(trace.load(path))
        misses = story.requests[trace.Kind.MISS]
        self.assertEqual(len(misses.bytes), story.trace.samples[0][-1].misses)
        self.assertEqual(sum(misses.took_ns) // 1000, story.trace.samples[0][-1].miss_us)

    def test_every_kind_is_named_once(self) -> None:
        self.assertEqual(len(set(panels.KINDS)), len(panels.KINDS))
        self.assertEqual(plot.chosen_kinds("memory,latency"), ["memory", "latency"])


def plot_apart(places: list[float]) -> list[float]:
    return [round(place, 6) for place in panels.apart(places, 0.1)]


if __name__ == "__main__":
    unittest.main()
