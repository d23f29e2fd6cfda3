"""GPUs, and Python packages that go past malloc."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bigmalloc_tool.machine import Findings, Machine, note, ok, problem

PATIENCE_S = 30
# Asks a Python about itself; no package is imported.
PROBE = """
import importlib.util, json, sys, sysconfig
from importlib import metadata

def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

spec = importlib.util.find_spec("torch")
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "torch_folder": list(spec.submodule_search_locations)[0] if spec and spec.submodule_search_locations else None,
    "packages": {name: version(name) for name in ("torch", "numpy", "pyarrow", "polars", "ray")},
}))
"""


def gpu(m: Machine) -> Findings:
    subject = "GPU"
    devices = [path for path in m.path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    driver = m.read("/proc/driver/nvidia/version") != ""
    has_libcuda = finds_libcuda(m)
    if not devices and not driver and not has_libcuda:
        yield ok(subject, "none")
    elif not has_libcuda:
        advice = "in a container: docker run --gpus all, with NVIDIA's container toolkit"
        yield problem(subject, "there is one, and libcuda.so.1 is not: CUDA cannot be used", advice)
    elif not devices:
        yield note(subject, "libcuda.so.1 is there, and no GPU to be seen", "in a container: docker run --gpus all")
    else:
        yield from driver_answers(len(devices))
    yield from cuda_settings(m.environment)


def finds_libcuda(m: Machine) -> bool:
    folders = ["/usr/lib", "/usr/lib64", "/lib", "/usr/local/nvidia/lib64", "/usr/local/cuda/compat"]
    folders += ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib/wsl/lib"]
    folders += [folder for folder in m.environment.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return any(m.path(f"{folder}/libcuda.so.1").exists() for folder in folders)


def driver_answers(devices: int) -> Findings:
    subject = "GPU"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield ok(subject, f"{devices} found, with libcuda.so.1")
        return
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        answer = (done.stdout or done.stderr).strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        yield problem(subject, f"nvidia-smi does not answer ({error})", "look at the driver (dmesg)")
        return
    if done.returncode != 0:
        yield problem(subject, f"nvidia-smi fails: {' '.join(answer)[:200]}", "look at the driver (dmesg)")
    else:
        yield ok(subject, "; ".join(re.sub(r" \(UUID.*", "", line) for line in answer))


def cuda_settings(environment: dict[str, str]) -> Findings:
    subject = "CUDA settings"
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        text = environment.get(name, "")
        if re.search(r"expandable_segments:\s*true", text, re.IGNORECASE):
            yield note(subject, f"{name}={text}: PyTorch maps device memory itself, which no pool sees")
        if "cudaMallocAsync" in text:
            yield note(subject, f"{name}={text}: the driver's own pools serve PyTorch, ours do not")
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield note(subject, "CUDA_VISIBLE_DEVICES hides all GPUs")


def pythons(m: Machine) -> Findings:
    for python in distinct_pythons(m.environment.get("PATH", os.defpath)):
        yield from one_python(m, python)


def distinct_pythons(path: str) -> list[str]:
    found: dict[str, str] = {}
    for name in ("python3", "python"):
        program = shutil.which(name, path=path)
        if program is not None:
            found.setdefault(os.path.realpath(program), program)
    return list(found.values())


def one_python(m: Machine, python: str) -> Findings:
    about = asked(python)
    if about is None:
        yield note("python", f"{python} does not answer")
        return
    packages = {name: version for name, version in about["packages"].items() if version}
    listed = "".join(f", {name} {version}" for name, version in packages.items())
    if about["free_threaded"]:
        advice = "use a build with the GIL"
        yield problem("python", f"{python}: a free-threaded build has an allocator of its own inside", advice)
    else:
        yield ok("python", f"{python}: {about['version']}{listed}")
    if about["torch_folder"]:
        yield from torch(python, packages.get("torch", ""), Path(about["torch_folder"]))
    yield from other_packages(m, packages)


def asked(python: str) -> dict[str, Any] | None:
    try:
        done = subprocess.run(
            [python, "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        about: dict[str, Any] = json.loads(done.stdout)
        return about
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def torch(python: str, version: str, folder: Path) -> Findings:
    """Wheels for ARM have mimalloc in libc10.so since 2.10; whoever builds with USE_MIMALLOC has it, too."""
    try:
        has_mimalloc = b"mimalloc" in (folder / "lib/libc10.so").read_bytes()
    except OSError:
        yield note("PyTorch", f"{version} of {python}: its libc10.so cannot be read")
        return
    if has_mimalloc:
        advice = "use a build without it (USE_MIMALLOC=0): otherwise no tensor on the CPU reaches the library"
        yield problem("PyTorch", f"{version} of {python} has an allocator of its own inside (mimalloc)", advice)
    else:
        yield ok("PyTorch", f"{version} of {python} takes its memory from malloc")


def other_packages(m: Machine, packages: dict[str, str]) -> Findings:
    if "pyarrow" in packages and m.environment.get("ARROW_DEFAULT_MEMORY_POOL") != "system":
        yield note("Arrow", "its buffers come from an allocator inside it", "set ARROW_DEFAULT_MEMORY_POOL=system")
    if "polars" in packages:
        yield note("Polars", "its memory comes from an allocator inside it, which no setting changes")
    if "ray" in packages and m.environment.get("RAY_LD_PRELOAD_ON_WORKERS") != "1":
        yield note("Ray", "its workers may be started without LD_PRELOAD", "set RAY_LD_PRELOAD_ON_WORKERS=1")


CHECKS = [gpu, pythons]
