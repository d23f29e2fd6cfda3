"""Trace files (BIGMALLOC_TRACE) made into values: samples, events, stacks, modules.

    trace = load(path)            # the tables at once, and the samples: they are few
    for event in trace.events():  # the events as they come, from the file: they may be millions

The file is a row of chunks, each whole in itself. Number 0 holds the HEADER and stays; the others are a ring, in
which the oldest is overwritten by the newest, so they are read in the order of their numbers, not of their places:

    +-----------+-----------+-----------+-----------+
    | 0: HEADER | 7 (new)   | 5 (old)   | 6         |      chunks 1 to 4 are gone
    +-----------+-----------+-----------+-----------+

A chunk is its number, the bytes used, and records: 64-bit words, little-endian, the first of which is
`type | words << 16 | a << 32`. Nothing in a file is believed: what does not fit ends its chunk, is noted once,
and the rest is read. A file that a program still writes is read up to where it has come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bigmalloc_tool.errors import FileError, printable

VERSION = 1
CHUNK_MAGIC = b"BMCK"
CHUNK_HEADER = struct.Struct("<4sIQQQ")  # magic, bytes used, number, records dropped before it, 0
CHUNK_HEADER_WORDS = CHUNK_HEADER.size // 8
DEFAULT_CHUNK_BYTES = 64 << 10
MOST_CHUNK_BYTES = 16 << 20
MOST_POOLS = 1024
MOST_FRAMES = 32
LONGEST_US = 10 * 366 * 86400 * 10**6  # that a run may take; times beyond are damage
SLACK_US = 10**6  # that something may have happened before the header was written
ADDRESSES = 1 << 57  # of user space, with five levels of page tables
DAMAGED = "damaged: some chunks are read up to a record that does not fit"

Words = Sequence[int]


class Type(IntEnum):
    """Of records."""

    HEADER = 1
    POOL = 2
    SAMPLE = 3
    PROCESS = 4
    ALLOC = 5
    FREE = 6
    STACK = 7
    RESIZE = 8
    MODULE = 9
    END = 11


class Kind(IntEnum):
    """Of events; the first four are what an ALLOC says."""

    HIT = 0
    MISS = 1
    FAILED = 2
    PASSED = 3  # left to jemalloc, which says nothing when it is freed
    RESIZE = 4
    FREE = 5


class Header(NamedTuple):
    pid: int
    start_ticks: int  # since boot
    started_us: int  # monotonic
    started_unix_us: int  # the same instant
    threshold: int  # bytes
    chunk_bytes: int
    ring_chunks: int  # at most
    host: str
    boot_id: str
    command: str
    rank: str  # "": none

    def unix_us(self, time_us: float) -> float:
        return self.started_unix_us + (time_us - self.started_us)


class Pool(NamedTuple):
    number: int
    id: int  # of the node, or the ordinal of the device
    kind: str  # host, device, pinned
    uuid: str
    pci_address: str

    @property
    def name(self) -> str:
        return f"{'node' if self.kind == 'host' else self.kind} {self.id}"


class Sample(NamedTuple):
    """Of one pool. Bytes are those of blocks, but for `requested`; the last five only grow."""

    time_us: int  # monotonic
    live: int
    live_peak: int  # the highest since the sample before
    reserved: int
    reserved_peak: int
    requested: int
    idle: int
    hits: int
    misses: int
    missed_bytes: int
    miss_us: int
    released_bytes: int


class Resident(NamedTuple):
    """Of the process."""

    time_us: int
    bytes: int
    peak: int  # 0: unknown


class Event(NamedTuple):
    time_ns: int  # monotonic; of an allocation its end, of a FREE or RESIZE its beginning
    kind: Kind
    thread: int
    address: int
    bytes: int  # asked for; 0 of a FREE
    took_ns: int
    pool: int  # number; 0 of a FREE
    stack: int  # number; 0: none
    old_address: int  # of a RESIZE


class Module(NamedTuple):
    """An executable mapping."""

    start: int
    end: int
    offset: int  # in the file
    path: str
    build_id: str  # hex; "": unknown


class Chunk(NamedTuple):
    number: int
    place: int  # offset in the file
    used: int
    dropped: int


class Misfit(ValueError):
    """A record that is not what it should be."""


@dataclass
class Trace:
    path: Path
    header: Header
    chunks: list[Chunk]
    pools: dict[int, Pool] = field(default_factory=dict)
    samples: dict[int, list[Sample]] = field(default_factory=dict)  # by pool, as time goes
    resident: list[Resident] = field(default_factory=list)
    stacks: dict[int, tuple[int, ...]] = field(default_factory=dict)  # innermost frame first
    modules: dict[int, Module] = field(default_factory=dict)  # by their start
    event_count: int = 0
    dropped: int = 0  # records that the program could not write
    end_us: int | None = None  # None: it was killed, or runs
    notes: list[str] = field(default_factory=list)  # what is wrong or missing, in a sentence each

    def events(self) -> Iterator[Event]:
        for words in chunk_words(self.path, self.chunks):
            try:
                yield from events_in(words, self.header.started_us)
            except Misfit:
                self.note(DAMAGED)

    def is_whole(self) -> bool:
        """Is nothing overwritten?"""
        return self.chunks[-1].number + 1 == len(self.chunks)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def last_us(self) -> int:
        """Of everything but the events, the latest instant."""
        times = [rows[-1].time_us for rows in self.samples.values()]
        times += [row.time_us for row in self.resident[-1:]]
        return max(self.header.started_us, self.end_us or 0, *times)


# ---- Chunks and records ----


def load(path: str | Path) -> Trace:
    path = Path(path)
    notes: list[str] = []
    with opened(path) as file:
        header = read_header(path, file)
        chunks = read_chunks(file, header.chunk_bytes, notes)
    trace = Trace(path, header, chunks, notes=notes)
    note_gaps(trace)
    for words in chunk_words(path, chunks):
        try:
            read_tables(trace, words)
        except Misfit:
            trace.note(DAMAGED)
    for samples in trace.samples.values():
        samples.sort(key=lambda sample: sample.time_us)
    trace.resident.sort(key=lambda resident: resident.time_us)
    return trace


def opened(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        raise FileError(path, "not a regular file")
    return path.open("rb")


def read_header(path: Path, file: BinaryIO) -> Header:
    data = file.read(DEFAULT_CHUNK_BYTES)
    if len(data) < CHUNK_HEADER.size or data[:4] != CHUNK_MAGIC:
        raise FileError(path, "not a trace of bigmalloc; BIGMALLOC_TRACE=FILE makes one")
    try:
        return header_of(*next(records(words_of(data)), (0, VERSION, ())))
    except ValueError as error:
        raise FileError(path, str(error)) from error


def header_of(type_: int, version: int, body: Words) -> Header:
    if version != VERSION:
        raise Misfit(f"of version {version}; this command reads version {VERSION}")
    if type_ != Type.HEADER:
        raise Misfit("damaged, it does not begin with what every trace begins with")
    header = Header(*fields(body, 7, 4))
    if header.chunk_bytes % 8 or not CHUNK_HEADER.size < header.chunk_bytes <= MOST_CHUNK_BYTES:
        raise Misfit(f"damaged, its chunks cannot have {header.chunk_bytes} bytes")
    return header


def read_chunks(file: BinaryIO, chunk_bytes: int, notes: list[str]) -> list[Chunk]:
    """Those that there are, by number."""
    chunks: dict[int, Chunk] = {}
    strange, size = 0, file.seek(0, 2)
    for place in range(0, size, chunk_bytes):
        file.seek(place)
        head = file.read(CHUNK_HEADER.size)
        if not any(head):
            continue  # not begun yet
        magic, used, number, dropped, _ = CHUNK_HEADER.unpack(head.ljust(CHUNK_HEADER.size, b"\0"))
        if magic != CHUNK_MAGIC or not CHUNK_HEADER.size <= used <= chunk_bytes or number in chunks:
            strange += 1
        else:
            chunks[number] = Chunk(number, place, min(used, size - place), dropped)
            if used > size - place:
                notes.append("the file ends within a chunk: read up to there")
    if 0 not in chunks:
        raise FileError(file.name, "damaged, its first chunk is none")
    if strange:
        notes.append(f"{counted(strange, 'chunk')} that cannot be one: left out")
    return [chunks[number] for number in sorted(chunks)]


def note_gaps(trace: Trace) -> None:
    if not trace.is_whole():
        absent = trace.chunks[-1].number + 1 - len(trace.chunks)
        trace.notes.append(
            f"{counted(absent, 'chunk')} overwritten by later ones: a larger BIGMALLOC_TRACE_MAX keeps more"
        )
    trace.dropped = max(chunk.dropped for chunk in trace.chunks)
    if trace.dropped:
        trace.notes.append(f"{counted(trace.dropped, 'record')} lost, as they came faster than they could be written")


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def chunk_words(path: Path, chunks: list[Chunk]) -> Iterator[Words]:
    """Of each chunk, all that is used of it, without its header."""
    with opened(path) as file:
        for chunk in chunks:
            file.seek(chunk.place)
            yield words_of(file.read(chunk.used))


def words_of(data: bytes) -> Words:
    """Python takes all at once faster than it takes one after the other out of the bytes."""
    return struct.unpack_from(f"<{len(data) // 8}Q", data)[CHUNK_HEADER_WORDS:]


def records(words: Words) -> Iterator[tuple[int, int, Words]]:
    """type, a, and the words that follow."""
    at, end = 0, len(words)
    while at < end:
        head = words[at]
        after = at + (head >> 16 & 0xFFFF)
        if at == after or after > end:
            raise Misfit("a record does not end within its chunk")
        yield head & 0xFFFF, head >> 32, words[at + 1 : after]
        at = after


def read_tables(trace: Trace, words: Words) -> None:
    for type_, a, body in records(words):
        if type_ in EVENTS:
            trace.event_count += 1
        elif type_ in TABLES:
            TABLES[type_](trace, a, body)


def events_in(words: Words, started_us: int) -> Iterator[Event]:
    first, last = (started_us - SLACK_US) * 1000, (started_us + LONGEST_US) * 1000
    for type_, a, body in records(words):
        if type_ in EVENTS:
            event = EVENTS[type_](a, body)
            if not first <= event.time_ns <= last:
                raise Misfit("a time is not of this run")
            yield event


# ---- What the records say ----


def numbers(body: Words, count: int) -> Words:
    if len(body) < count:
        raise Misfit("a record is too short")
    return body[:count]


def fields(body: Words, number_count: int, string_count: int) -> list[Any]:
    return [*numbers(body, number_count), *strings(body[number_count:], string_count)]


def strings(body: Words, count: int) -> list[str]:
    """Each ends with a NUL, and is filled up to a whole word. They get printed: what would steer a terminal goes."""
    data, found, at = struct.pack(f"<{len(body)}Q", *body), [], 0
    for _ in range(count):
        end = data.find(0, at)
        if end < 0:
            raise Misfit("a text has no end")
        found.append(printable(data[at:end].decode("utf-8", "replace")))
        at = (end // 8 + 1) * 8
    return found


def time_of(trace: Trace, time_us: int) -> int:
    if not -SLACK_US <= time_us - trace.header.started_us <= LONGEST_US:
        raise Misfit("a time is not of this run")
    return time_us


def take_pool(trace: Trace, number: int, body: Words) -> None:
    if number >= MOST_POOLS:
        raise Misfit(f"there are no {number} pools")
    trace.pools.setdefault(number, Pool(number, *fields(body, 1, 3)))


def take_sample(trace: Trace, pool: int, body: Words) -> None:
    sample = Sample(*numbers(body, len(Sample._fields)))
    time_of(trace, sample.time_us)
    if pool not in trace.pools:
        raise Misfit("a sample is of no pool")
    trace.samples.setdefault(pool, []).append(sample)


def take_process(trace: Trace, _a: int, body: Words) -> None:
    resident = Resident(*numbers(body, 3))
    time_of(trace, resident.time_us)
    trace.resident.append(resident)


def take_stack(trace: Trace, number: int, body: Words) -> None:
    trace.stacks.setdefault(number, tuple(body[:MOST_FRAMES]))


def take_module(trace: Trace, _a: int, body: Words) -> None:
    module = Module(*fields(body, 3, 2))
    if module.start >= module.end:
        raise Misfit("a module has no length")
    trace.modules[module.start] = module  # the later one holds


def take_end(trace: Trace, _a: int, body: Words) -> None:
    trace.end_us = time_of(trace, *numbers(body, 1))


TABLES: dict[int, Callable[[Trace, int, Words], None]] = {
    Type.POOL: take_pool,
    Type.SAMPLE: take_sample,
    Type.PROCESS: take_process,
    Type.STACK: take_stack,
    Type.MODULE: take_module,
    Type.END: take_end,
}


def alloc_event(thread: int, body: Words) -> Event:
    time_ns, address, bytes_, took_ns, info = numbers(body, 5)
    pool, stack, kind = info & 0xFFFF, info >> 16 & 0xFFFFFFFF, info >> 48 & 0xFF
    return Event(time_ns, allocation_kind(kind), thread, checked(address), bytes_, took_ns, pool, stack, 0)


def free_event(thread: int, body: Words) -> Event:
    time_ns, address, took_ns = numbers(body, 3)
    return Event(time_ns, Kind.FREE, thread, checked(address), 0, took_ns, 0, 0, 0)


def resize_event(thread: int, body: Words) -> Event:
    time_ns, old, address, bytes_, took_ns, info = numbers(body, 6)
    pool, stack = info & 0xFFFF, info >> 16 & 0xFFFFFFFF
    return Event(time_ns, Kind.RESIZE, thread, checked(address), bytes_, took_ns, pool, stack, checked(old))


def allocation_kind(number: int) -> Kind:
    if number > Kind.PASSED:
        raise Misfit("an allocation is of no kind")
    return ALLOCATION_KINDS[number]


def checked(address: int) -> int:
    if address >= ADDRESSES:
        raise Misfit("no program has such an address")
    return address


ALLOCATION_KINDS = (Kind.HIT, Kind.MISS, Kind.FAILED, Kind.PASSED)
EVENTS: dict[int, Callable[[int, Words], Event]] = {
    Type.ALLOC: alloc_event,
    Type.FREE: free_event,
    Type.RESIZE: resize_event,
}
