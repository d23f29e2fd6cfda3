"""Requests as rmm::mr::logging_resource_adaptor writes them, for what reads its files (RMM's REPLAY_BENCH for one).

The columns, the actions "allocate", "allocate failure" and "free", and the local time of day are those of RMM
25.12, cpp/src/mr/detail/logging_resource_adaptor_impl.cpp; the null pointer that its replayer's parser takes is one
of hexadecimal digits (cpp/benchmarks/utilities/log_parser.hpp). A realloc is the free of the old block and the
allocation of the new one. Nothing here has a stream: it is 0. Frees of blocks from before the trace are left out,
as every row has a size.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from typing import BinaryIO

from bigmalloc_tool.history import steps
from bigmalloc_tool.trace import Event, Kind, Trace

HEADER = ("Thread", "Time", "Action", "Pointer", "Size", "Stream")
NO_STREAM = "0"

Row = tuple[int, str, str, str, int, str]


def write(trace: Trace, out: BinaryIO) -> None:
    text = io.TextIOWrapper(out, "ascii", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows(trace))
    finally:
        text.detach()


def rows(trace: Trace) -> Iterator[Row]:
    unknown = 0
    sizes: dict[int, int] = {}  # of what is live, by address
    for step in steps(trace.events()):
        event = step.event
        if event.kind == Kind.FAILED:
            yield row(trace, step.time_ns, event, "allocate failure", 0, event.bytes)
        elif not step.is_end:
            sizes[step.address] = event.bytes
            yield row(trace, step.time_ns, event, "allocate", step.address, event.bytes)
        elif step.address in sizes:
            yield row(trace, step.time_ns, event, "free", step.address, sizes.pop(step.address))
        else:
            unknown += 1
    if unknown:
        trace.note(f"{unknown} frees of blocks from before the trace are left out")


def row(trace: Trace, time_ns: int, event: Event, action: str, address: int, size: int) -> Row:
    return event.thread, time_of_day(trace, time_ns), action, f"{address:#x}", size, NO_STREAM


def time_of_day(trace: Trace, time_ns: int) -> str:
    """spdlog's %H:%M:%S.%f."""
    seconds, micros = divmod(int(trace.header.unix_us(time_ns // 1000)), 10**6)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{micros:06}"
