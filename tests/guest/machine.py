"""A machine of our own: a Debian kernel in QEMU, with a few files and one command after the other.

    why = machine.why_none()                           # None, or what is missing here
    results = machine.boot(
        Guest(folder, jobs=[Job("sum", "echo $((1 + 1))")], files={"/tests/x": x}, qemu=["-numa", ...])
    )
    results["sum"]                                     # Result(status=0, seconds=0.1, output="2" and a newline)

There is no disk and no network: all that the guest has is an initramfs that is made on the spot, of busybox,
the files named, and the shared libraries that these need. There is no KVM either: the processors are emulated,
ten to thirty times slower than the real ones, and the same everywhere.

The guest's first serial line is the console of the kernel, the second one carries the results; each goes to a
file in the folder of the guest. So no message of the kernel ever cuts a result in two.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

QEMU = "qemu-system-x86_64"
# Emulated string instructions go word by word or byte by byte, and most of what a page fault takes is such a
# clearing of a page. Without them (erms, fsrm, and rep_good, which is feature 112 of Linux) it takes half.
PROCESSOR = "max,-erms,-fsrm"
PLAIN_LOOPS = "clearcpuid=112"
JOB_LIMIT_S = 600  # of the guest's time, which is ours: hanging, on the slowest machine
OUTPUT_BYTES = 30000  # of a job's output the end


@dataclass
class Job:
    name: str
    command: str  # for busybox's shell, as root
    limit_s: int = JOB_LIMIT_S


@dataclass
class Result:
    status: int  # as a shell has it
    seconds: float  # of the guest's time
    output: str  # both streams, the end of it


@dataclass
class Guest:
    folder: Path  # for the initramfs and what the guest says
    jobs: list[Job]
    files: dict[str, Path] = field(default_factory=dict)  # where in the guest: what
    kernel_options: list[str] = field(default_factory=list)
    accelerator: str = "tcg"  # with thread=single one processor runs at a time: a third less work here
    cpus: int = 2
    memory_mib: int = 4096  # where there are nodes, the sum of theirs
    qemu: list[str] = field(default_factory=list)  # more options
    limit_s: int = 900  # without a word: for the kernel to come up, and for each job


def why_none(memory_mib: int = Guest.memory_mib) -> str | None:
    for program in (QEMU, "busybox", "timeout", "ldd"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if kernel() is None:
        return "no Debian kernel in /boot can be read"
    if available_mib() < memory_mib + 512:
        return f"less than {memory_mib + 512} MiB of memory are available"
    return None


def boot(guest: Guest) -> dict[str, Result]:
    """What the jobs did, by name; without those that the guest did not finish in its time."""
    with running(guest) as results:
        return results()


@contextlib.contextmanager
def running(guest: Guest) -> Iterator[Callable[[], dict[str, Result]]]:
    """A guest that has been started, and is ended at the latest when its user is: boot(), once called."""
    guest.folder.mkdir(parents=True, exist_ok=True)
    said = guest.folder / "results"
    with ended_when_silent(guest.limit_s, qemu_command(guest, said), guest.folder / "qemu", said) as wait:

        def results() -> dict[str, Result]:
            wait()
            return parse(said.read_text("utf-8", errors="replace"), guest.jobs)

        yield results


def qemu_command(guest: Guest, results: Path) -> list[str]:
    """With the files that it wants made."""
    initramfs, console = (guest.folder / name for name in ("initramfs", "console"))
    for said in (console, results):
        said.write_bytes(b"")
    initramfs.write_bytes(archive(contents(guest)))
    options = ["console=ttyS0", "quiet", "panic=-1", "loglevel=4", "rdinit=/init", PLAIN_LOOPS, *guest.kernel_options]
    command = [QEMU, "-machine", "q35", "-accel", guest.accelerator, "-cpu", PROCESSOR]
    command += ["-smp", str(guest.cpus), "-m", f"{guest.memory_mib}M"]
    command += ["-kernel", str(kernel()), "-initrd", str(initramfs), "-append", " ".join(options)]
    command += ["-nodefaults", "-display", "none", "-no-reboot"]
    return [*command, "-serial", f"file:{console}", "-serial", f"file:{results}", *guest.qemu]


def last_words(folder: Path) -> list[str]:
    """What QEMU and the kernel said at the end: for a guest that did not come to the end of its jobs."""
    texts = [(folder / name).read_text("utf-8", errors="replace") for name in ("qemu", "console")]
    return [line for text in texts for line in text.splitlines()[-10:]]


# ---- What is at hand ----


def kernel() -> Path | None:
    """The newest that can be read: the one made for virtual machines, or else the usual one."""
    for pattern in ("vmlinuz-*-cloud-amd64", "vmlinuz-*-amd64"):
        readable = [path for path in Path("/boot").glob(pattern) if os.access(path, os.R_OK)]
        if readable:
            return max(readable, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    return None


def available_mib() -> int:
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


@functools.cache
def needed_libraries(program: Path) -> list[Path]:
    """The loader among them; none for a static program, and for what is no program."""
    with program.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", said.stdout)]


# ---- The initramfs ----


def contents(guest: Guest) -> dict[str, bytes | Path]:
    entries: dict[str, bytes | Path] = {"init": init(guest.jobs).encode()}
    for where, what in {"bin/busybox": Path(str(shutil.which("busybox"))), **guest.files}.items():
        entries[where.lstrip("/")] = what
        for library in needed_libraries(what):
            entries[str(library).lstrip("/")] = library
    return entries


def archive(entries: dict[str, bytes | Path]) -> bytes:
    """A cpio archive of the kind "newc", which the kernel unpacks: executable files, and their folders."""
    folders = {str(parent) for name in entries for parent in Path(name).parents} - {"."}
    members = [member(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders)]
    for name, what in entries.items():
        data = what.read_bytes() if isinstance(what, Path) else what
        members.append(member(name, stat.S_IFREG | 0o755, data))
    return b"".join([*members, member("TRAILER!!!", 0, b"")])


def member(name: str, mode: int, data: bytes) -> bytes:
    """Thirteen numbers, the name, the data: see "initramfs buffer format" of the kernel's documentation."""
    inode, owner, group, links, time = 0, 0, 0, 1, 0
    device, checksum = [0, 0, 0, 0], 0
    numbers = [inode, mode, owner, group, links, time, len(data), *device, len(name) + 1, checksum]
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return padded(head) + padded(data)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def init(jobs: list[Job]) -> str:
    calls = [f"job {n} {job.limit_s} {shlex.quote(job.command)}" for n, job in enumerate(jobs)]
    return INIT.replace("CALLS", "\n".join(calls)).replace("OUTPUT_BYTES", str(OUTPUT_BYTES))


# kill -1 spares its caller, which is process 1: whatever a job leaves behind ends before the next one begins.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /tmp /usr/bin /var /root
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t devtmpfs devices /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 groups /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
mkdir -p /dev/shm && mount -t tmpfs shared /dev/shm
stty -F /dev/ttyS1 raw -echo
job() {
    local began ended status
    read -r began _ </proc/uptime
    timeout -s KILL $2 sh -c "$3" </dev/null >/tmp/output 2>&1
    status=$?
    kill -9 -1
    read -r ended _ </proc/uptime
    echo "@ $1 ended $status $began $ended"
    [ ! -s /tmp/output ] || tail -c OUTPUT_BYTES /tmp/output | sed "s/^/@ $1 said /"
    echo
}
{
CALLS
} >/dev/ttyS1 2>&1
poweroff -f
"""


# ---- Running ----


@contextlib.contextmanager
def ended_when_silent(limit_s: int, command: list[str], log: Path, words: Path) -> Iterator[Callable[[], None]]:
    """Waits when called, as long as the file with the words grows. Whatever becomes of this process: timeout(1) ends
    the other. So does a signal that ends us."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["timeout", "-s", "KILL", str(20 * limit_s), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def wait() -> None:
        said, heard_s = 0, time.monotonic()
        while time.monotonic() < heard_s + limit_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
                return
            if words.stat().st_size > said:
                said, heard_s = words.stat().st_size, time.monotonic()

    try:
        yield wait
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def parse(said: str, jobs: list[Job]) -> dict[str, Result]:
    results: dict[int, Result] = {}
    for line in said.splitlines():
        if ended := re.match(r"@ (\d+) ended (\d+) ([\d.]+) ([\d.]+)$", line):
            number, status, began, end = (float(word) for word in ended.groups())
            results[int(number)] = Result(int(status), end - began, "")
        elif (text := re.match(r"@ (\d+) said (.*)$", line)) and int(text[1]) in results:
            results[int(text[1])].output += text[2] + "\n"
    return {job.name: results[number] for number, job in enumerate(jobs) if number in results}
