"""Trace files made by hand: of programs whose every figure is known, and damaged ones.

    program = Program()
    block = program.malloc(8 * MIB)
    program.free(block)
    path.write_bytes(program.end())

A Program has pools like the library's, in which a request is a hit when the same size lies idle; its clock
stands still but for what it is told to take.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

MIB = 1 << 20
CHUNK_BYTES = 64 << 10
HEADER, POOL, SAMPLE, PROCESS, ALLOC, FREE, STACK, RESIZE, MODULE, END = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
HIT, MISS, FAILED, PASSED = range(4)
STARTED_US = 5_000_000_000
STARTED_UNIX_US = 1_700_000_000_000_000
HIT_NS, FREE_NS = 60, 45
MISS_NS_PER_MIB = 100_000


def texts(*strings: str | bytes) -> bytes:
    parts = [text if isinstance(text, bytes) else text.encode() for text in strings]
    return b"".join(part + b"\0" * (8 - len(part) % 8) for part in parts)


def record(type_: int, a: int, *words: int, tail: bytes = b"") -> bytes:
    body = struct.pack(f"<{len(words)}Q", *words) + tail
    return struct.pack("<HHI", type_, 1 + len(body) // 8, a) + body


def header(version: int = 1, command: str = "python", rank: str = "", **numbers: int) -> bytes:
    values = {
        "pid": 4242,
        "start_ticks": 777,
        "started_us": STARTED_US,
        "started_unix_us": STARTED_UNIX_US,
        "threshold": MIB,
        "chunk_bytes": CHUNK_BYTES,
        "ring_chunks": 1024,
    }
    values.update(numbers)
    tail = texts("host1", "0f0e0d0c-0b0a-0908-0706-050403020100", command, rank)
    return record(HEADER, version, *values.values(), tail=tail)


def chunk(number: int, body: bytes, dropped: int = 0) -> bytes:
    head = struct.pack("<4sIQQQ", b"BMCK", 32 + len(body), number, dropped, 0)
    return (head + body).ljust(CHUNK_BYTES, b"\0")


def pool_record(number: int, kind: str = "host", id_: int = 0, uuid: str = "") -> bytes:
    return record(POOL, number, id_, tail=texts(kind, uuid, "0000:3b:00.0" if uuid else ""))


class Writer:
    """Records into chunks; what a chunk refers to is repeated in it."""

    def __init__(self, head: bytes):
        self.chunks = [chunk(0, head)]
        self.body = b""
        self.said: set[bytes] = set()

    def add(self, data: bytes, *needs: bytes) -> None:
        new = [need for need in needs if need not in self.said]
        if 32 + len(self.body) + len(data) + sum(map(len, needs)) > CHUNK_BYTES:
            self.close()
            new = list(needs)
        self.said.update(new)
        self.body += b"".join(new) + data

    def close(self) -> None:
        self.chunks.append(chunk(len(self.chunks), self.body))
        self.body = b""
        self.said.clear()

    def ring(self, most: int) -> bytes:
        """The file of a program that may write `most` chunks."""
        kept = {(number - 1) % (most - 1) + 1 if number else 0: data for number, data in enumerate(self.chunks)}
        return b"".join(kept[place] for place in sorted(kept))


@dataclass
class Block:
    address: int
    bytes: int
    size: int  # of the block
    pool: PoolState


@dataclass
class PoolState:
    number: int
    record: bytes
    live: int = 0
    peak: int = 0  # ever
    live_peak: int = 0  # since the last sample
    reserved_peak: int = 0
    requested: int = 0
    hits: int = 0
    misses: int = 0
    missed_bytes: int = 0
    miss_ns: int = 0
    free_blocks: list[Block] = field(default_factory=list)

    @property
    def idle(self) -> int:
        return sum(block.size for block in self.free_blocks)

    def change(self, live: int, requested: int) -> None:
        self.live += live
        self.requested += requested
        self.peak = max(self.peak, self.live)
        self.live_peak = max(self.live_peak, self.live)
        self.reserved_peak = max(self.reserved_peak, self.live + self.idle)


def block_size(bytes_: int) -> int:
    """Eight classes for each doubling."""
    step = 1 << max(bytes_.bit_length() - 4, 0)
    return -(-bytes_ // step) * step


class Program:
    def __init__(self, head: bytes | None = None, sample_us: int = 10_000, events: bool = True):
        self.writer = Writer(head or header())
        self.sample_us = sample_us
        self.events = events
        self.now_ns = STARTED_US * 1000
        self.sampled_us = 0
        self.pools = [self.pool()]
        self.stacks: dict[int, bytes] = {}
        self.next_address = 0x7F00_0000_0000
        self.resident_peak = 0

    def pool(self, kind: str = "host", id_: int = 0, uuid: str = "") -> PoolState:
        number = len(getattr(self, "pools", []))
        state = PoolState(number, pool_record(number, kind, id_, uuid))
        if number:
            self.pools.append(state)
        return state

    def stack(self, *frames: int) -> int:
        number = len(self.stacks) + 1
        self.stacks[number] = record(STACK, number, *frames)
        return number

    def work(self, us: int) -> None:
        self.now_ns += us * 1000

    def malloc(self, bytes_: int, stack: int = 0, thread: int = 4242, pool: PoolState | None = None) -> Block:
        pool = pool or self.pools[0]
        size = block_size(bytes_)
        idle = next((block for block in pool.free_blocks if block.size == size), None)
        if idle:
            pool.free_blocks.remove(idle)
            pool.hits += 1
            took = HIT_NS
        else:
            pool.misses += 1
            pool.missed_bytes += bytes_
            took = MISS_NS_PER_MIB * bytes_ // MIB
            pool.miss_ns += took
        block = Block(idle.address if idle else self.fresh(size), bytes_, size, pool)
        self.now_ns += took
        pool.change(size, bytes_)
        info = pool.number | stack << 16 | (HIT if idle else MISS) << 48
        self.event(record(ALLOC, thread, self.now_ns, block.address, bytes_, took, info), pool, stack)
        self.sample_if_due()
        return block

    def fresh(self, size: int) -> int:
        self.next_address += -(-size // (2 * MIB)) * 2 * MIB
        return self.next_address

    def free(self, block: Block, thread: int = 4242) -> None:
        block.pool.free_blocks.append(block)
        block.pool.change(-block.size, -block.bytes)
        self.event(record(FREE, thread, self.now_ns, block.address, FREE_NS), block.pool, 0)
        self.now_ns += FREE_NS
        self.sample_if_due()

    def fail(self, bytes_: int, kind: int = FAILED) -> None:
        address = 0 if kind == FAILED else 0x5500_0000_0000
        self.event(record(ALLOC, 4242, self.now_ns, address, bytes_, 900, kind << 48), self.pools[0], 0)

    def resize(self, block: Block, bytes_: int, stack: int = 0) -> Block:
        size = block_size(bytes_)
        moved = Block(self.fresh(size), bytes_, size, block.pool)
        block.pool.change(size - block.size, bytes_ - block.bytes)
        info = block.pool.number | stack << 16 | HIT << 48
        words = (self.now_ns, block.address, moved.address, bytes_, 2000, info)
        self.event(record(RESIZE, 4242, *words), block.pool, stack)
        self.now_ns += 2000
        self.sample_if_due()
        return moved

    def event(self, data: bytes, pool: PoolState, stack: int) -> None:
        if self.events:
            self.writer.add(data, pool.record, *([self.stacks[stack]] if stack else []))

    def sample_if_due(self) -> None:
        if self.now_ns // 1000 - self.sampled_us >= self.sample_us:
            self.sample()

    def sample(self) -> None:
        self.sampled_us = self.now_ns // 1000
        for pool in self.pools:
            words = [self.sampled_us, pool.live, pool.live_peak, pool.live + pool.idle, pool.reserved_peak]
            words += [pool.requested, pool.idle, pool.hits, pool.misses, pool.missed_bytes, pool.miss_ns // 1000, 0]
            self.writer.add(record(SAMPLE, pool.number, *words), pool.record)
            pool.live_peak, pool.reserved_peak = pool.live, pool.live + pool.idle
        resident = 200 * MIB + sum(pool.live + pool.idle for pool in self.pools if b"host" in pool.record)
        self.resident_peak = max(self.resident_peak, resident)
        self.writer.add(record(PROCESS, 0, self.sampled_us, resident, self.resident_peak))

    def module(self, start: int, end: int, offset: int, path: str, build_id: str = "") -> None:
        self.writer.add(record(MODULE, 0, start, end, offset, tail=texts(path, build_id)))

    def finish(self) -> Writer:
        self.sample()
        self.writer.add(record(END, 0, self.now_ns // 1000))
        self.writer.close()
        return self.writer

    def end(self) -> bytes:
        return b"".join(self.finish().chunks)


def training(program: Program, steps: int = 40, seed: int = 1) -> Program:
    """Activations that come and go in each step, over weights that stay; a validation with other shapes in between."""
    chance = random.Random(seed)
    sites = [program.stack(0x401000 + 0x100 * site, 0x402010, 0x403020) for site in range(6)]
    for bytes_ in (64 * MIB, 48 * MIB, 16 * MIB, 16 * MIB):
        program.malloc(bytes_, sites[0])
        program.work(20_000)
    for step in range(steps):
        factor = 1.5 if step % 15 == 14 else 1
        activations = []
        for layer in range(8):
            bytes_ = int(factor * (1 << 20 + layer % 5)) + chance.randrange(3) * 4096
            activations.append(program.malloc(bytes_, sites[1 + layer % 5]))
            program.work(chance.randrange(1000, 5000))
        for block in reversed(activations):
            program.free(block)
            program.work(chance.randrange(500, 3000))
    return program
