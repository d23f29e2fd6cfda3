"""What the kernel and the administrator decide: huge pages, nodes, limits."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
from collections.abc import Iterator

from bigmalloc_tool.machine import Findings, Machine, bytes_text, note, ok, problem

THP = "/sys/kernel/mm/transparent_hugepage/enabled"
# get_mempolicy and set_mempolicy, which glibc has no functions for (unistd.h of each architecture)
MEMPOLICY_CALLS = {"x86_64": (239, 238), "aarch64": (236, 237)}
USUAL_MAP_COUNT = 65530
TMPFS_NEEDED = 4 << 20  # the live counters of many processes
SHM_OF_DOCKER = 64 << 20


def huge_pages(m: Machine) -> Findings:
    subject = "huge pages"
    mode = m.chosen(THP)
    if re.search(r"^THP_enabled:\s*0", m.read(m.process("status")), re.MULTILINE):
        yield note(subject, "switched off for this process (PR_SET_THP_DISABLE)", "look for who does that")
    elif mode == "never":
        yield note(
            subject, "never: large blocks get pages of 4 KiB, which take longer", f"as root: echo madvise >{THP}"
        )
    elif mode:
        yield ok(subject, f"{mode}: large blocks use them")
    else:
        yield note(subject, "this kernel has none, or does not show them")


def nodes(m: Machine) -> Findings:
    count = m.nodes()
    yield ok("nodes", "one" if count == 1 else f"{count} NUMA nodes with memory, each with a pool")


def memory_policy(m: Machine) -> Findings:
    subject = "memory policy"
    needed = m.nodes() > 1
    why = refused(os.uname().machine)
    if why == errno.EPERM and needed:
        advice = "give the container CAP_SYS_NICE (docker run --cap-add SYS_NICE) if BIGMALLOC_NUMA is to bind memory"
        yield note(subject, "a sandbox refuses it: memory lies where it is touched first", advice)
    elif why and needed:
        yield note(subject, f"not to be had ({os.strerror(why)}): memory lies where it is touched first")
    elif why:
        yield ok(subject, f"not to be had ({os.strerror(why)}), and not needed on one node")
    elif own_policy(os.uname().machine):
        yield note(subject, "one is set, by numactl perhaps: it holds, and there is one pool for all nodes")
    else:
        yield ok(subject, "allowed, and none is set")


def refused(architecture: str) -> int:
    """The errno of get_mempolicy or set_mempolicy, asked in a child, as it changes the policy; 0: allowed."""
    if architecture not in MEMPOLICY_CALLS:
        return errno.ENOSYS
    child = os.fork()
    if child == 0:
        status = 255
        try:
            status = first_error(*MEMPOLICY_CALLS[architecture])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def first_error(*calls: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    for call in calls:
        if libc.syscall(ctypes.c_long(call), *[ctypes.c_void_p(0)] * 5) < 0:
            return ctypes.get_errno()
    return 0


def own_policy(architecture: str) -> int:
    mode = ctypes.c_int(0)
    call = ctypes.c_long(MEMPOLICY_CALLS[architecture][0])
    ctypes.CDLL(None).syscall(call, ctypes.byref(mode), *[ctypes.c_void_p(0)] * 4)
    return mode.value


def balancing(m: Machine) -> Findings:
    subject = "NUMA balancing"
    if not m.number("/proc/sys/kernel/numa_balancing"):
        yield ok(subject, "off")
    elif m.nodes() == 1:
        yield ok(subject, "on, and of no effect on one node")
    else:
        advice = "where threads are bound to nodes: sysctl kernel.numa_balancing=0"
        yield note(subject, "the kernel moves pages behind threads, and faults to find out which", advice)


def memory_limit(m: Machine) -> Findings:
    """The tightest one of the group and of those above it."""
    subject = "memory limit"
    limits = [limit for group in groups(m) for limit in limits_of(m, group)]
    if not limits:
        yield ok(subject, "no cgroup has one")
        return
    name, limit, used = min(limits, key=lambda each: each[1] - each[2])
    text = f"{name} is {bytes_text(limit)}, {bytes_text(used)} in use"
    if used > 0.9 * limit:
        yield note(subject, f"{text}: idle memory goes back at once", "raise the limit")
    elif name.endswith("memory.high"):
        yield note(subject, f"{text}: above that the kernel slows the program down instead of killing it")
    else:
        yield ok(subject, text)


def groups(m: Machine) -> list[str]:
    """The folders of the memory cgroup and of those above it, the lowest first. A container may be shown a path
    that does not exist in it, and its own group at the mount: files that are missing say nothing."""
    mounts = [words for words in map(str.split, m.read("/proc/self/mounts").splitlines()) if len(words) > 3]
    for line in m.read(m.process("cgroup")).splitlines():
        _, controllers, own = line.split(":", 2)
        for _, mount, kind, options, *_ in mounts:
            is_v1 = kind == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(",")
            is_v2 = kind == "cgroup2" and controllers == ""
            if is_v1 or is_v2:
                parts = [part for part in own.split("/") if part not in ("", "..")]
                return ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1)]
    return []


# A limit, and what is used of it; of version 2, and of version 1.
LIMITS = {
    "memory.max": "memory.current",
    "memory.high": "memory.current",
    "memory.limit_in_bytes": "memory.usage_in_bytes",
}
NO_LIMIT = 1 << 60  # version 1 knows no "max": it says a number that no machine has


def limits_of(m: Machine, group: str) -> Iterator[tuple[str, int, int]]:
    for name, usage in LIMITS.items():
        limit = m.number(f"{group}/{name}")
        if limit is not None and limit < NO_LIMIT:
            yield f"{group}/{name}", limit, m.number(f"{group}/{usage}") or 0


def mappings(m: Machine) -> Findings:
    subject = "mappings"
    most = m.number("/proc/sys/vm/max_map_count") or USUAL_MAP_COUNT
    used = len(m.read(m.process("maps")).splitlines()) if m.pid else 0
    advice = f"as root: sysctl vm.max_map_count={max(4 * most, 262144)}"
    of = f"{used} of {most} (vm.max_map_count)"
    if used > 0.9 * most:
        yield problem(subject, f"{of}: the process will soon get no memory at all", advice)
    elif used > most / 2:
        yield note(subject, f"{of}: no pages move between blocks any more", advice)
    elif most < USUAL_MAP_COUNT:
        yield note(subject, f"vm.max_map_count is {most}, where {USUAL_MAP_COUNT} is usual", advice)
    else:
        yield ok(subject, of if m.pid else f"vm.max_map_count is {most}")


def overcommit(m: Machine) -> Findings:
    subject = "overcommit"
    if m.number("/proc/sys/vm/overcommit_memory") == 2:
        advice = "as root: sysctl vm.overcommit_memory=0"
        yield note(subject, "vm.overcommit_memory is 2: idle blocks count against what the system promises", advice)
    else:
        yield ok(subject, "the kernel gives addresses freely")


def address_limits(m: Machine) -> Findings:
    subject = "address limits"
    names = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}
    try:
        limits = {name: resource.prlimit(m.pid or 0, kind)[0] for name, kind in names.items()}
    except (OSError, ValueError):
        yield note(subject, f"those of process {m.pid} cannot be read")
        return
    tight = [f"{name} is {bytes_text(n)}" for name, n in limits.items() if n != resource.RLIM_INFINITY]
    if tight:
        advice = "lift them, or limit the memory of a cgroup instead"
        yield note(subject, f"{', '.join(tight)}: the library reserves fewer addresses, and pools less", advice)
    else:
        yield ok(subject, "none")


def shared_memory(m: Machine) -> Findings:
    """Where the live counters lie."""
    subject = "/dev/shm"
    kinds = {words[1]: words[2] for words in map(str.split, m.read("/proc/self/mounts").splitlines()) if len(words) > 2}
    if kinds.get("/dev/shm") != "tmpfs":
        yield note(subject, "is no tmpfs: without XDG_RUNTIME_DIR there are no live counters", "mount a tmpfs there")
        return
    space = os.statvfs(m.path("/dev/shm"))
    free, whole = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    text = f"{bytes_text(free)} of {bytes_text(whole)} free"
    if free < TMPFS_NEEDED:
        yield note(subject, f"{text}: new processes get no live counters", "remove what is no longer needed there")
    elif whole <= SHM_OF_DOCKER:
        advice = "docker run --shm-size=2g, or a memory-backed emptyDir in Kubernetes"
        yield note(subject, f"{text}: little for DataLoader workers and NCCL", advice)
    else:
        yield ok(subject, text)


CHECKS = [
    huge_pages,
    nodes,
    memory_policy,
    balancing,
    memory_limit,
    mappings,
    overcommit,
    address_limits,
    shared_memory,
]
