"""check_trace.py TRACE [--stats FILE] [--list FILE] [--killed] [--lossy] [--calls INNER ANOTHER OUTER]

Is a timeline whole, and true? It is compared with the statistics of the same process, and with the list of its large
requests that the process itself kept (subject_trace.c). Prints figures as lines "name=n".
"""

import argparse
import collections
import json
import struct
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

CHUNK = 65536
HEAD = struct.Struct("<4sIQQQ")
RECORD = struct.Struct("<HHI")
HEADER, POOL, SAMPLE, PROCESS, ALLOC, FREE, STACK, RESIZE, MODULE, END = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
WORDS = {HEADER: 7, POOL: 1, SAMPLE: 12, PROCESS: 3, ALLOC: 5, FREE: 3, RESIZE: 6, MODULE: 3, END: 1}
KINDS = ("hits", "misses", "failures", "passed")


class Record(NamedTuple):
    type: int
    a: int
    words: Tuple[int, ...]
    strings: Tuple[str, ...]
    chunk: int


class Trace(NamedTuple):
    records: List[Record]
    numbers: List[int]
    dropped: int


def expect(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"check_trace: {what}")


def strings_in(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        end = data.index(b"\0", at)
        yield data[at:end].decode()
        at = (end + 8) // 8 * 8


def records_in(chunk: bytes, used: int, number: int) -> Iterator[Record]:
    at = HEAD.size
    while at < used:
        kind, units, a = RECORD.unpack_from(chunk, at)
        expect(units > 0 and at + units * 8 <= used, f"a record of chunk {number} does not fit")
        body = chunk[at + 8:at + units * 8]
        count = WORDS.get(kind, len(body) // 8)
        words = struct.unpack_from(f"<{count}Q", body)
        yield Record(kind, a, words, tuple(strings_in(body[count * 8:])), number)
        at += units * 8


def read(path: str) -> Trace:
    with open(path, "rb") as file:
        data = file.read()
    found: Dict[int, List[Record]] = {}
    dropped = 0
    for start in range(0, len(data) - HEAD.size + 1, CHUNK):
        magic, used, number, lost, _ = HEAD.unpack_from(data, start)
        if magic == b"\0\0\0\0":
            continue
        expect(magic == b"BMCK", f"no chunk at {start}")
        expect(number not in found, f"chunk {number} is there twice")
        expect(HEAD.size <= used <= CHUNK and start + used <= len(data), f"chunk {number} is cut off")
        found[number] = list(records_in(data[start:start + CHUNK], used, number))
        dropped = max(dropped, lost)
    numbers = sorted(found)
    return Trace([r for n in numbers for r in found[n]], numbers, dropped)


def of(trace: Trace, *types: int) -> List[Record]:
    return [r for r in trace.records if r.type in types]


def check_whole(trace: Trace, killed: bool) -> None:
    """Each chunk has what its records speak of, and none between the first and the last is missing."""
    expect(trace.numbers[0] == 0 and trace.records[0].type == HEADER, "there is no header")
    kept = trace.numbers[1:]
    expect(kept == list(range(kept[0], kept[0] + len(kept))), f"chunks are missing: {kept}")
    expect(killed or trace.records[-1].type == END, "there is no end")
    known = set()
    for r in trace.records:
        if r.type in (POOL, STACK):
            known.add((r.type, r.a, r.chunk))
        pools = {SAMPLE: r.a, ALLOC: r.words[-1] & 0xFFFF, RESIZE: r.words[-1] & 0xFFFF} if r.words else {}
        if r.type in pools:
            expect((POOL, pools[r.type], r.chunk) in known, "a pool without a name in its chunk")
        if r.type in (ALLOC, RESIZE) and stack_of(r) != 0:
            expect((STACK, stack_of(r), r.chunk) in known, "a stack that is not in its chunk")


def stack_of(record: Record) -> int:
    return record.words[-1] >> 16 & 0xFFFFFFFF


def check_stats(trace: Trace, path: str) -> None:
    """Peaks are equal, and events as many as the statistics count."""
    with open(path, encoding="utf-8") as file:
        stats = json.load(file)
    numbers = sorted({r.a for r in of(trace, SAMPLE)})
    expect(len(numbers) == len(stats["pools"]), f"{len(numbers)} pools, reported {len(stats['pools'])}")
    names = {r.a: r.strings for r in of(trace, POOL)}
    for number, pool in zip(numbers, stats["pools"]):
        expect(names[number][:2] == (pool["kind"], pool.get("uuid") or ""), f"pool {number} is {names[number]}")
        samples = [r.words for r in of(trace, SAMPLE) if r.a == number]
        for name, place in (("allocated_bytes", 2), ("reserved_bytes", 4)):
            peak = max(words[place] for words in samples)
            expect(peak == pool[name]["peak"], f"{name}: peak {peak}, reported {pool[name]['peak']}")
            expect(samples[-1][place - 1] == pool[name]["current"], f"{name}: not as it was in the end")
        expect(samples[-1][7] == sum(c["hits"] for c in pool["classes"]), "hits differ")
    allocs = of(trace, ALLOC)
    if allocs:
        counts = collections.Counter(r.words[4] >> 48 for r in allocs)
        for kind, name in enumerate(KINDS):
            expect(counts[kind] == stats["totals"][name], f"{name}: {counts[kind]} events, {stats['totals'][name]}")
        check_miss_time(allocs, sum(p["miss_us"] for p in stats["pools"]))


def check_miss_time(allocs: List[Record], reported_us: int) -> None:
    """The events hold what the statistics time, and a look at idle blocks and the clock before."""
    took_us = sum(r.words[3] for r in allocs if r.words[4] >> 48 != 0) / 1000
    expect(reported_us - len(allocs) <= took_us <= 1.2 * reported_us + 50000,
           f"misses took {took_us} us, reported {reported_us}")


def event_of(record: Record) -> Tuple[int, ...]:
    """As the program's list has it."""
    if record.type == ALLOC:
        return (ALLOC, *record.words[1:3])
    return (FREE, record.words[1]) if record.type == FREE else (RESIZE, *record.words[1:4])


def check_list(trace: Trace, path: str) -> None:
    """Every thread has done what it says that it did, in that order, and nothing else."""
    types = {"alloc": ALLOC, "free": FREE, "resize": RESIZE}
    listed = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file:
            kind, thread, *words = line.split()
            listed[int(thread)].append((types[kind], *(int(word) for word in words)))
    traced = collections.defaultdict(list)
    for r in of(trace, ALLOC, FREE, RESIZE):
        traced[r.a].append(event_of(r))
    expect(set(listed) == set(traced), f"threads {sorted(listed)}, traced {sorted(traced)}")
    for number, events in listed.items():
        expect(len(events) == len(traced[number]), f"{len(events)} requests, traced {len(traced[number])}")
        expect(events == traced[number], f"thread {number}: requests differ")


def check_calls(trace: Trace, inner: int, another: int, outer: int) -> None:
    """The calls that the program took by turns, two times each, in modules with a build id; and no more than 32 of a deep one."""
    stacks = {r.a: r.words for r in of(trace, STACK)}
    modules = {r.words[:2]: r.strings for r in of(trace, MODULE)}
    *shallow, deep = (stacks[stack_of(r)] for r in of(trace, ALLOC) if r.words[2] == 8 << 20)
    expect(len(shallow) == 20, f"{len(shallow)} stacks")
    for turn, stack in enumerate(shallow):
        expected = (another if turn // 2 % 2 else inner, outer)
        expect(stack[1:3] == expected, f"{stack} does not go on with {expected} behind its first")
    expect(len(deep) == 32, f"{len(deep)} calls of a deep stack")
    for frame in shallow[0]:
        names = [texts for (start, end), texts in modules.items() if start <= frame < end]
        expect(len(names) > 0, f"{frame:#x} is in no module")
        expect("libbigmalloc" not in names[0][0], "the allocator's own call is among them")
    owner = [texts for (start, end), texts in modules.items() if start <= inner < end][0]
    expect(len(owner[1]) == 40, f"the build id of {owner[0]} is {owner[1]!r}")


def tell(trace: Trace) -> None:
    for name, types in (("samples", (SAMPLE,)), ("events", (ALLOC, FREE, RESIZE)), ("stacks", (STACK,))):
        print(f"{name}={len(of(trace, *types))}")
    print(f"chunks={len(trace.numbers) - 1}\nfirst={(trace.numbers + [0])[1]}\ndropped={trace.dropped}")
    print(f"pid={trace.records[0].words[0]}")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trace")
    parser.add_argument("--stats")
    parser.add_argument("--list")
    parser.add_argument("--killed", action="store_true")
    parser.add_argument("--lossy", action="store_true")
    parser.add_argument("--calls", nargs=3, type=int)
    options = parser.parse_args(arguments)
    trace = read(options.trace)
    check_whole(trace, options.killed or options.lossy)
    expect(options.lossy or trace.dropped == 0, f"{trace.dropped} records are lost")
    if options.stats:
        check_stats(trace, options.stats)
    if options.list:
        check_list(trace, options.list)
    if options.calls:
        check_calls(trace, *options.calls)
    tell(trace)


main()
