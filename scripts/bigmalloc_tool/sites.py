"""Call sites: what was still live at the end, what asked for most, and what missed most. As text, and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from bigmalloc_tool import table
from bigmalloc_tool.history import Site, allocating_sites, live_sites
from bigmalloc_tool.symbols import Frame, resolve
from bigmalloc_tool.trace import Trace
from bigmalloc_tool.units import bytes_text, count_text, micros_text

Frames = dict[int, Frame]
Columns = dict[str, Callable[[Site], str]]
SCHEMA = "bigmalloc-sites/1"

LIVE_COLUMNS: Columns = {
    "live": lambda site: bytes_text(site.bytes),
    "blocks": lambda site: count_text(site.blocks),
    "each": lambda site: bytes_text(site.bytes_each),
}
ASKED_COLUMNS: Columns = {
    "asked for": lambda site: bytes_text(site.bytes),
    "requests": lambda site: count_text(site.blocks),
    "misses": lambda site: count_text(site.misses),
    "mean time": lambda site: micros_text(site.took_ns / site.blocks / 1000),
}
WHERE = "call site"


def write(trace: Trace, out: BinaryIO, chosen: argparse.Namespace) -> None:
    live, asking = live_sites(trace), allocating_sites(trace)
    shown = {"live": live[: chosen.top], "asking": asking[: chosen.top], "missing": missing(asking)[: chosen.top]}
    addresses = {address for group in shown.values() for site in group for address in site.frames}
    frames = resolve(addresses, trace.modules.values())
    if chosen.json:
        out.write(json.dumps(as_json(trace, shown, live, frames), indent=1).encode() + b"\n")
    else:
        lines = text(trace, shown, live, asking, lambda site: called_by(site, frames, chosen.frames))
        out.write("".join(f"{line}\n" for line in lines).encode())


def missing(sites: list[Site]) -> list[Site]:
    return sorted((site for site in sites if site.misses), key=lambda site: (-site.misses, -site.bytes))


# ---- Text ----


def text(
    trace: Trace, shown: dict[str, list[Site]], live: list[Site], asking: list[Site], where: Callable[[Site], list[str]]
) -> list[str]:
    end = "at the end" if trace.end_us else "when the trace breaks off"
    return [
        f"{trace.header.command or 'process'} ({trace.header.pid}) on {trace.header.host}",
        "",
        f"Live {end}: {sum_text(live, 'block')}",
        *section(shown["live"], LIVE_COLUMNS, where),
        "",
        f"Asked for in all: {sum_text(asking, 'request')}",
        *section(shown["asking"], ASKED_COLUMNS, where),
        "",
        f"Not served by idle blocks: {count_text(sum(site.misses for site in asking))} requests",
        *section(shown["missing"], ASKED_COLUMNS, where),
    ]


def sum_text(sites: Sequence[Site], what: str) -> str:
    count = sum(site.blocks for site in sites)
    return f"{bytes_text(sum(site.bytes for site in sites))} in {count_text(count)} {what}{'' if count == 1 else 's'}"


def section(sites: Sequence[Site], columns: Columns, where: Callable[[Site], list[str]]) -> list[str]:
    """A line for each frame; the figures stand in the first."""
    rows = []
    for site in sites:
        first, *others = where(site)
        rows.append([*(cell(site) for cell in columns.values()), first])
        rows += [[*("" for _ in columns), other] for other in others]
    return table.lines([*columns, WHERE], rows, left=[WHERE]) if rows else []


def called_by(site: Site, frames: Frames, most: int) -> list[str]:
    names = [str(frames[address]) for address in site.frames]
    if not names:
        return ["unknown"]
    return names[:most] + ([f"... {len(names) - most} more"] if len(names) > most else [])


# ---- JSON ----


def as_json(trace: Trace, shown: dict[str, list[Site]], live: list[Site], frames: Frames) -> dict[str, Any]:
    header = trace.header
    return {
        "schema": SCHEMA,
        "pid": header.pid,
        "host": header.host,
        "command": header.command,
        "rank": header.rank or None,
        "ended": trace.end_us is not None,
        "live_bytes": sum(site.bytes for site in live),
        "live_blocks": sum(site.blocks for site in live),
        **{name: [site_json(site, frames) for site in group] for name, group in shown.items()},
        "notes": trace.notes,
    }


def site_json(site: Site, frames: Frames) -> dict[str, Any]:
    return {
        "bytes": site.bytes,
        "blocks": site.blocks,
        "bytes_each": site.bytes_each or None,
        "misses": site.misses,
        "took_ns": site.took_ns,
        "frames": [frame_json(frames[address]) for address in site.frames],
    }


def frame_json(frame: Frame) -> dict[str, Any]:
    return {
        "text": str(frame),
        "address": frame.address,
        "function": frame.function or None,
        "file": frame.file or None,
        "line": frame.line or None,
        "module": frame.module or None,
        "offset": frame.offset if frame.module else None,
    }
