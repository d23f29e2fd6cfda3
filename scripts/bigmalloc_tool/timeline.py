"""The samples of a trace as lines to draw: pure values, seconds since the start of the process.

A sample tells what a pool holds after a request, and the highest since the sample before. Samples ride on requests, at
most one in some milliseconds: what came right after one and then stayed, the next one tells as its peak. So a peak is
drawn as wide as the time since the sample before. But where a sample is the peak itself, it was its own request that
rose to it: after a pause that is drawn just before it, `width` wide.

     peak        +---------+          +---        live == peak
                 |         |          |
     live   -----+         +----------+
               sample    sample     sample

Thousands of samples fall on one dot of a picture: `thin` makes one of them, and keeps every peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from bigmalloc_tool.trace import Sample, Trace

DOTS = 1000  # across a picture
RATE_DOTS = 80  # fewer, as a rate wants some requests to be counted
NARROWEST = 1 / 400  # of the time that is shown: what still can be seen

Points = list[tuple[float, float]]


class Rate(NamedTuple):
    """Between two instants."""

    begin_s: float
    end_s: float
    hits: int
    misses: int
    miss_us: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s


def thin(samples: Sequence[Sample], dots: int = DOTS) -> list[Sample]:
    """At most so many, and some more: the last one of each stretch of time, with the peaks of all of it."""
    if len(samples) <= dots:
        return list(samples)
    begin = samples[0].time_us
    span = max(samples[-1].time_us - begin, 1)
    by_dot = groupby(samples, lambda sample: (sample.time_us - begin) * dots // span)
    return [merged(list(group)) for _, group in by_dot]


def thin_rows(rows: Sequence[tuple[float, float]], dots: int = DOTS) -> Sequence[tuple[float, float]]:
    """At most so many: the highest of each stretch."""
    if len(rows) <= dots:
        return rows
    begin, span = rows[0][0], max(rows[-1][0] - rows[0][0], 1e-9)
    kept: dict[int, tuple[float, float]] = {}
    for row in rows:
        dot = int((row[0] - begin) * dots / span)
        kept[dot] = max(kept.get(dot, row), row, key=lambda kept_row: kept_row[1])
    return list(kept.values())


def merged(samples: Sequence[Sample]) -> Sample:
    return samples[-1]._replace(
        live_peak=max(sample.live_peak for sample in samples),
        reserved_peak=max(sample.reserved_peak for sample in samples),
    )


def envelope(rows: Iterable[tuple[float, float, float, bool]], width: float) -> Points:
    """The line through (time, value, highest since the one before, did its own request rise to that): see above."""
    points: Points = []
    for time, value, peak, has_risen in rows:
        before = points[-1][0] if points else time
        begin = max(before, time - width) if has_risen else before
        if points and begin > points[-1][0]:
            points.append((begin, points[-1][1]))
        points += [(begin, peak), (time, peak), (time, value)]
    return points


def held(rows: Iterable[tuple[float, float]], until: float) -> Points:
    """Steps: each value holds until the next one."""
    points: Points = []
    for time, value in rows:
        if points:
            points.append((time, points[-1][1]))
        points.append((time, value))
    return [*points, (until, points[-1][1])] if points else []


def summed(parts: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The sum over time of values that each hold until their next one."""
    latest = [0.0] * len(parts)
    changes = sorted((time, part, value) for part, rows in enumerate(parts) for time, value in rows)
    total: dict[float, float] = {}
    for time, part, value in changes:
        latest[part] = value
        total[time] = sum(latest)
    return list(total.items())


class Clock:
    """Seconds since the start of the process."""

    def __init__(self, trace: Trace, last_us: int):
        self.zero_us = trace.header.started_us
        self.end_s = max(self.seconds(last_us), 1e-3)

    def seconds(self, time_us: float) -> float:
        return (time_us - self.zero_us) / 1e6

    @property
    def narrowest(self) -> float:
        return self.end_s * NARROWEST


def live_line(samples: Sequence[Sample], clock: Clock) -> Points:
    rows = ((clock.seconds(row.time_us), row.live, row.live_peak, has_risen(row)) for row in thin(samples))
    return until_end(envelope(rows, clock.narrowest), clock)


def reserved_line(samples: Sequence[Sample], clock: Clock) -> Points:
    rows = ((clock.seconds(row.time_us), row.reserved, row.reserved_peak, has_risen(row)) for row in thin(samples))
    return until_end(envelope(rows, clock.narrowest), clock)


def has_risen(sample: Sample) -> bool:
    return sample.live == sample.live_peak


def until_end(points: Points, clock: Clock) -> Points:
    return [*points, (max(clock.end_s, points[-1][0]), points[-1][1])] if points else []


def utilisation(samples: Sequence[Sample], clock: Clock) -> Points:
    """What part of the reserved bytes is live, in percent."""
    rows = [(clock.seconds(row.time_us), 100 * row.live / row.reserved) for row in thin(samples) if row.reserved]
    return held(rows, clock.end_s)


def rates(trace: Trace, clock: Clock) -> list[Rate]:
    """Of all pools together, from dot to dot. What the first sample tells is new where none before it is lost."""
    hits, misses, miss_us = (totals(trace, clock, field) for field in ("hits", "misses", "miss_us"))
    rows = [(h[0], int(h[1]), int(m[1]), int(us[1])) for h, m, us in zip(hits, misses, miss_us)]
    begin = (0.0, 0, 0, 0) if trace.is_whole() else rows[0]
    ends = {min(int(row[0] * RATE_DOTS / clock.end_s), RATE_DOTS - 1): row for row in rows}
    found: list[Rate] = []
    for end in ends.values():
        if end[0] > begin[0]:
            found.append(Rate(begin[0], end[0], *(after - before for after, before in zip(end[1:], begin[1:]))))
        begin = end
    return found


def totals(trace: Trace, clock: Clock, field: str) -> list[tuple[float, float]]:
    return summed(
        [[(clock.seconds(row.time_us), getattr(row, field)) for row in samples] for samples in trace.samples.values()]
    )
