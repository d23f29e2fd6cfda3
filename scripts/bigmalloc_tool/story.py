"""A trace as pictures want it: its lines and columns, each made when first asked for."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property

from bigmalloc_tool import timeline
from bigmalloc_tool.timeline import Clock, Points, Rate
from bigmalloc_tool.trace import Kind, Pool, Sample, Trace


@dataclass
class Requests:
    """Of one kind: columns, as there may be millions."""

    times_s: array[float] = field(default_factory=lambda: array("d"))
    bytes: array[float] = field(default_factory=lambda: array("d"))
    took_ns: array[float] = field(default_factory=lambda: array("d"))


class Story:
    def __init__(self, trace: Trace):
        self.trace = trace
        self.clock = Clock(trace, trace.last_us())
        self.shown_s = self.clock.end_s  # more, where several pictures have one axis of time
        self.shown_top = 0.0  # likewise, of the vertical axis
        self.multiple = ""  # whose it is, where there are several

    # ---- Pools ----

    def pools(self, *kinds: str) -> list[Pool]:
        """With samples, in the order of their numbers; no kinds: all."""
        found = [pool for number, pool in sorted(self.trace.pools.items()) if number in self.trace.samples]
        return [pool for pool in found if not kinds or pool.kind in kinds]

    def samples(self, pool: Pool) -> list[Sample]:
        return self.trace.samples[pool.number]

    def has_misses(self) -> bool:
        return any(row.misses and row.seconds for row in self.rates)

    # ---- Lines ----

    def live(self, pool: Pool) -> Points:
        return timeline.live_line(self.samples(pool), self.clock)

    def reserved(self, pool: Pool) -> Points:
        return timeline.reserved_line(self.samples(pool), self.clock)

    def sampled(self, pools: list[Pool], what: str) -> Points:
        """A field of the samples, over all these pools. Their peaks need not have been at one time."""
        seconds = self.clock.seconds
        rows = [[(seconds(row.time_us), getattr(row, what)) for row in self.samples(pool)] for pool in pools]
        return timeline.held(timeline.thin_rows(timeline.summed(rows)), self.clock.end_s)

    def utilisation(self, pool: Pool) -> Points:
        return timeline.utilisation(self.samples(pool), self.clock)

    def resident(self) -> Points:
        rows = [(self.clock.seconds(row.time_us), row.bytes) for row in self.trace.resident]
        return timeline.held(timeline.thin_rows(rows), self.clock.end_s)

    @cached_property
    def rates(self) -> list[Rate]:
        return timeline.rates(self.trace, self.clock) if self.trace.samples else []

    # ---- Requests ----

    @cached_property
    def requests(self) -> dict[Kind, Requests]:
        """Those that were served; only the kinds that there are."""
        found = {Kind.HIT: Requests(), Kind.MISS: Requests()}
        for event in self.trace.events():
            rows = found.get(event.kind)
            if rows is not None:
                rows.times_s.append(self.clock.seconds(event.time_ns / 1000))
                rows.bytes.append(event.bytes)
                rows.took_ns.append(event.took_ns)
        return {kind: rows for kind, rows in found.items() if rows.bytes}

    # ---- Words ----

    def who(self) -> str:
        header = self.trace.header
        return f"{header.command or 'process'} ({header.pid})"

    def brief(self) -> str:
        rank = f"rank {self.trace.header.rank}, " if self.trace.header.rank else ""
        return f"{rank}{self.trace.header.host}, {self.trace.header.pid}"

    def where(self) -> str:
        rank = f"rank {self.trace.header.rank}" if self.trace.header.rank else ""
        parts = (rank, self.trace.header.host, self.date(), f"{self.clock.end_s:.3g} s")
        return "  ·  ".join(part for part in parts if part)

    def date(self) -> str:
        try:
            started = datetime.fromtimestamp(self.trace.header.started_unix_us / 1e6, timezone.utc)
            return started.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        except (ValueError, OverflowError, OSError):
            return ""  # a damaged one
