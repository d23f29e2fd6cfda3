"""What processes do between two looks at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bigmalloc_tool.model import Figures, Pool, Process, by_place

MICRO = 1e-6


@dataclass(frozen=True)
class View:
    """A process now, and what it did in the seconds before."""

    process: Process
    growth: Figures  # see Figures.since
    seconds: float

    def rate(self, n: float) -> float:
        return n / self.seconds if self.seconds > 0 else 0.0

    @property
    def figures(self) -> Figures:
        return self.process.figures

    @property
    def requests_rate(self) -> float:
        return self.rate(self.growth.requests)

    @property
    def misses_rate(self) -> float:
        return self.rate(self.growth.misses)

    @property
    def age_s(self) -> float:
        return max(self.process.taken_s - self.process.started_us * MICRO, 0.0)


@dataclass
class Watch:
    """Remembers the last look. At the first one, a process did all that it ever did, since its start."""

    last: dict[tuple[object, ...], Process] = field(default_factory=dict)

    def look(self, processes: Iterable[Process]) -> list[View]:
        now = {one.identity: one for one in processes}
        views = [view_of(one, self.last.get(identity)) for identity, one in now.items()]
        self.last = now
        return views


def view_of(now: Process, before: Process | None) -> View:
    if before is None:
        return View(now, now.figures, max(now.taken_s - now.started_us * MICRO, 0.0))
    return View(now, now.figures.since(before.figures), now.taken_s - before.taken_s)


def places(views: Iterable[View]) -> list[Pool]:
    return by_place(pool for view in views for pool in view.process.pools)
