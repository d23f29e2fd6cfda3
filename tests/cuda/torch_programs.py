#!/usr/bin/env python3
"""torch_programs.py NAME - a program of PyTorch on the GPU; it prints what it found, or figures as JSON.

With $CUDA_TESTS_QUICK the work is little enough for a processor.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NO_GPU = 77
DEVICE = "cuda"
QUICK = "CUDA_TESTS_QUICK" in os.environ
BATCH = 64 if QUICK else 4096


def model_and_data() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small network, and what it is to learn."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512)).to(DEVICE)
    return model, torch.randn(BATCH, 512, device=DEVICE), torch.randn(BATCH, 512, device=DEVICE)


def steps(count: int) -> list[tuple[float, float]]:
    """Steps of training: the loss and the time in ms of each."""
    model, inputs, targets = model_and_data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    done = []
    for _ in range(count):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        done.append((loss.item(), 1e3 * (time.perf_counter() - start)))
    return done


def training() -> None:
    """The losses are the same."""
    for step, (loss, _) in enumerate(steps(30)):
        print(f"loss {step} {loss:.4f}")


def speed() -> None:
    """The median of the steps after the first."""
    times = [ms for _, ms in steps(8 if QUICK else 400)]
    print(json.dumps({"step_ms": statistics.median(times[len(times) // 8 :])}))


class TimedFigures(ctypes.Structure):
    """struct timed_figures of timed_allocator.c."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("calls", "ns", "small_calls", "small_ns", "wait_ns")]


def timed() -> None:
    """Every tensor is an allocation of the driver's, by $TIMED_ALLOCATOR, which knows how long that took."""
    path = os.environ["TIMED_ALLOCATOR"]
    allocator = torch.cuda.memory.CUDAPluggableAllocator(path, "timed_malloc", "timed_free")
    torch.cuda.memory.change_current_allocator(allocator)
    library, found = ctypes.CDLL(path), TimedFigures()
    steps(5)
    library.timed_figures(ctypes.byref(found))
    steps(8 if QUICK else 50)
    library.timed_figures(ctypes.byref(found))
    print(json.dumps({name: getattr(found, name) for name, _ in TimedFigures._fields_}))


def loader() -> None:
    """Batches come through pinned memory, from worker processes."""
    data = TensorDataset(torch.arange(1 << 20, dtype=torch.float32).reshape(1024, 1024))
    total = 0.0
    for (batch,) in DataLoader(data, batch_size=256, num_workers=2, pin_memory=True):
        assert batch.is_pinned()
        total += batch.to(DEVICE, non_blocking=True).double().sum().item()
    print(f"total {total}")


def graphs() -> None:
    """A step that is captured once and replayed, beside allocations and frees of the program."""
    model, inputs, _ = model_and_data()
    with torch.no_grad():
        warm = torch.cuda.Stream()
        warm.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm):
            model(inputs)
        torch.cuda.current_stream().wait_stream(warm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = model(inputs)
        for i in range(5):
            inputs.fill_(i / 10)
            graph.replay()
            scratch = torch.empty(1 << 24, device=DEVICE)
            del scratch
            print(f"sum {i} {outputs.double().sum().item():.2f}")


def two_streams() -> None:
    """Work of two streams on blocks that are freed and used again."""
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    sums = [torch.zeros((), device=DEVICE, dtype=torch.float64) for _ in streams]
    for i in range(100):
        for stream, total in zip(streams, sums):
            with torch.cuda.stream(stream):
                total += torch.full((1 << 20,), float(i), device=DEVICE).double().sum()
    torch.cuda.synchronize()
    print([total.item() for total in sums])


def _double(queue: torch.multiprocessing.Queue, done: torch.multiprocessing.Queue) -> None:
    for tensor in iter(queue.get, None):
        tensor.mul_(2)
        torch.cuda.synchronize()
        done.put(True)
        del tensor


def sharing() -> None:
    """Another process changes tensors in place; ours freed afterwards are nobody else's."""
    context = torch.multiprocessing.get_context("spawn")
    queue, done = context.Queue(), context.Queue()
    process = context.Process(target=_double, args=(queue, done))
    process.start()
    for i in range(5):
        tensor = torch.full((1 << 22,), float(i), device=DEVICE)
        queue.put(tensor)
        done.get()
        print(f"doubled {i} {tensor.double().sum().item()}")
        del tensor
        assert torch.ones(1 << 22, device=DEVICE).sum().item() == 1 << 22
    queue.put(None)
    process.join()


def workspaces() -> None:
    """cuBLAS and cuSOLVER take memory for themselves."""
    torch.manual_seed(1)
    for n in (100, 200) if QUICK else (100, 500, 1000, 2000):
        a = torch.randn(n, n, device=DEVICE, dtype=torch.float64) + n * torch.eye(n, device=DEVICE, dtype=torch.float64)
        x = torch.linalg.solve(a, torch.ones(n, 1, device=DEVICE, dtype=torch.float64))
        print(f"product {n} {(a @ a).sum().item():.3e} solved {(a @ x).sum().item():.3f}")


def meet(said: str, heard: str) -> None:
    """Says a word, and waits for one."""
    print(said, flush=True)
    line = sys.stdin.readline().strip()
    assert line == heard, line


def empty_cache() -> None:
    """A quarter of the device's memory, 16 GiB at most, in segments of some sizes, goes back by empty_cache()."""
    free, _ = torch.cuda.mem_get_info()
    left = min(free // 4, 64 << 20 if QUICK else 16 << 30)
    blocks = []
    for mib in (2, 20, 64, 300, 1024) * 100:
        if left >= mib << 20:
            blocks.append(torch.empty(mib << 20, dtype=torch.uint8, device=DEVICE))
            left -= mib << 20
    meet("taken", "go on")
    del blocks
    torch.cuda.empty_cache()
    meet("given", "end")


PROGRAMS: dict[str, Callable[[], None]] = {
    program.__name__: program
    for program in (training, speed, timed, loader, graphs, two_streams, sharing, workspaces, empty_cache)
}


def main() -> int:
    """Runs the program of that name."""
    if not torch.cuda.is_available():
        print("no GPU: PyTorch finds no device")
        return NO_GPU
    PROGRAMS[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
