"""Statistics as JSON, schema "bigmalloc-stats/1": what BIGMALLOC_STATS=json writes, and `bigmalloc stat --json`.

A file may hold several dumps, and anything around them: what a program said on stderr will do. The last dump of a
process is the one that counts. Files come from programs that may have died halfway, so every value is checked.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bigmalloc_tool.errors import FileError, printable, reason
from bigmalloc_tool.model import Figures, Gauge, Life, Place, Pool, Process, SizeClass

VERSION = "1"
BEGIN = re.compile(r'\{\s*"schema"\s*:\s*"bigmalloc-stats/([^"]{0,20})"')
MOST_BYTES = 1 << 28
MOST_NUMBER = 1 << 64
LEVELS = ("id", "mappings", "idle_bytes", "device_bytes", "device_free_bytes")  # whole numbers of a pool that are no counters

Json = Mapping[str, Any]


class NothingThereError(FileError):
    """Another kind of file."""


def read(path: Path) -> list[Process]:
    """Of each process in it the last dump."""
    try:
        text, status = contents(path)
    except OSError as error:
        raise FileError(path, reason(error)) from error
    begins = list(BEGIN.finditer(text))
    if not begins:
        raise NothingThereError(path, "no statistics of bigmalloc; BIGMALLOC_STATS=json writes them")
    processes = [process_of(path, begin[1], decoded(path, text, begin.start()), status) for begin in begins]
    return list({one.identity: one for one in processes}.values())


def contents(path: Path) -> tuple[str, os.stat_result]:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileError(path, "no regular file")
        if status.st_size > MOST_BYTES:
            raise FileError(path, f"larger than {MOST_BYTES >> 20} MiB, which no statistics are")
        return file.read(MOST_BYTES).decode("utf-8", "replace"), status


def decoded(path: Path, text: str, begin: int) -> Json:
    try:
        value, _ = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"damaged or cut short: {error}") from error
    return mapping(path, value)


# ---- values that must be what they are said to be ----


def mapping(path: Path, value: object) -> Json:
    if not isinstance(value, dict):
        raise FileError(path, f"damaged: {printable(repr(value)[:40])} where an object should be")
    return value


def sequence(path: Path, value: object) -> list[object]:
    if not isinstance(value, list):
        raise FileError(path, f"damaged: {printable(repr(value)[:40])} where a list should be")
    return value


def is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_NUMBER


def number(path: Path, where: Json, name: str, default: int = 0) -> int:
    value = where.get(name, default)
    if not is_number(value):
        raise FileError(path, f"damaged: {name} is {printable(repr(value)[:40])}, no number of anything")
    return int(value)


def word(where: Json, name: str) -> str:
    value = where.get(name, "")
    return printable(value) if isinstance(value, str) else ""


# ---- from JSON ----


def process_of(path: Path, version: str, dump: Json, status: os.stat_result) -> Process:
    if version != VERSION:
        raise FileError(path, f"version {printable(version)}, where this command knows {VERSION}")
    host, numa = word(dump, "host"), mapping(path, dump.get("numa", {}))
    pools = [pool_of(path, host, mapping(path, pool)) for pool in sequence(path, dump.get("pools"))]
    return Process(
        pid=number(path, dump, "pid"),
        command=word(dump, "command"),
        pools=tuple(pools),
        host=host,
        rank=None if dump.get("rank") is None else number(path, dump, "rank"),
        boot_id=word(dump, "boot_id"),
        start_ticks=number(path, dump, "start_ticks"),
        time_unix_us=number(path, dump, "time_unix_us"),
        life=Life.ENDED,
        source=str(path),
        uid=status.st_uid,
        local_bytes=number(path, numa, "local_bytes"),
        misplaced_bytes=number(path, numa, "misplaced_bytes"),
    )


def pool_of(path: Path, host: str, pool: Json) -> Pool:
    gauges = {name: gauge_of(path, value) for name, value in pool.items() if isinstance(value, dict)}
    counters = {name: int(value) for name, value in pool.items() if is_number(value) and name not in LEVELS}
    classes = [class_of(path, mapping(path, one)) for one in sequence(path, pool.get("classes", []))]
    idle = sum(one.size * one.idle for one in classes)
    place = Place(word(pool, "kind"), number(path, pool, "id"), host, word(pool, "uuid"), word(pool, "pci_address"))
    figures = Figures(gauges, counters, {one.size: one for one in classes}, number(path, pool, "idle_bytes", idle))
    device = (number(path, pool, name, 0) for name in ("device_bytes", "device_free_bytes"))
    return Pool(place, figures, False, *device)


def gauge_of(path: Path, value: Json) -> Gauge:
    return Gauge.of_one(*(number(path, value, name) for name in ("allocated", "freed", "peak")))


def class_of(path: Path, value: Json) -> SizeClass:
    size, hits, misses, idle = (number(path, value, name) for name in ("size", "hits", "misses", "idle"))
    live = number(path, value, "live") if "live" in value else None
    return SizeClass(size, hits, misses, idle, live)


# ---- to JSON ----


def to_json(process: Process) -> dict[str, object]:
    """What the library would have written, as far as the process is known."""
    return {
        "schema": f"bigmalloc-stats/{VERSION}",
        "command": process.command,
        "pid": process.pid,
        "host": process.host,
        "rank": process.rank,
        "start_ticks": process.start_ticks,
        "boot_id": process.boot_id,
        "time_unix_us": process.time_unix_us,
        "totals": totals_to_json(process.figures),
        "pools": [pool_to_json(pool) for pool in process.pools],
    }


def totals_to_json(figures: Figures) -> dict[str, object]:
    used, served = figures.gauge("requested_bytes").allocated, figures.gauge("allocated_bytes").allocated
    return {
        "requests": figures.requests,
        "hits": figures.hits,
        "misses": figures.misses,
        "failures": figures.count("failures"),
        "passed": figures.count("passed"),
        "hit_ratio": four_digits(figures.hits, figures.requests),
        "reuse_ratio": four_digits(figures.reused_bytes, figures.asked_bytes),
        "allocation_efficiency": four_digits(used, served),
        "oom_retries": figures.count("oom_retries"),
    }


def four_digits(part: int, whole: int) -> float:
    """Rounded down, as the library does."""
    return part * 10000 // whole / 10000 if whole else 0.0


def pool_to_json(pool: Pool) -> dict[str, object]:
    place = pool.place
    device = {"uuid": place.uuid, "pci_address": place.pci_address} if place.uuid else {}
    return {"kind": place.kind, "id": place.id, **device, **figures_to_json(pool.figures)}


def figures_to_json(figures: Figures) -> dict[str, object]:
    return {
        **{name: gauge_to_json(gauge) for name, gauge in figures.gauges.items()},
        **figures.counters,
        "idle_bytes": figures.idle_bytes,
        "fragmentation": four_digits(figures.idle_bytes, figures.reserved_bytes),
        "classes": [class_to_json(one) for one in figures.classes.values()],
    }


def gauge_to_json(gauge: Gauge) -> dict[str, int]:
    bound = {"peak_bound": gauge.peak_bound} if gauge.peak_bound != gauge.peak else {}
    return {"current": gauge.current, "peak": gauge.peak, **bound, "allocated": gauge.allocated, "freed": gauge.freed}


def class_to_json(one: SizeClass) -> dict[str, int]:
    live = {} if one.live is None else {"live": one.live}
    return {"size": one.size, "hits": one.hits, "misses": one.misses, "idle": one.idle, **live}
