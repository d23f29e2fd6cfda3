"""What /proc tells of processes. Each of them may end at any time: then there is nothing to tell, and no error."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")
START_TIME = 22 - 3  # its place in /proc/PID/stat, counted from behind the name, which may contain anything
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def read(pid: int | str, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text("utf-8", "replace")
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    words = read(pid, "stat").rpartition(")")[2].split()
    return int(words[START_TIME]) if len(words) > START_TIME else None


def is_zombie(pid: int) -> bool:
    return read(pid, "stat").rpartition(")")[2].split()[:1] in (["Z"], ["X"])


def status(pid: int, name: str) -> list[str]:
    found = re.search(rf"^{name}:(.*)$", read(pid, "status"), re.MULTILINE)
    return found[1].split() if found else []


def pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def inner_pid(pid: int) -> int:
    """As the process sees itself."""
    numbers = status(pid, "NSpid")
    return int(numbers[-1]) if numbers else pid


def pid_namespace(pid: int | str = "self") -> int | None:
    try:
        return (PROC / str(pid) / "ns/pid").stat().st_ino
    except OSError:
        return None


def resident_bytes(pid: int) -> int | None:
    words = read(pid, "statm").split()
    return int(words[1]) * PAGE_BYTES if len(words) > 1 else None


def command_line(pid: int) -> str:
    return read(pid, "cmdline").rstrip("\0").replace("\0", " ")


def owner(pid: int) -> int | None:
    uids = status(pid, "Uid")
    return int(uids[1]) if len(uids) > 1 else None


def catches(pid: int, signal: int) -> bool:
    masks = status(pid, "SigCgt")
    return bool(masks) and bool(int(masks[0], 16) >> (signal - 1) & 1)


@lru_cache(maxsize=1)
def boot_id() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
