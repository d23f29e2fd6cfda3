"""What is known of processes and their pools: values, and sums and differences of them. Pure.

    Process  has Pools  (one for each NUMA node, device and kind of memory)
    Pool     is a Place and Figures
    Figures  are gauges, counters and size classes

Figures add: `total` of two processes, of all pools of one, of all that is on one device. What adds and what
does not is told once, by `Gauge.__add__`: bytes do; peaks do not, as nobody knows whether they were at the
same instant. The peak of a sum is at least the largest of the peaks and at most the sum of them.

Gauges come as the library counts them: bytes that came and went since the start. What is there now is their
difference. Units are bytes, and microseconds where a name ends in _us.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce

GAUGES = ("allocated_bytes", "requested_bytes", "reserved_bytes")


@dataclass(frozen=True)
class Figure:
    """What a source says of one of its figures."""

    type: str  # gauge, counter, bytes
    name: str
    doc: str


@dataclass(frozen=True)
class Gauge:
    allocated: int = 0
    freed: int = 0
    peak: int = 0  # of a sum: the largest of the peaks, the least that its peak can have been
    peak_bound: int = 0  # of a sum: the most that its peak can have been; else the same as peak

    @staticmethod
    def of_one(allocated: int, freed: int, peak: int) -> Gauge:
        return Gauge(allocated, freed, peak, peak)

    @property
    def current(self) -> int:
        return max(self.allocated - self.freed, 0)

    def __add__(self, other: Gauge) -> Gauge:
        return Gauge(
            self.allocated + other.allocated,
            self.freed + other.freed,
            max(self.peak, other.peak),
            self.peak_bound + other.peak_bound,
        )


@dataclass(frozen=True)
class SizeClass:
    size: int
    hits: int = 0
    misses: int = 0
    idle: int = 0  # blocks
    live: int | None = None  # blocks; None: the source does not tell

    @property
    def requests(self) -> int:
        return self.hits + self.misses

    def __add__(self, other: SizeClass) -> SizeClass:
        lives = [one.live for one in (self, other) if one.live is not None]
        return SizeClass(
            self.size,
            self.hits + other.hits,
            self.misses + other.misses,
            self.idle + other.idle,
            sum(lives) if lives else None,
        )


@dataclass(frozen=True)
class Figures:
    gauges: dict[str, Gauge] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)  # of events, bytes and microseconds
    classes: dict[int, SizeClass] = field(default_factory=dict)  # by size
    idle_bytes: int = 0

    def gauge(self, name: str) -> Gauge:
        return self.gauges.get(name, Gauge())

    def count(self, name: str) -> int:
        return self.counters.get(name, 0)

    @property
    def live_bytes(self) -> int:
        return self.gauge("allocated_bytes").current

    @property
    def reserved_bytes(self) -> int:
        return self.gauge("reserved_bytes").current

    @property
    def hits(self) -> int:
        return sum(one.hits for one in self.classes.values())

    @property
    def misses(self) -> int:
        return sum(one.misses for one in self.classes.values())

    @property
    def requests(self) -> int:
        return self.hits + self.misses + self.count("failures") + self.count("passed")

    @property
    def hit_ratio(self) -> float:
        return ratio(self.hits, self.requests)

    @property
    def asked_bytes(self) -> int:
        """By requests; what realloc and fork added is in the gauge, and no request's."""
        others = self.count("grown_bytes") + self.count("inherited_bytes")
        return max(self.gauge("requested_bytes").allocated - others, 0)

    @property
    def reused_bytes(self) -> int:
        return max(self.asked_bytes - self.count("missed_bytes"), 0)

    @property
    def mean_miss_us(self) -> float:
        return ratio(self.count("miss_us"), self.misses)

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            {name: self.gauge(name) + other.gauge(name) for name in in_order(self.gauges, other.gauges)},
            {name: self.count(name) + other.count(name) for name in in_order(self.counters, other.counters)},
            merged_classes([*self.classes.values(), *other.classes.values()]),
            self.idle_bytes + other.idle_bytes,
        )

    def since(self, before: Figures) -> Figures:
        """What came in between: counters and bytes that came and went, never less than none. What is a level, as
        idle blocks are and peaks, stays that of now."""
        return Figures(
            {name: gauge_since(now, before.gauge(name)) for name, now in self.gauges.items()},
            {name: max(now - before.count(name), 0) for name, now in self.counters.items()},
            {size: class_since(now, before.classes.get(size)) for size, now in self.classes.items()},
            self.idle_bytes,
        )


@dataclass(frozen=True)
class Place:
    """Where a pool's memory is. A device is the same one for every process that names its UUID."""

    kind: str  # host, device, pinned
    id: int  # of the NUMA node or the device, as the process numbers them
    host: str = ""  # the machine
    uuid: str = ""
    pci_address: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.kind, self.uuid) if self.uuid else (self.kind, self.host, str(self.id))

    def __str__(self) -> str:
        return f"{'node' if self.kind == 'host' else self.kind} {self.id}"


@dataclass(frozen=True)
class Pool:
    place: Place
    figures: Figures
    is_torn: bool = False  # read while it changed, so that its figures are of about one instant
    device_bytes: int = 0  # of the whole device's memory; 0: not known, or none of its own
    device_free_bytes: int = 0  # of that, as the process was told last

    def __add__(self, other: Pool) -> Pool:
        """Of one place. Of what several were told of a device, who knows when, the least is taken for free."""
        told = [one.device_free_bytes for one in (self, other) if one.device_bytes]
        return Pool(
            self.place,
            self.figures + other.figures,
            self.is_torn or other.is_torn,
            max(self.device_bytes, other.device_bytes),
            min(told, default=0),
        )


class Life(enum.Enum):
    RUNNING = "running"
    ENDED = "ended"  # regularly
    KILLED = "killed"  # it left its live file behind
    UNKNOWN = "unknown"  # of a PID namespace that cannot be seen from here


@dataclass(frozen=True)
class Process:
    pid: int  # as it sees itself
    command: str
    pools: tuple[Pool, ...]
    host: str = ""
    rank: int | None = None
    boot_id: str = ""
    start_ticks: int = 0  # since the boot
    pid_namespace: int = 0
    started_us: int = 0  # monotonic
    started_unix_us: int = 0
    time_unix_us: int = 0  # when the figures were read or written; 0: not known
    threshold: int = 0
    dump_signal: int = 0  # a signal on which the library's handler dumps; 0: none
    life: Life = Life.ENDED
    source: str = ""  # the file that tells all this
    pid_here: int = 0  # as the reader sees it; 0: not at all
    resident_bytes: int | None = None
    local_bytes: int = 0  # measured on the node of their pool, and elsewhere; 0 and 0: not measured
    misplaced_bytes: int = 0
    uid: int = -1  # of the owner of the source
    taken_s: float = 0.0  # when the reader read it, by its monotonic clock
    counts: dict[str, int] = field(default_factory=dict)  # of the process, and of none of its pools
    counted: tuple[Figure, ...] = ()  # what a live file says of those
    schema: tuple[Figure, ...] = ()  # of a live file, of its pools
    sizes: tuple[int, ...] = ()  # of its classes, those never asked for among them
    version: str = ""  # of the library; "": not told
    stats_file: str = ""  # where its statistics go, with %p and %n still in it; "": not told

    @property
    def figures(self) -> Figures:
        return total(pool.figures for pool in self.pools)

    @property
    def host_figures(self) -> Figures:
        return total(pool.figures for pool in self.pools if pool.place.kind != "device")

    @property
    def identity(self) -> tuple[object, ...]:
        """What no two processes share. A dump that does not tell enough is a process of its own."""
        known = self.boot_id or self.start_ticks
        return (self.host, self.boot_id, self.pid, self.start_ticks) if known else (self.source, self.pid)

    @property
    def inherited_bytes(self) -> int:
        """Of what is live: shared with the parent that it was forked from, and maybe with others."""
        return min(self.host_figures.count("inherited_bytes"), self.host_figures.live_bytes)


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def sum_of_counts(processes: Iterable[Process]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in processes:
        for name, count in one.counts.items():
            found[name] = found.get(name, 0) + count
    return found


def in_order(*groups: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def total(figures: Iterable[Figures]) -> Figures:
    return reduce(Figures.__add__, figures, Figures())


def merged_classes(classes: Iterable[SizeClass]) -> dict[int, SizeClass]:
    merged: dict[int, SizeClass] = {}
    for one in classes:
        merged[one.size] = merged[one.size] + one if one.size in merged else one
    return dict(sorted(merged.items()))


def gauge_since(now: Gauge, before: Gauge) -> Gauge:
    came, went = max(now.allocated - before.allocated, 0), max(now.freed - before.freed, 0)
    return replace(now, allocated=came, freed=went)


def class_since(now: SizeClass, before: SizeClass | None) -> SizeClass:
    then = before or SizeClass(now.size)
    return replace(now, hits=max(now.hits - then.hits, 0), misses=max(now.misses - then.misses, 0))


def by_place(pools: Iterable[Pool]) -> list[Pool]:
    """One pool for each place: contexts share devices, and processes share devices and nodes."""
    merged: dict[tuple[str, ...], Pool] = {}
    for pool in pools:
        known = merged.get(pool.place.key)
        if known is not None:
            pool = known + pool
        merged[pool.place.key] = pool
    return sorted(merged.values(), key=place_order)


def place_order(pool: Pool) -> tuple[object, ...]:
    place = pool.place
    return ({"host": 0, "pinned": 1}.get(place.kind, 2), place.host, place.id, place.uuid)


def counted_twice(processes: Iterable[Process]) -> int:
    """Live bytes that more than one of them counts: forked children have their parent's blocks, and until somebody
    writes to them it is the same memory. Where the parent is not among them, one of the children counts for it."""
    shared: dict[str, list[int]] = {}
    largest_parent: dict[str, int] = {}
    for one in processes:
        if one.inherited_bytes:
            shared.setdefault(one.host, []).append(one.inherited_bytes)
        elif not one.figures.count("inherited_bytes"):
            peak = one.host_figures.gauge("allocated_bytes").peak_bound
            largest_parent[one.host] = max(largest_parent.get(one.host, 0), peak)
    return sum(
        sum(inherited) - (0 if largest_parent.get(host, 0) >= max(inherited) else max(inherited))
        for host, inherited in shared.items()
    )
