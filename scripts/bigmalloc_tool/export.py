"""bigmalloc report --trace FORMAT FILE...: a trace for other programs, or as the call sites in it.

perfetto     trace events in JSON, for ui.perfetto.dev and chrome://tracing; several files become one
rmm-csv      requests as RMM's logging adaptor writes them
memory-viz   a snapshot for pytorch.org/memory_viz
sites        what was still live at the end and what asked for most, by call site
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from bigmalloc_tool import memory_viz, perfetto, rmm_csv, sites
from bigmalloc_tool.errors import FileError, UsageError, parser
from bigmalloc_tool.trace import Trace, load


@dataclass(frozen=True)
class Format:
    write: Callable[[list[Trace], BinaryIO, argparse.Namespace], None]
    needs_events: bool = True
    takes_many: bool = False
    is_binary: bool = False


FORMATS = {
    "perfetto": Format(lambda traces, out, _: perfetto.write(traces, out), needs_events=False, takes_many=True),
    "rmm-csv": Format(lambda traces, out, _: rmm_csv.write(traces[0], out)),
    "memory-viz": Format(lambda traces, out, _: memory_viz.write(traces[0], out), is_binary=True),
    "sites": Format(lambda traces, out, chosen: sites.write(traces[0], out, chosen)),
}


def main(arguments: list[str]) -> int:
    chosen = parse(arguments)
    format_ = FORMATS[chosen.format]
    if len(chosen.files) > 1 and not format_.takes_many:
        raise UsageError(f"{chosen.format} takes one file, not {len(chosen.files)}")
    if format_.is_binary and not chosen.output and sys.stdout.isatty():
        raise UsageError(f"{chosen.format} is not for a terminal; name a file with -o")
    traces = [load(file) for file in chosen.files]
    for trace in traces:
        if format_.needs_events and not trace.event_count:
            raise FileError(trace.path, "has samples alone; BIGMALLOC_TRACE_EVENTS=on records the requests, too")
    with opened(chosen.output) as out:
        format_.write(traces, out, chosen)
    tell_notes(traces)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    words = parser("report --trace", "Traces for other programs, and the call sites in them.")
    words.add_argument("format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    words.add_argument("files", nargs="+", metavar="FILE", help="what BIGMALLOC_TRACE has written")
    words.add_argument("-o", "--output", metavar="OUT", help="where to (standard output)")
    words.add_argument("--json", action="store_true", help="sites as JSON")
    words.add_argument("--top", type=positive, default=10, metavar="N", help="so many sites (10)")
    words.add_argument("--frames", type=positive, default=8, metavar="N", help="so many callers of each (8)")
    return words.parse_args(arguments)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


@contextmanager
def opened(path: str | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with open(path, "wb") as out:
            yield out


def tell_notes(traces: list[Trace]) -> None:
    for trace in traces:
        for note in trace.notes:
            print(f"bigmalloc report: {FileError(trace.path, note)}", file=sys.stderr)
