"""bigmalloc metrics [--textfile DIR] [--interval S]: all living processes as one text for Prometheus.

    bigmalloc metrics                                          once, to stdout
    bigmalloc metrics --textfile DIR --interval 15             DIR/bigmalloc.prom, for node_exporter's collector

Processes end, and what they counted would be missing from the sums: to Prometheus a counter that falls has begun
anew, and rate() would take what the others counted long ago for growth. With --interval the command remembers what
ended processes had counted when it last saw them, so that no counter falls as long as it runs. A single text has
the living processes alone: fit for looking at, and for gauges.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from bigmalloc_tool import discovery, prometheus, sweep
from bigmalloc_tool.errors import ToolError, UsageError, parser, reason
from bigmalloc_tool.model import Process, by_place, sum_of_counts

FILE = "bigmalloc.prom"
MODE = 0o644  # the collector is another user


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    target = Path(options.textfile) / FILE if options.textfile else None
    ledger = Ledger()
    sweep.sweep(discovery.find().processes)
    if options.interval is None:
        publish(ledger, target)
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        keep_publishing(ledger, target, options.interval)
    finally:
        if target is not None:  # what it says is true no more
            target.unlink(missing_ok=True)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    it = parser("metrics", "All living processes as one text in Prometheus's format.")
    it.add_argument("--textfile", metavar="DIR", help=f"to DIR/{FILE}, for node_exporter's textfile collector")
    it.add_argument("--interval", type=float, metavar="S", help="every S seconds, and no counter falls")
    options = it.parse_args(arguments)
    if options.interval is not None and not 0.1 <= options.interval <= 86400:
        raise UsageError("--interval is in seconds, from 0.1 to 86400")
    return options


def stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


@dataclass
class Ledger:
    """What ended processes had counted when they were last seen: for each rank, one process that stands for all."""

    ended: dict[int | None, Process] = field(default_factory=dict)
    last: dict[tuple[object, ...], Process] = field(default_factory=dict)

    def enter(self, running: list[Process]) -> None:
        now = {one.identity: one for one in running}
        for identity, one in self.last.items():
            if identity not in now:
                known = self.ended.get(one.rank)
                self.ended[one.rank] = both(known, one) if known else one
        self.last = now


def both(one: Process, other: Process) -> Process:
    return dataclasses.replace(
        other,
        pools=tuple(by_place([*one.pools, *other.pools])),
        counts=sum_of_counts([one, other]),
        counted=tuple(dict.fromkeys([*one.counted, *other.counted])),
        schema=tuple(dict.fromkeys([*one.schema, *other.schema])),
        sizes=tuple(dict.fromkeys([*one.sizes, *other.sizes])),
    )


def keep_publishing(ledger: Ledger, target: Path | None, interval_s: float) -> None:
    due = time.monotonic()
    while True:
        publish(ledger, target)
        due = max(due + interval_s, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))


def publish(ledger: Ledger, target: Path | None) -> None:
    running = discovery.find().running
    ledger.enter(running)
    text = prometheus.text(running, list(ledger.ended.values()))
    if target is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        replace(target, text)


def replace(target: Path, text: str) -> None:
    """Written beside and renamed: the collector never sees half of it."""
    try:
        fd, beside = tempfile.mkstemp(prefix=f".{FILE}.", dir=target.parent)
        try:
            with open(fd, "w", encoding="ascii", errors="replace") as file:
                os.fchmod(fd, MODE)
                file.write(text)
            os.rename(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
    except OSError as error:
        raise ToolError(f"{target}: {reason(error)}; name the folder that the node exporter collects from") from error
