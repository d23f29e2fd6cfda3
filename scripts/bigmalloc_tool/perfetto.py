"""Trace events in JSON: "Trace Event Format" of Chrome, which ui.perfetto.dev opens as well.

    C    counters: live and idle bytes of each pool, the peak since the sample before, resident bytes, requests
    X    the calls of each thread, with how long they took
    b e  the life of each block, from the call that began it; without an end what nobody freed

Times are microseconds since the first of the processes began, and those of several processes fit together by their
wall clocks. Everything is written as it is read: no file is too long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from bigmalloc_tool.history import Block, blocks
from bigmalloc_tool.symbols import Frame, resolve
from bigmalloc_tool.trace import Event, Kind, Trace
from bigmalloc_tool.units import bytes_text

SITE_FRAMES = 6  # in each event: the whole stack would be most of the file
CALLS = {Kind.FREE: "free", Kind.RESIZE: "realloc"}

Json = dict[str, Any]


def write(traces: list[Trace], out: BinaryIO) -> None:
    zero_us = min(trace.header.started_unix_us for trace in traces)
    out.write(b'{"displayTimeUnit": "ms", "otherData": ')
    out.write(json.dumps({"started_unix_us": zero_us, "source": "bigmalloc"}).encode())
    out.write(b', "traceEvents": [')
    separator = b"\n"
    for number, trace in enumerate(traces):
        for event in Process(trace, zero_us, pid_of(traces, number)).events():
            out.write(separator + json.dumps(event, separators=(",", ":")).encode())
            separator = b",\n"
    out.write(b"\n]}\n")


def pid_of(traces: list[Trace], number: int) -> int:
    """Its own, or one that no Linux gives where processes of several hosts have the same."""
    pids = [trace.header.pid for trace in traces]
    return pids[number] if pids[number] not in pids[:number] else (1 << 22) + number


class Process:
    def __init__(self, trace: Trace, zero_unix_us: int, pid: int):
        self.trace = trace
        self.pid = pid
        self.shift_us = trace.header.started_unix_us - zero_unix_us - trace.header.started_us
        self.frames = resolve({at for stack in trace.stacks.values() for at in stack}, trace.modules.values())
        self.threads: set[int] = set()

    def events(self) -> Iterator[Json]:
        yield self.event("M", "process_name", args={"name": f"{self.trace.header.command or 'process'}{self.rank()}"})
        yield self.event("M", "process_labels", args={"labels": self.trace.header.host})
        yield from self.counters()
        yield from map(self.call, self.trace.events())
        for number, block in enumerate(blocks(self.trace)):
            yield from self.life(number, block)
        for thread in sorted(self.threads):
            yield self.event("M", "thread_name", tid=thread, args={"name": f"thread {thread}"})

    def rank(self) -> str:
        return f" (rank {self.trace.header.rank})" if self.trace.header.rank else ""

    def event(self, phase: str, name: str, **more: Any) -> Json:
        return {"ph": phase, "name": name, "pid": self.pid, **more}

    def ts(self, time_us: float) -> float:
        return round(time_us + self.shift_us, 3)

    # ---- Samples ----

    def counters(self) -> Iterator[Json]:
        for number, samples in self.trace.samples.items():
            pool = self.trace.pools[number].name
            for row in samples:
                at = self.ts(row.time_us)
                yield self.event("C", f"{pool}: bytes", ts=at, args={"live": row.live, "idle": row.idle})
                yield self.event("C", f"{pool}: peak of live bytes", ts=at, args={"peak": row.live_peak})
                yield self.event("C", f"{pool}: requests", ts=at, args={"hits": row.hits, "misses": row.misses})
        for resident in self.trace.resident:
            yield self.event("C", "resident bytes", ts=self.ts(resident.time_us), args={"resident": resident.bytes})

    # ---- Events ----

    def call(self, event: Event) -> Json:
        self.threads.add(event.thread)
        begin_ns = event.time_ns if event.kind in CALLS else event.time_ns - event.took_ns
        args: Json = {"address": f"{event.address:#x}"}
        if event.kind != Kind.FREE:
            args.update(bytes=event.bytes, pool=self.pool(event), site=self.site(event))
        return self.event(
            "X",
            CALLS.get(event.kind) or f"malloc {bytes_text(event.bytes)}",
            cat=event.kind.name.lower(),
            tid=event.thread,
            ts=self.ts(begin_ns / 1000),
            dur=event.took_ns / 1000,
            args=args,
        )

    def pool(self, event: Event) -> str:
        pool = self.trace.pools.get(event.pool)
        return pool.name if pool else ""

    def site(self, event: Event) -> list[str]:
        """The innermost callers."""
        stack = self.trace.stacks.get(event.stack, ())[:SITE_FRAMES]
        return [str(self.frames.get(address, Frame(address))) for address in stack]

    def life(self, number: int, block: Block) -> Iterator[Json]:
        same = {"cat": "block", "id": f"{number:#x}", "tid": block.born.thread}
        name = bytes_text(block.born.bytes)
        args = {"address": f"{block.born.address:#x}", "bytes": block.born.bytes, "site": self.site(block.born)}
        yield self.event("b", name, ts=self.ts(block.born_ns / 1000), args=args, **same)
        if block.freed_ns is not None:
            yield self.event("e", name, ts=self.ts(block.freed_ns / 1000), **same)
