#!/usr/bin/env python3
"""torch_stub.py - each program of torch_programs.py, on PyTorch for processors dressed up as if it had a GPU.

What this can tell is that no name, argument or module is wrong that a GPU would be the first to meet. A line of TAP
for each program. $TIMED_ALLOCATOR is timed_allocator.so, and the stand-in driver is in the loader's path.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["CUDA_TESTS_QUICK"] = "1"


def on_host(value: Any) -> Any:
    """Where the tensors really are."""
    return "cpu" if isinstance(value, str) and value.startswith("cuda") else value


class Stream:
    """Of no device."""

    def wait_stream(self, other: Stream) -> None:
        """There is no work."""
        assert isinstance(other, Stream)


class Graph:
    """Its results are those of the capture."""

    def replay(self) -> None:
        """They are there."""


class Allocator:
    """Is called once for each step, as if for the tensors of that."""

    used: list[Allocator] = []

    def __init__(self, path: str, allocate: str, free: str) -> None:
        assert ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
        library = ctypes.CDLL(path)
        self.allocate, self.free = library[allocate], library[free]
        self.allocate.restype = ctypes.c_void_p

    def use(self) -> None:
        """A large tensor and a small one."""
        for size in (8 << 20, 64 << 10):
            address = self.allocate(ctypes.c_ssize_t(size), 0, None)
            assert address
            self.free(ctypes.c_void_p(address), ctypes.c_ssize_t(size), 0, None)


def dress(torch: Any) -> None:
    """Tensors of "cuda" lie in host memory from now on."""

    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        """Changes what functions are asked for."""

        def __torch_function__(self, function: Any, of: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.Tensor.is_pinned:
                return True
            if function is torch.Tensor.backward:
                for allocator in Allocator.used:
                    allocator.use()
            named = {name: on_host(value) for name, value in (kwargs or {}).items()}
            return function(*[on_host(value) for value in args], **named)

    Mode().__enter__()
    cuda = torch.cuda
    for name in ("Stream", "current_stream", "CUDAGraph", "stream", "graph", "synchronize", "empty_cache", "mem_get_info"):
        assert hasattr(cuda, name), name
    for name in ("CUDAPluggableAllocator", "change_current_allocator"):
        assert hasattr(cuda.memory, name), name
    cuda.is_available = lambda: True
    cuda.Stream = cuda.current_stream = Stream
    cuda.CUDAGraph = Graph
    cuda.stream = cuda.graph = lambda on: contextlib.nullcontext()
    cuda.synchronize = cuda.empty_cache = lambda: None
    cuda.mem_get_info = lambda: (4 << 30, 8 << 30)
    cuda.memory = types.SimpleNamespace(CUDAPluggableAllocator=Allocator, change_current_allocator=Allocator.used.append)
    torch.nn.Module.to = lambda module, where: module


def rehearse(name: str, program: Any) -> bool:
    """Runs it, with what it waits to be told."""
    said = io.StringIO()
    sys.stdin = io.StringIO("go on\nend\n")
    try:
        with contextlib.redirect_stdout(said):
            program()
        assert said.getvalue(), "it says nothing"
    except Exception:  # noqa: BLE001 - whatever it was, the program does not work
        print(f"not ok - torch_programs.py {name}")
        print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        return False
    print(f"ok - torch_programs.py {name}", flush=True)
    return True


try:
    import torch
except ImportError as missing:
    print(f"ok - torch_programs.py # SKIP {missing}")
    sys.exit(0)

# Also in processes that a program starts: they run this file under another name.
dress(torch)

if __name__ == "__main__":
    import torch_programs

    sys.exit(int(not all([rehearse(name, program) for name, program in torch_programs.PROGRAMS.items()])))
