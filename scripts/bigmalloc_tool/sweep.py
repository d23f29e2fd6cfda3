"""Live files of killed processes: kept for a day, and of each folder the newest 64.

The library does the same whenever a process makes its file (interpose/live_sweep.c), so that both agree on since when
a file is dead: whoever finds out first takes the owner's right to write away, and the time of that change counts.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from bigmalloc_tool.model import Life, Process

DAY_S = 24 * 3600
KEPT = 64


def sweep(processes: Iterable[Process]) -> None:
    """Of our own files those of killed processes. Whatever cannot be removed is somebody else's care."""
    folders: dict[Path, list[tuple[float, Path]]] = {}
    for path in (Path(one.source) for one in processes if one.life is Life.KILLED and one.uid == os.geteuid()):
        with contextlib.suppress(OSError):
            folders.setdefault(path.parent, []).append((dead_since(path), path))
    for dead in folders.values():
        for rank, (since, path) in enumerate(sorted(dead, reverse=True)):
            if rank >= KEPT or since < time.time() - DAY_S:
                with contextlib.suppress(OSError):
                    path.unlink()


def dead_since(path: Path) -> float:
    if path.lstat().st_mode & stat.S_IWUSR:
        path.chmod(stat.S_IRUSR)
    return path.lstat().st_ctime
