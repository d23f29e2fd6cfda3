"""The configurations of malloc that are compared, and how a workload is run under one of them."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from typing import Dict, List, Sequence, Tuple

Figures = Dict[str, float]  # metric -> value
Rows = Dict[str, Figures]   # row -> figures; a workload with one row calls it ""

BIGMALLOC = "bigmalloc"
TIME_LIMIT_S = 180


class RunFailed(Exception):
    """A workload that ended with an error; the text is short enough for a table's cell."""


@dataclass(frozen=True)
class Configuration:
    name: str
    env: Dict[str, str] = field(default_factory=dict)


def preloaded(name: str, library: str, **env: str) -> Configuration:
    return Configuration(name, {"LD_PRELOAD": library, **env})


# What keeps mimalloc from giving anything back; the second is how its version 2.0 had it.
NEVER_PURGE = {"MIMALLOC_PURGE_DELAY": "-1", "MIMALLOC_ALLOW_DECOMMIT": "0"}

# The dynamic linker finds a peer by its soname, wherever the distribution put it.
CONFIGURATIONS = (
    Configuration("glibc"),
    # Never returns a block to the system: the fastest glibc gets, at the price of memory.
    Configuration("glibc-raised", {
        "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"}),
    # Returns every large block at once: the floor of memory, at the price of time.
    Configuration("glibc-mapped", {"MALLOC_MMAP_THRESHOLD_": "1048576"}),
    preloaded("jemalloc", "libjemalloc.so.2"),
    # The settings that PyTorch's performance guide recommends.
    preloaded("jemalloc-pytorch", "libjemalloc.so.2", MALLOC_CONF=(
        "oversize_threshold:1,background_thread:true,metadata_thp:auto,"
        "dirty_decay_ms:9000000000,muzzy_decay_ms:9000000000")),
    preloaded("tcmalloc", "libtcmalloc_minimal.so.4"),
    preloaded("mimalloc", "libmimalloc.so.2"),
)


def more_peers() -> List[Configuration]:
    """BENCH_PEERS=name=library,name=library: peers that are not installed where the linker looks, or that
    stand for the one of that name."""
    listed = [peer for peer in os.environ.get("BENCH_PEERS", "").split(",") if peer]
    return [preloaded(*peer.split("=", 1)) for peer in listed]


def with_twins(peers: Sequence[Configuration]) -> List[Configuration]:
    """Each mimalloc is followed by one that does not purge, as glibc is by glibc-raised. Version 2 still unmaps
    its largest blocks, so the twins differ little there."""
    twins: List[Configuration] = []
    for peer in peers:
        twins.append(peer)
        if os.path.basename(peer.env.get("LD_PRELOAD", "")).startswith("libmimalloc"):
            twins.append(Configuration(f"{peer.name}-kept", {**peer.env, **NEVER_PURGE}))
    return twins


def all_peers() -> List[Configuration]:
    named = {peer.name: peer for peer in (*CONFIGURATIONS, *more_peers())}
    return with_twins(list(named.values()))


def clean_environment() -> Dict[str, str]:
    """Nothing of the caller's allocator settings reaches glibc or a peer."""
    return {name: value for name, value in os.environ.items()
            if name not in ("LD_PRELOAD", "GLIBC_TUNABLES")
            and not name.startswith(("MALLOC_", "MIMALLOC_", "TCMALLOC_"))}


def execute(command: Sequence[str], env: Dict[str, str]) -> str:
    """Returns what the command printed; a library that was not loaded is a failure, not a warning."""
    try:
        done = subprocess.run(command, env={**clean_environment(), **env}, timeout=TIME_LIMIT_S,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        raise RunFailed(f">{TIME_LIMIT_S} s") from None
    if "cannot be preloaded" in done.stderr:
        raise RunFailed("not loaded")
    if done.returncode < 0:
        raise RunFailed(signal.Signals(-done.returncode).name)
    if done.returncode > 0:
        raise RunFailed(f"exit {done.returncode}")
    return done.stdout


def is_usable(configuration: Configuration) -> bool:
    try:
        execute(["/bin/true"], configuration.env)
        return True
    except RunFailed:
        return False


def run(command: Sequence[str], env: Dict[str, str]) -> Rows:
    """Runs a workload and reads the rows it printed."""
    lines = [json.loads(line) for line in execute(command, env).splitlines() if line.startswith("{")]
    if not lines:
        raise RunFailed("no figures")
    return {line.pop("row"): line for line in lines}


def split_usable(configurations: Sequence[Configuration]) -> Tuple[List[Configuration], List[str]]:
    """Those that can run here, and the names of those that cannot."""
    usable = [c for c in configurations if is_usable(c)]
    return usable, [c.name for c in configurations if c not in usable]
