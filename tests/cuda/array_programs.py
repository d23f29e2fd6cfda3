#!/usr/bin/env python3
"""array_programs.py cupy|numba - arrays on the GPU, by CuPy without its own pools, or by Numba; it prints what it found."""

from __future__ import annotations

import sys

import numpy as np

NO_GPU = 77


def cupy_arrays() -> None:
    """Every temporary is an allocation of the driver's."""
    import cupy

    cupy.cuda.set_allocator(None)
    cupy.cuda.set_pinned_memory_allocator(None)
    for n in (1 << 18, 1 << 20, 3 << 20):
        a = cupy.arange(n, dtype=cupy.float64)
        for _ in range(20):
            a = a * 1.5 - a * 0.5 + 1
        host = cupy.asnumpy(a)
        print(f"sum {n} {host.sum():.6e} {host[0]} {host[-1]}")
    m = cupy.ones((1000, 1000)) @ cupy.ones((1000, 1000))
    print(f"product {float(m.sum())}")


def numba_arrays() -> None:
    """Arrays that come and go, pinned memory, and a kernel."""
    from numba import cuda

    for i in range(50):
        host = np.full(1 << 20, float(i))
        assert np.array_equal(cuda.to_device(host).copy_to_host(), host)
    pinned = cuda.pinned_array(1 << 20, dtype=np.float64)
    pinned[:] = 2.0
    print(f"sum {cuda.to_device(pinned).copy_to_host().sum()}")
    print(f"free {cuda.current_context().get_memory_info().free > 0}")
    print(f"kernel {numba_kernel()}")


def numba_kernel() -> str:
    """What it adds up to; why not, where there is no compiler or nothing that runs what it makes."""
    from numba import cuda

    @cuda.jit  # type: ignore[misc]
    def add(words, n):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < words.size:
            words[i] += n

    words = cuda.to_device(np.arange(1 << 20))
    try:
        add[(1 << 20) // 256, 256](words, 7)
        return str(words.copy_to_host().sum())
    except Exception as why:  # noqa: BLE001 - each version has its own way to say so
        return f"none: {type(why).__name__}"


def has_device(name: str) -> bool:
    """Whether the package finds a device."""
    try:
        if name == "cupy":
            import cupy

            return bool(cupy.cuda.runtime.getDeviceCount())
        from numba import cuda

        return len(cuda.gpus) > 0
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 - each package has its own way to say that there is none
        return False


def main() -> int:
    """Runs the program of that package."""
    name = sys.argv[1]
    if not has_device(name):
        print(f"no GPU: {name} finds no device")
        return NO_GPU
    {"cupy": cupy_arrays, "numba": numba_arrays}[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
