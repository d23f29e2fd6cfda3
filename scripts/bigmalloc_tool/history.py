"""What became of the blocks: allocations and the frees that end them, and sums of them by call site.

An address is used again and again: a free belongs to the newest allocation at it. What the ring lost leaves halves,
which are counted: a free of something that was allocated before the trace begins, and a block whose address comes
again though nobody freed it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bigmalloc_tool.trace import Event, Kind, Trace

# Threads enter their records a little out of order: so many are held back, and sorted.
HELD_BACK = 4096


class Step(NamedTuple):
    """Something begins or ends at an address. A RESIZE is two of these."""

    time_ns: int
    number: int  # of the event, to keep the order of those of one instant
    address: int
    is_end: bool
    event: Event


class Block(NamedTuple):
    """An allocation, up to its free or to its change by realloc, which begins another one."""

    born: Event
    born_ns: int
    freed_ns: int | None  # None: nobody did
    freed: Event | None


@dataclass
class Halves:
    frees: int = 0  # of blocks from before
    replaced: int = 0  # blocks whose free is missing


@dataclass
class Site:
    """Allocations with one stack and, where that counts, of one size."""

    frames: tuple[int, ...]
    bytes_each: int = 0  # 0: of several sizes
    blocks: int = 0
    bytes: int = 0
    misses: int = 0
    took_ns: int = 0

    def add(self, event: Event) -> None:
        self.blocks += 1
        self.bytes += event.bytes
        self.misses += event.kind == Kind.MISS
        self.took_ns += event.took_ns


# ---- Blocks ----


def steps(events: Iterable[Event]) -> Iterator[Step]:
    """As time goes. What went to jemalloc, which does not say when it is freed, is none; what failed has no address."""
    held: list[Step] = []
    for number, event in enumerate(events):
        for step in steps_of(number, event):
            heapq.heappush(held, step)
        while len(held) > HELD_BACK:
            yield heapq.heappop(held)
    while held:
        yield heapq.heappop(held)


def steps_of(number: int, event: Event) -> list[Step]:
    if event.kind == Kind.FREE:
        return [Step(event.time_ns, number, event.address, True, event)]
    if event.kind == Kind.RESIZE:
        ended = event.time_ns + event.took_ns
        return [
            Step(event.time_ns, number, event.old_address, True, event),
            Step(ended, number, event.address, False, event),
        ]
    if event.kind != Kind.PASSED:
        return [Step(event.time_ns, number, event.address, False, event)]
    return []


def blocks(trace: Trace, halves: Halves | None = None) -> Iterator[Block]:
    """Each when it ends; last those that nobody freed, the oldest first."""
    halves = halves or Halves()
    live: dict[int, Step] = {}
    for step in steps(trace.events()):
        if step.event.kind == Kind.FAILED:
            continue
        begun = live.pop(step.address, None)
        if step.is_end:
            halves.frees += begun is None
        else:
            halves.replaced += begun is not None
            live[step.address] = step
        if begun is not None:
            yield Block(begun.event, begun.time_ns, step.time_ns, step.event if step.is_end else None)
    yield from (Block(begun.event, begun.time_ns, None, None) for begun in live.values())


# ---- Call sites ----


def live_sites(trace: Trace) -> list[Site]:
    """What nobody freed, by call site and size; the most bytes first."""
    sites: dict[tuple[tuple[int, ...], int], Site] = {}
    for block in blocks(trace):
        if block.freed_ns is None:
            key = trace.stacks.get(block.born.stack, ()), block.born.bytes
            sites.setdefault(key, Site(*key)).add(block.born)
    return by_bytes(sites.values())


def allocating_sites(trace: Trace) -> list[Site]:
    """All that was asked for; one stack may have several numbers."""
    sites: dict[tuple[int, ...], Site] = {}
    for event in trace.events():
        if event.kind in (Kind.HIT, Kind.MISS, Kind.RESIZE):
            frames = trace.stacks.get(event.stack, ())
            sites.setdefault(frames, Site(frames)).add(event)
    return by_bytes(sites.values())


def by_bytes(sites: Iterable[Site]) -> list[Site]:
    return sorted(sites, key=lambda site: (-site.bytes, site.frames))
