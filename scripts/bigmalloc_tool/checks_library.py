"""Is the library there, does it serve a program, and what else claims to be the allocator?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from bigmalloc_tool.machine import Findings, Machine, note, ok, problem

PATIENCE_S = 30
OURS = "libbigmalloc.so"
COMPANION = "libbigmalloc-topology.so"
ALLOCATORS = re.compile(
    r"lib(jemalloc|tcmalloc|mimalloc|tbbmalloc|hoard|snmalloc|rpmalloc|hardened_malloc|scudo|mesh|umf_proxy|autohbw|memtier)"
)
# What steers other allocators, and has no effect where ours serves.
FOREIGN_SETTINGS = re.compile(r"MALLOC_\w+_$|MALLOC_ARENA_MAX$|TCMALLOC_|MIMALLOC_|AUTO_HBW_")
LARGE_REQUEST = "bytearray(64 << 20)"


def library(m: Machine) -> Findings:
    subject = "library"
    if m.library is None:
        yield problem(subject, m.why_no_library or "it is not known where it is", "build it with make")
        return
    complaint = loader_complaint(m.library)
    if complaint:
        advice = "programs need glibc 2.34 or newer, and the library their architecture"
        yield problem(subject, f"{m.library} does not load: {complaint}", advice)
    else:
        yield ok(subject, f"{m.library} loads")


def loader_complaint(path: Path) -> str:
    """What the loader says while it starts /bin/true: a library that it cannot load is no error for it."""
    done = started(["/bin/true"], path)
    return " ".join(done.stderr.split()) or ("" if done.returncode == 0 else f"/bin/true ended with {done.returncode}")


def started(command: list[str], path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"LD_PRELOAD": str(path), "PATH": "/usr/bin:/bin", **settings}
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def service(m: Machine) -> Findings:
    """A large request of this Python, and whether the library counted it."""
    subject = "service"
    if m.library is None:
        return
    done = started([sys.executable, "-I", "-S", "-c", LARGE_REQUEST], m.library, BIGMALLOC_STATS="json")
    try:
        requests = json.loads(done.stderr)["totals"]["requests"]
    except (ValueError, KeyError, TypeError):
        requests = 0
    if requests:
        yield ok(subject, f"a large request of {sys.executable} is served")
    else:
        told = " ".join(done.stderr.split())[:200]
        advice = "see what python finds below"
        yield problem(subject, f"no large request of {sys.executable} arrives{told and ': ' + told}", advice)


def companion(m: Machine) -> Findings:
    subject = "companion"
    if m.library is None:
        return
    path = m.library.resolve().parent / COMPANION
    if m.nodes() == 1:
        yield ok(subject, "not needed on one node")
    elif not path.exists():
        advice = "install libhwloc-dev and libnuma-dev, and make again"
        yield note(subject, f"{path} is missing: memory cannot be bound, and all nodes are equally far", advice)
    else:
        complaint = started(
            [sys.executable, "-I", "-c", f"import ctypes; ctypes.CDLL({str(path)!r})"], m.library
        ).stderr
        last = complaint.strip().rpartition("\n")[2]
        if last:
            yield note(subject, f"{path} does not load: {last}", "install libhwloc15 and libnuma1")
        else:
            yield ok(subject, f"{path} loads")


def preload(m: Machine) -> Findings:
    """In the order of the loader, which takes the first malloc that it meets."""
    subject = "LD_PRELOAD"
    entries = [entry for entry in re.split("[ :]+", m.environment.get("LD_PRELOAD", "")) if entry]
    entries += [entry for entry in re.split(r"[\s:]+", m.read("/etc/ld.so.preload")) if entry]
    if not entries:
        yield ok(subject, "nothing; bigmalloc run puts the library there")
    ours = next((place for place, entry in enumerate(entries) if is_ours(entry)), len(entries))
    for place, entry in enumerate(entries):
        yield from preloaded(m, entry, place, ours, len(entries))


def is_ours(entry: str) -> bool:
    return Path(entry).name.startswith(OURS)


def preloaded(m: Machine, entry: str, place: int, ours: int, count: int) -> Findings:
    subject = "LD_PRELOAD"
    name = Path(entry).name
    if "/" in entry and not m.path(entry).exists():
        yield problem(subject, f"{entry} does not exist, and the loader says so at every start", "take it out")
    elif place == ours:
        yield ok(subject, f"{entry}: the library")
    elif is_ours(entry):
        yield problem(subject, f"{entry}: the library a second time", "take it out")
    elif "libasan" in name:
        yield problem(
            subject, f"{entry} wants to be the allocator itself", "run sanitized programs without the library"
        )
    elif ALLOCATORS.match(name) and ours == count:
        yield note(subject, f"{entry}: another allocator", "bigmalloc run goes before it; take it out")
    elif ALLOCATORS.match(name) and place < ours:
        yield problem(subject, f"{entry}: another allocator, before ours: it serves", "take it out")
    elif ALLOCATORS.match(name):
        yield note(subject, f"{entry}: another allocator, behind ours: it serves nothing", "take it out")
    else:
        yield ok(subject, f"{entry}: no allocator that is known")


def settings(m: Machine) -> Findings:
    subject = "settings"
    if m.environment.get("BIGMALLOC", "").lower() in ("off", "0", "no", "false"):
        yield problem(subject, f"BIGMALLOC={m.environment['BIGMALLOC']}: there are no pools", "unset BIGMALLOC")
    mine = sorted(name for name in m.environment if re.match("BIGMALLOC_(?!LIBRARY$)", name))
    if mine:
        yield ok(subject, f"{', '.join(mine)} set; bigmalloc options tells what the library makes of them")
    if "MALLOC_CONF" in m.environment:
        yield from jemalloc_settings(m.environment["MALLOC_CONF"])
    foreign = sorted(name for name in m.environment if FOREIGN_SETTINGS.match(name))
    if "glibc.malloc" in m.environment.get("GLIBC_TUNABLES", ""):
        foreign.append("GLIBC_TUNABLES")
    if foreign:
        yield note(subject, f"{', '.join(foreign)} set: of no effect under the library")


def jemalloc_settings(text: str) -> Findings:
    said = f"MALLOC_CONF={text} tunes the jemalloc inside, which serves what is small"
    if "background_thread:true" in text:
        advice = "take background_thread out: forks lose that thread, and Python warns of forks beside threads"
        yield note("settings", said, advice)
    else:
        yield ok("settings", said)


CHECKS = [library, service, companion, preload, settings]
