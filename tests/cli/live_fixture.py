"""Live files made by hand, as the library writes them, and as it never would.

path = write(folder, Fixture(pid=42, pools=[PoolRecord(hits=3)]))
path = write(folder, Fixture(header={"version": 2}))      # any field of the header as one likes it
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

HEADER = struct.Struct("<8sIIQQQQQIIQQQQQIi40s64s16sQ16x")
COUNTS = struct.Struct("<16Q")  # of the process
POOLS_OFFSET = 0x8000
FIGURES = (
    ("gauge", "allocated_bytes", "memory that blocks in the program's hands hold"),
    ("gauge", "requested_bytes", "what the program asked for"),
    ("gauge", "reserved_bytes", "memory that blocks hold, in the program's hands or idle"),
    ("counter", "failures", "requests that the system refused for good"),
    ("counter", "passed", "requests left to jemalloc: the addresses are used up, or another thread just opened the pools"),
    ("bytes", "missed_bytes", "asked for by requests that no idle block served"),
    ("counter", "miss_us", "microseconds that those took"),
    ("bytes", "grown_bytes", "asked for by realloc of blocks that it resized or moved"),
    ("bytes", "inherited_bytes", "asked for by the parent of this child, and live when it forked"),
    ("bytes", "released_bytes", "bytes that went back, for the following reasons:"),
    ("counter", "pressure_events", "times that memory was found short"),
    ("counter", "emergencies", "times that it was so short that all idle blocks went back"),
)
MIB = 1 << 20
SIZES = (MIB, 2 * MIB, 4 * MIB, 32 * MIB)
CLASSES_OFFSET = 128 + 24 * 3 + 8 * (len(FIGURES) - 3)
POOL_BYTES = 1024


@dataclass
class PoolRecord:
    kind: str = "host"
    id: int = 0
    uuid: str = ""
    pci_address: str = ""
    in_use: int = 1
    sequence: int = 2
    idle_bytes: int = 0
    device_bytes: int = 0
    device_free_bytes: int = 0
    gauges: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # allocated, freed, peak
    counters: dict[str, int] = field(default_factory=dict)
    classes: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)  # by size: hits, misses, idle, live

    def packed(self) -> bytes:
        record = struct.pack(
            "<Q8sII48s16sQQQ16x",
            self.sequence,
            self.kind.encode(),
            self.id,
            self.in_use,
            self.uuid.encode(),
            self.pci_address.encode(),
            self.idle_bytes,
            self.device_bytes,
            self.device_free_bytes,
        )
        for kind, name, _ in FIGURES:
            if kind == "gauge":
                record += struct.pack("<3Q", *self.gauges.get(name, (0, 0, 0)))
            else:
                record += struct.pack("<Q", self.counters.get(name, 0))
        for size in SIZES:
            record += struct.pack("<4Q", *self.classes.get(size, (0, 0, 0, 0)))
        return record.ljust(POOL_BYTES, b"\0")


@dataclass
class Fixture:
    pid: int = 0  # 0: ours
    command: str = "python"
    rank: int = -1
    pools: list[PoolRecord] = field(default_factory=lambda: [PoolRecord()])
    counts: dict[str, int] = field(default_factory=dict)  # of the process
    header: dict[str, int | bytes] = field(default_factory=dict)  # instead of what is right
    schema: str = ""  # likewise
    stats_file: bytes = b""

    def schema_text(self) -> bytes:
        process = "".join(
            f"process counter {name} {HEADER.size + 8 * n} what is called {name}\n" for n, name in enumerate(self.counts)
        )
        return (process + (self.schema or right_schema())).encode()

    def values(self) -> dict[str, int | bytes]:
        pid = self.pid or os.getpid()
        return {
            "magic": b"BIGMLIVE",
            "version": 1,
            "header_bytes": HEADER.size + COUNTS.size + len(self.stats_file),
            "file_bytes": POOLS_OFFSET + len(self.pools) * POOL_BYTES,
            "schema_offset": HEADER.size + COUNTS.size + len(self.stats_file),
            "schema_bytes": len(self.schema_text()),
            "pools_offset": POOLS_OFFSET,
            "pool_bytes": POOL_BYTES,
            "pool_count": len(self.pools),
            "dump_signal": 0,
            "pid": pid,
            "start_ticks": start_ticks(pid),
            "started_us": 0,
            "started_unix_us": 0,
            "pid_ns": os.stat("/proc/self/ns/pid").st_ino,
            "state": 1,
            "rank": self.rank,
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_bytes().strip(),
            "host": os.uname().nodename.encode(),
            "command": self.command.encode(),
            "threshold": MIB,
            **self.header,
        }

    def packed(self) -> bytes:
        counts = [*self.counts.values(), *[0] * 16][:16]
        head = HEADER.pack(*self.values().values()) + COUNTS.pack(*counts) + self.stats_file + self.schema_text()
        return head.ljust(POOLS_OFFSET, b"\0") + b"".join(pool.packed() for pool in self.pools)


def right_schema() -> str:
    lines, offset = [], 128
    for kind, name, doc in FIGURES:
        lines.append(f"pool {kind} {name} {offset} {doc}\n")
        offset += 24 if kind == "gauge" else 8
    for n, size in enumerate(SIZES):
        lines.append(f"class {n} {CLASSES_OFFSET + 32 * n} {size}\n")
    return "".join(lines)


def start_ticks(pid: int) -> int:
    """Of a process that lives; any number for one that does not."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    except OSError:
        return 1


def write(folder: Path, fixture: Fixture) -> Path:
    """As a user's folder has it: NAME is PID and start time."""
    values = fixture.values()
    path = folder / f"{values['pid']}-{values['start_ticks']}"
    path.write_bytes(fixture.packed())
    path.chmod(0o600)
    return path


def typical(pid: int = 0, **more: object) -> Fixture:
    """A process with 9 live blocks of 32 MiB, 3 idle ones, and 90 hits of 102 requests."""
    block = 32 * MIB
    pool = PoolRecord(
        idle_bytes=3 * block,
        gauges={
            "allocated_bytes": (102 * block, 93 * block, 12 * block),
            "requested_bytes": (102 * block, 93 * block, 12 * block),
            "reserved_bytes": (12 * block, 0, 12 * block),
        },
        counters={"missed_bytes": 12 * block, "miss_us": 1200},
        classes={block: (90, 12, 3, 9)},
    )
    return Fixture(pid=pid, pools=[pool], **more)  # type: ignore[arg-type]
