"""Live files: the figures of a running process, which it keeps in a file on a tmpfs while it counts.

    header   who it is, where the rest lies, what it counts, and, from byte 384 on, where its statistics go
    schema   lines of text: which figures a pool record has, at which offsets
    pools    records of one size, each with a sequence number that is odd while the record changes

So nothing of a library's version need be known here but the header. The writer is another program: every size
and offset is checked against the file, and the file is read by pread(2), never mapped, as a mapping of a file that
shrinks kills its reader by SIGBUS. Numbers are little-endian.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from bigmalloc_tool.errors import FileError, printable, reason
from bigmalloc_tool.model import Figure, Figures, Gauge, Life, Place, Pool, Process, SizeClass

MAGIC = b"BIGMLIVE"
VERSION = 1
HEADER = struct.Struct("<8s I I Q Q Q Q Q I I Q Q Q Q Q I i 40s 64s 16s Q 16x")
STATS_FILE_AT = HEADER.size + 16 * 8  # behind what is counted of the process
POOL_HEAD_BYTES = 128
ENDED = 2  # a state of the header
MOST_HEADER_BYTES = 1 << 14  # the head and a name of a file
MOST_SCHEMA_BYTES = 1 << 18  # a real one has some 12 KiB
MOST_LINES = 2048
MOST_DIGITS = 18  # of a number in the schema, which so fits into what C calls a long
MOST_POOL_BYTES = 1 << 20
MOST_POOLS = 1024
TRIES = 1000  # to read a record between two changes of it


@dataclass(frozen=True)
class Header:
    magic: bytes
    version: int
    header_bytes: int
    file_bytes: int
    schema_offset: int
    schema_bytes: int
    pools_offset: int
    pool_bytes: int
    pool_count: int
    dump_signal: int
    pid: int
    start_ticks: int
    started_us: int
    started_unix_us: int
    pid_namespace: int
    state: int
    rank: int
    boot_id: bytes
    host: bytes
    command: bytes
    threshold: int


@dataclass(frozen=True)
class Schema:
    process: tuple[tuple[int, Figure], ...]  # with the offset in the header
    figures: tuple[tuple[int, Figure], ...]  # with the offset in the pool record
    classes: tuple[tuple[int, int], ...]  # offset and size
    version: str  # of the library


class Source:
    """An open file that another program writes."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.status = os.fstat(fd)

    def bad(self, what: str) -> FileError:
        return FileError(self.path, what)

    def bytes_at(self, offset: int, length: int) -> bytes:
        if offset + length > self.status.st_size:
            raise self.bad(f"truncated: {length} bytes at {offset} are not there")
        data = os.pread(self.fd, length, offset)
        if len(data) < length:
            raise self.bad("it shrank while it was read")
        return data


def read(path: Path) -> Process:
    """The process that writes it, or wrote it; life, pid_here and resident_bytes are for others to find out."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(path, reason(error)) from error
    try:
        return read_open(Source(path, fd))
    except OSError as error:
        raise FileError(path, reason(error)) from error
    finally:
        os.close(fd)


def is_one(path: Path) -> bool:
    """Or is meant to be one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, len(MAGIC)) == MAGIC
    except OSError:
        return False
    finally:
        os.close(fd)


def read_open(source: Source) -> Process:
    if not stat.S_ISREG(source.status.st_mode):
        raise source.bad("no regular file")
    header = read_header(source)
    schema = parse_schema(source, source.bytes_at(header.schema_offset, header.schema_bytes))
    places = [header.pools_offset + n * header.pool_bytes for n in range(header.pool_count)]
    host = text(header.host)
    pools = [read_pool(source, schema, host, place, header.pool_bytes) for place in places]
    return Process(
        pid=header.pid,
        command=text(header.command),
        pools=tuple(pool for pool in pools if pool is not None),
        host=host,
        rank=header.rank if header.rank >= 0 else None,
        boot_id=text(header.boot_id),
        start_ticks=header.start_ticks,
        pid_namespace=header.pid_namespace,
        started_us=header.started_us,
        started_unix_us=header.started_unix_us,
        time_unix_us=time.time_ns() // 1000,
        threshold=header.threshold,
        dump_signal=header.dump_signal,
        life=Life.ENDED if header.state == ENDED else Life.UNKNOWN,
        source=str(source.path),
        uid=source.status.st_uid,
        taken_s=time.monotonic(),
        counts=counts_of(source, schema, header),
        counted=tuple(figure for _, figure in schema.process),
        schema=tuple(figure for _, figure in schema.figures),
        sizes=tuple(size for _, size in schema.classes),
        version=schema.version,
        stats_file=text(source.bytes_at(STATS_FILE_AT, max(0, header.header_bytes - STATS_FILE_AT))),
    )


def read_header(source: Source) -> Header:
    if source.status.st_size < HEADER.size:
        raise source.bad("truncated: too short for a live file of bigmalloc")
    header = Header(*HEADER.unpack(source.bytes_at(0, HEADER.size)))
    if header.magic != MAGIC:
        raise source.bad("no live file of bigmalloc")
    if header.version != VERSION:
        raise source.bad(f"version {header.version}, where this command knows {VERSION}; use the library's own command")
    sizes = (
        HEADER.size <= header.header_bytes <= MOST_HEADER_BYTES
        and header.schema_bytes <= MOST_SCHEMA_BYTES
        and POOL_HEAD_BYTES <= header.pool_bytes <= MOST_POOL_BYTES
        and header.pool_count <= MOST_POOLS
    )
    if not sizes:
        raise source.bad("damaged: its header has sizes that cannot be")
    return header


def text(raw: bytes) -> str:
    return printable(raw.split(b"\0", 1)[0].decode("utf-8", "replace"))


# ---- the schema ----


def parse_schema(source: Source, raw: bytes) -> Schema:
    lines = raw.rstrip(b"\0").decode("ascii", "replace").splitlines()
    if len(lines) > MOST_LINES:
        raise source.bad("damaged: its schema is too long")
    process, figures, classes, version = [], [], [], ""
    for words in (line.split(None, 4) for line in lines):
        if words[:1] in (["pool"], ["process"]) and len(words) >= 4:
            doc = printable(words[4]) if len(words) > 4 else ""
            of = figures if words[0] == "pool" else process
            of.append((number(source, words[3]), Figure(words[1], words[2], doc)))
        elif words[:1] == ["class"] and len(words) == 4:
            classes.append((number(source, words[2]), number(source, words[3])))
        elif words[:1] == ["library"] and len(words) == 2:
            version = printable(words[1])
    return Schema(tuple(process), tuple(figures), tuple(classes), version)


def number(source: Source, word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS):
        raise source.bad(f"damaged: {printable(word)} in its schema is no number")
    return int(word)


# ---- the process ----


def counts_of(source: Source, schema: Schema, header: Header) -> dict[str, int]:
    head = source.bytes_at(0, header.header_bytes)
    try:
        return {figure.name: struct.unpack_from("<Q", head, offset)[0] for offset, figure in schema.process}
    except struct.error as error:
        raise source.bad("damaged: its schema names figures beyond the header") from error


# ---- the pools ----


def read_pool(source: Source, schema: Schema, host: str, offset: int, length: int) -> Pool | None:
    record, is_torn = read_record(source, offset, length)
    kind, ident, in_use = struct.unpack_from("<8sII", record, 8)
    if not in_use:
        return None
    uuid, pci_address, idle_bytes, *device = struct.unpack_from("<48s16sQQQ", record, 24)
    place = Place(text(kind), ident, host, text(uuid), text(pci_address))
    try:
        return Pool(place, figures_of(schema, record, idle_bytes), is_torn, *device)
    except struct.error as error:
        raise source.bad("damaged: its schema names figures beyond the record") from error


def read_record(source: Source, offset: int, length: int) -> tuple[bytes, bool]:
    """Whole, as its sequence number is even and the same before and after; torn where the writer is too busy, or died
    while it wrote."""
    record = b""
    for _ in range(TRIES):
        before = source.bytes_at(offset, 8)
        record = source.bytes_at(offset, length)
        if before[0] % 2 == 0 and before == record[:8] == source.bytes_at(offset, 8):
            return record, False
    return record, True


def figures_of(schema: Schema, record: bytes, idle_bytes: int) -> Figures:
    gauges: dict[str, Gauge] = {}
    counters: dict[str, int] = {}
    for offset, figure in schema.figures:
        if figure.type == "gauge":
            gauges[figure.name] = Gauge.of_one(*struct.unpack_from("<3Q", record, offset))
        elif figure.type in ("counter", "bytes"):
            counters[figure.name] = struct.unpack_from("<Q", record, offset)[0]
    classes = (SizeClass(size, *struct.unpack_from("<4Q", record, offset)) for offset, size in schema.classes)
    used = {one.size: one for one in classes if one.hits or one.misses or one.idle or one.live}
    return Figures(gauges, counters, used, idle_bytes)
