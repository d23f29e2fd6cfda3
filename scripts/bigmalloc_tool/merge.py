"""Many processes as one: what a report tells. Pure.

Totals add. Peaks do not: the peak of the sum lies between the largest of them and their sum, and both are told.
Memory that a forked child shares with its parent counts once. Devices are the same ones where their UUIDs are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bigmalloc_tool import outliers
from bigmalloc_tool.model import Figures, Pool, Process, by_place, counted_twice, total


@dataclass(frozen=True)
class Outlier:
    process: Process
    what: str
    value: float
    middle: float  # of all


@dataclass(frozen=True)
class Merged:
    processes: tuple[Process, ...]
    figures: Figures
    host: Figures  # of host memory alone
    places: tuple[Pool, ...]
    shared_bytes: int  # of the host, counted by more than one process, in live and in peaks
    outliers: tuple[Outlier, ...]

    @property
    def live_bytes(self) -> int:
        return max(self.host.live_bytes - self.shared_bytes, 0)

    @property
    def largest_peak(self) -> int:
        """Of host memory in one process: so much it was at least."""
        return max((peak_of(one) for one in self.processes), default=0)

    @property
    def peak_bound(self) -> int:
        """And so much at most, if all of them were at their peaks at the same time."""
        return max(self.host.gauge("allocated_bytes").peak_bound - self.shared_bytes, self.largest_peak)


def merged(processes: Iterable[Process]) -> Merged:
    ordered = tuple(sorted(latest(processes), key=report_order))
    return Merged(
        ordered,
        total(one.figures for one in ordered),
        total(one.host_figures for one in ordered),
        tuple(by_place(pool for one in ordered for pool in one.pools)),
        counted_twice(ordered),
        tuple(standing_out(ordered)),
    )


def latest(processes: Iterable[Process]) -> list[Process]:
    """Of several dumps of one process the last one: they count from its start."""
    found: dict[tuple[object, ...], Process] = {}
    for one in processes:
        known = found.get(one.identity)
        if known is None or known.time_unix_us <= one.time_unix_us:
            found[one.identity] = one
    return list(found.values())


def report_order(one: Process) -> tuple[object, ...]:
    return (one.rank is None, one.rank or 0, one.host, one.start_ticks, one.pid)


def peak_of(one: Process) -> int:
    """Of host memory, of all its nodes together at most, as the process itself reports it."""
    return one.host_figures.gauge("allocated_bytes").peak_bound


# ---- those that stand out ----


MIB = 1 << 20


@dataclass(frozen=True)
class Measure:
    name: str
    of: Callable[[Process], float]
    least: float  # a difference that is worth a word


MEASURES = (
    Measure("peak", peak_of, 16 * MIB),
    Measure("requests", lambda one: one.figures.requests, 100),
    Measure("hit ratio", lambda one: one.figures.hit_ratio, 0.05),
    Measure("misses", lambda one: one.figures.misses, 100),
    Measure("time in misses", lambda one: one.figures.count("miss_us"), 100_000),
    Measure("live", lambda one: one.host_figures.live_bytes, 16 * MIB),
    Measure("pressure", lambda one: one.figures.count("pressure_events"), 1),
)


def standing_out(processes: Sequence[Process]) -> Iterable[Outlier]:
    """Among those of one kind: ranks are compared with ranks, and what has no rank with its like."""
    for peers in kinds(processes):
        for measure in MEASURES:
            values = [measure.of(one) for one in peers]
            far = outliers.find(values, measure.least)
            yield from (Outlier(peers[n], measure.name, values[n], median(values)) for n in far)


def kinds(processes: Sequence[Process]) -> Iterable[list[Process]]:
    """The first process of each rank is the rank; the others with its number are its children. Those that were forked
    are compared with each other: their parents do other work."""
    groups: dict[tuple[object, ...], list[Process]] = {}
    ranks: set[int | None] = {None}
    for one in processes:
        is_forked = one.figures.count("inherited_bytes") > 0
        is_rank = one.rank not in ranks and not is_forked
        ranks.add(one.rank)
        groups.setdefault((is_rank, is_forked, "" if is_rank else one.command), []).append(one)
    return groups.values()
