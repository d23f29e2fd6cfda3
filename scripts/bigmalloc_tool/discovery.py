"""Which live files there are, whose they are, and which of these processes live.

Folders are those of every user, in /dev/shm and in the runtime directories, of this machine and of every
container whose root can be seen through /proc/PID/root. One folder may be seen on several ways: what counts is
its device and inode.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bigmalloc_tool import live_file, procfs
from bigmalloc_tool.errors import FileError, ToolError
from bigmalloc_tool.model import Life, Process

LIVE_NAME = re.compile(r"\d+-\d+")  # PID and start time


@dataclass
class Found:
    processes: list[Process] = field(default_factory=list)
    complaints: list[FileError] = field(default_factory=list)

    @property
    def running(self) -> list[Process]:
        return [one for one in self.processes if one.life is Life.RUNNING]


def find() -> Found:
    """All processes with live files, those that were killed among them."""
    found = Found()
    census = Census()
    for path in live_files():
        try:
            found.processes.append(census.judged(live_file.read(path)))
        except FileError as error:
            if path.exists():  # else it was that of a process which ended in this moment
                found.complaints.append(error)
    found.processes.sort(key=lambda one: (one.host, one.pid_here or one.pid))
    return found


def find_process(pid: int) -> Process:
    """The one that has this PID here; or had it, and was killed; or has it in its container."""
    found = find()
    ranked = [(likeness(one, pid), one.boot_id == procfs.boot_id(), one.start_ticks, one) for one in found.processes]
    best = max(ranked, key=lambda entry: entry[:3], default=None)
    if best is None or best[0] == 0:
        raise ToolError(why_none(pid, found))
    return best[-1]


def likeness(process: Process, pid: int) -> int:
    if process.life is Life.RUNNING:
        return 3 if process.pid_here == pid else int(process.pid == pid)
    return 2 if process.pid == pid else 0


def why_none(pid: int, found: Found) -> str:
    named = [bad for bad in found.complaints if f"/{pid}-" in str(bad)]
    if named:
        return str(named[0])
    if procfs.start_ticks(pid) is None:
        return f"there is no process {pid}, and none of that number left a live file"
    if "libbigmalloc" in procfs.read(pid, "maps"):
        return (
            f"process {pid} has no live file yet: it makes one with its first large request, unless BIGMALLOC_LIVE=off"
        )
    return f"process {pid} has no live file that can be read; start it with: bigmalloc run PROGRAM"


# ---- where they are ----


def live_files() -> Iterator[Path]:
    for folder in distinct(path for root in roots() for path in folders_below(root)):
        for name in sorted(names_in(folder)):
            if LIVE_NAME.fullmatch(name):
                yield folder / name


def roots() -> list[Path]:
    """This machine's, and those of containers: one for each mount namespace and root folder."""
    seen = {root_identity("self"): Path("/")}
    for pid in sorted(procfs.pids()):
        identity = root_identity(pid)
        if identity is not None:
            seen.setdefault(identity, procfs.PROC / str(pid) / "root")
    return list(seen.values())


def root_identity(pid: int | str) -> tuple[int, int, int] | None:
    try:
        mounts = (procfs.PROC / str(pid) / "ns/mnt").stat().st_ino
        root = (procfs.PROC / str(pid) / "root").stat()
    except OSError:
        return None
    return mounts, root.st_dev, root.st_ino


def folders_below(root: Path) -> Iterator[Path]:
    for name in names_in(root / "dev/shm"):
        if name.startswith("bigmalloc-"):
            yield root / "dev/shm" / name
    for name in names_in(root / "run/user"):
        yield root / "run/user" / name / "bigmalloc"
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if root == Path("/") and own.startswith("/"):
        yield Path(own) / "bigmalloc"


def names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def distinct(folders: Iterable[Path]) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        try:
            status = folder.lstat()
        except OSError:
            continue
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode) and identity not in seen:
            seen.add(identity)
            yield folder


# ---- whose they are ----


class Census:
    """Who lives, at one instant."""

    def __init__(self) -> None:
        self.namespace = procfs.pid_namespace()
        self.inner: dict[int, list[int]] | None = None

    def judged(self, process: Process) -> Process:
        if process.life is Life.ENDED:
            return process
        if process.boot_id != procfs.boot_id():
            return replace(process, life=Life.KILLED)
        pid = self.pid_here(process)
        if pid is not None:
            resident = procfs.resident_bytes(pid)
            return replace(process, life=Life.RUNNING, pid_here=pid, resident_bytes=resident)
        return replace(process, life=Life.KILLED if self.would_see(process) else Life.UNKNOWN)

    def pid_here(self, process: Process) -> int | None:
        is_ours = process.pid_namespace == self.namespace
        candidates = [process.pid] if is_ours else self.pids_by_inner().get(process.pid, [])
        return next((pid for pid in candidates if is_same(pid, process)), None)

    def pids_by_inner(self) -> dict[int, list[int]]:
        if self.inner is None:
            self.inner = {}
            for pid in procfs.pids():
                self.inner.setdefault(procfs.inner_pid(pid), []).append(pid)
        return self.inner

    def would_see(self, process: Process) -> bool:
        """If it lived. The first PID namespace contains all others; /proc may hide what other users run."""
        if process.pid_namespace == self.namespace:
            return not is_hidden(process.pid)
        return self.namespace == FIRST_PID_NAMESPACE


FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of include/linux/proc_ns.h


def is_same(pid: int, process: Process) -> bool:
    """Not another one that got its number. A namespace that may not be looked at speaks for nobody."""
    namespace = procfs.pid_namespace(pid)
    return (
        procfs.start_ticks(pid) == process.start_ticks
        and not procfs.is_zombie(pid)
        and namespace in (process.pid_namespace, None)
    )


def is_hidden(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (PermissionError, OverflowError):
        return procfs.start_ticks(pid) is None
    except OSError:
        pass
    return False
