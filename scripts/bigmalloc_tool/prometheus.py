"""Processes as metrics in Prometheus's text format 0.0.4: the names and labels of BIGMALLOC_STATS=prom. Pure.

What several processes have on one place and in one rank is one sample, their sum; of peaks that is an upper bound.
Counters take what processes had that have ended, as a counter never falls; gauges are of living ones alone.

Names come from the files of processes, of which some may mean harm: each family is written once, whatever they
say, and no name or label can end a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bigmalloc_tool.model import Figure, Figures, Process, by_place, sum_of_counts, total

NAME = re.compile("[a-z][a-z0-9_]{0,100}")
PREFIX = "bigmalloc_"
SIZES = "bigmalloc_request_size_bytes"
DEVICE, DEVICE_FREE = "bigmalloc_device_bytes", "bigmalloc_device_free_bytes"
OURS = (SIZES, "bigmalloc_info", "bigmalloc_processes", DEVICE, DEVICE_FREE)  # families that no figure may be
MICRO = 1_000_000
Text = Callable[[Figures], str]


class Labels(NamedTuple):
    kind: str
    place: str  # "node" or "gpu", and its value
    rank: str


@dataclass(frozen=True)
class Family:
    name: str
    doc: str
    is_counter: bool
    value: Text


@dataclass(frozen=True)
class Sums:
    """By their labels."""

    living: dict[Labels, Figures]
    ever: dict[Labels, Figures]  # with those that have ended


def text(running: list[Process], ended: list[Process]) -> str:
    known = [*running, *ended]
    by_labels = Sums(sums(labelled(running)), sums(labelled(known)))
    bounds = sorted({size for one in known for size in one.sizes if size & (size - 1) == 0})
    families_of_pools = families(figure for one in known for figure in one.schema)
    lines = [
        *info(running),
        *family_lines(families_of_pools, by_labels),
        *device_lines(running),
        *process_lines(known, {family.name for family in families_of_pools}),
        *size_lines(by_labels.ever, bounds),
    ]
    return "\n".join(lines) + "\n"


def labelled(processes: Iterable[Process]) -> list[tuple[Labels, Figures]]:
    return [
        (labels_of(one.rank, pool.place.kind, pool.place.id, pool.place.uuid), pool.figures)
        for one in processes
        for pool in one.pools
    ]


def labels_of(rank: int | None, kind: str, ident: int, uuid: str) -> Labels:
    place = label("gpu", uuid) if uuid else label("node", str(ident))
    return Labels(label("kind", kind), place, "" if rank is None else label("rank", str(rank)))


def sums(parts: Iterable[tuple[Labels, Figures]]) -> dict[Labels, Figures]:
    by_labels: dict[Labels, list[Figures]] = {}
    for labels, figures in parts:
        by_labels.setdefault(labels, []).append(figures)
    return {labels: total(by_labels[labels]) for labels in sorted(by_labels)}


def label(name: str, value: str) -> str:
    plain = "".join(c if " " <= c <= "~" else "?" for c in value)
    return '{}="{}"'.format(name, plain.replace("\\", "\\\\").replace('"', '\\"'))


def braces(labels: Labels, *more: str) -> str:
    return "{" + ",".join(part for part in (*labels, *more) if part) + "}"


# ---- families ----


def head(name: str, doc: str, kind: str) -> list[str]:
    escaped = doc.replace("\\", "\\\\")
    return [f"# HELP {name} {escaped}", f"# TYPE {name} {kind}"]


def info(processes: list[Process]) -> list[str]:
    versions = sorted({one.version for one in processes if one.version})
    lines = head("bigmalloc_info", "the version of the library", "gauge") if versions else []
    lines += [f"bigmalloc_info{{{label('version', version)}}} 1" for version in versions]
    doc = "processes with large requests, now"
    return [*lines, *head("bigmalloc_processes", doc, "gauge"), f"bigmalloc_processes {len(processes)}"]


def family_lines(those: list[Family], by_labels: Sums) -> list[str]:
    lines = []
    for family in those:
        lines += head(family.name, family.doc, "counter" if family.is_counter else "gauge")
        source = by_labels.ever if family.is_counter else by_labels.living
        lines += [f"{family.name}{braces(labels)} {family.value(figures)}" for labels, figures in source.items()]
    return lines


DERIVED = (
    Family("bigmalloc_requests_total", "large requests", True, lambda f: str(f.requests)),
    Family("bigmalloc_hits_total", "requests served by idle blocks", True, lambda f: str(f.hits)),
    Family(
        "bigmalloc_misses_total",
        "requests served with pages of other blocks or of the system",
        True,
        lambda f: str(f.misses),
    ),
    Family("bigmalloc_idle_bytes", "memory that idle blocks hold", False, lambda f: str(f.idle_bytes)),
)


def families(figures: Iterable[Figure]) -> list[Family]:
    """Each name once: the first one who names it says what it is."""
    found = {family.name: family for family in DERIVED}
    for figure in dict.fromkeys(figures):
        for family in families_of(figure) if NAME.fullmatch(figure.name) else []:
            found.setdefault(family.name, family)
    return [family for name, family in found.items() if name not in OURS]


def families_of(figure: Figure) -> list[Family]:
    name, doc = figure.name, figure.doc
    if figure.type == "gauge" and name.endswith("_bytes"):
        return gauge_families(name, doc)
    if figure.type not in ("counter", "bytes"):
        return []
    if name.endswith("_us"):
        seconds = doc[len("micro") :] if doc.startswith("micro") else doc
        return [Family(f"{PREFIX}{name[:-3]}_seconds_total", seconds, True, lambda f: seconds_text(f.count(name)))]
    return [Family(f"{PREFIX}{name}_total", doc, True, lambda f: str(f.count(name)))]


def gauge_families(name: str, doc: str) -> list[Family]:
    stem = PREFIX + name[: -len("_bytes")]
    return [
        Family(f"{stem}_bytes", doc, False, lambda f: str(f.gauge(name).current)),
        Family(f"{stem}_peak_bytes", f"{doc}, at most", False, lambda f: str(f.gauge(name).peak_bound)),
        Family(
            f"{stem}_acquired_bytes_total", f"{doc}, all that ever came", True, lambda f: str(f.gauge(name).allocated)
        ),
        Family(f"{stem}_released_bytes_total", f"{doc}, all that ever went", True, lambda f: str(f.gauge(name).freed)),
    ]


def seconds_text(us: int) -> str:
    return f"{us // MICRO}.{us % MICRO:06}"


# ---- devices, and what is no pool's ----


def device_lines(processes: Iterable[Process]) -> list[str]:
    """A device is there once, however many processes use it: what it has is no sum of theirs."""
    pools = by_place(pool for one in processes for pool in one.pools if pool.device_bytes and pool.place.uuid)
    gpus = {label("gpu", pool.place.uuid): pool for pool in pools}
    return [
        *head(DEVICE, "memory of the device", "gauge"),
        *(f"{DEVICE}{{{gpu}}} {pool.device_bytes}" for gpu, pool in gpus.items()),
        *head(DEVICE_FREE, "memory of the device that is free, as the driver told last", "gauge"),
        *(f"{DEVICE_FREE}{{{gpu}}} {pool.device_free_bytes}" for gpu, pool in gpus.items()),
    ]


def process_lines(processes: list[Process], taken: set[str]) -> list[str]:
    """By rank; where nobody has counted anything, as without CUDA, there is none."""
    lines = []
    by_rank: dict[int | None, list[Process]] = {}
    for one in processes:
        if any(one.counts.values()):
            by_rank.setdefault(one.rank, []).append(one)
    ranks = sorted(by_rank, key=lambda rank: -1 if rank is None else rank)
    for figure in dict.fromkeys(figure for those in by_rank.values() for one in those for figure in one.counted):
        name = f"{PREFIX}{figure.name}_total"
        if figure.type == "counter" and NAME.fullmatch(figure.name) and name not in taken | {*OURS}:
            taken = taken | {name}
            lines += head(name, figure.doc, "counter")
            for rank in ranks:
                braced = "" if rank is None else f"{{{label('rank', str(rank))}}}"
                lines.append(f"{name}{braced} {sum_of_counts(by_rank[rank]).get(figure.name, 0)}")
    return lines


# ---- sizes ----


def size_lines(ever: dict[Labels, Figures], bounds: list[int]) -> list[str]:
    lines = head(SIZES, "sizes of the requests that were served, as size classes", "histogram")
    for labels, figures in ever.items():
        lines += histogram(labels, figures, bounds)
    return lines


def histogram(labels: Labels, figures: Figures, bounds: list[int]) -> list[str]:
    """Of eight classes to a doubling the one that is a power of two has a bucket."""
    served = figures.hits + figures.misses
    counts = [sum(one.requests for one in figures.classes.values() if one.size <= bound) for bound in bounds]
    buckets = [*zip(map(str, bounds), counts), ("+Inf", served)]
    return [
        *(f"{SIZES}_bucket{braces(labels, label('le', bound))} {count}" for bound, count in buckets),
        f"{SIZES}_sum{braces(labels)} {figures.asked_bytes}",
        f"{SIZES}_count{braces(labels)} {served}",
    ]
