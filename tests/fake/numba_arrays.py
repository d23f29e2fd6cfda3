#!/usr/bin/env python3
"""Unmodified Numba on the stand-in driver: arrays, copies, streams, pinned memory. The result is TAP.

    numba_arrays.py DRIVER

DRIVER is a libcuda.so.1 of before CUDA 13, which Numba 0.56 does not know. What LD_PRELOAD names is tested
along: the results must be the same.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable

SIZE = 1 << 19  # float64 elements: 4 MiB


def memory_free() -> int:
    """The bytes that the device has left once Numba has freed what it put off."""
    gc.collect()
    cuda.current_context().memory_manager.deallocations.clear()
    return int(cuda.current_context().get_memory_info().free)


def round_trip() -> None:
    """What was copied to the device comes back."""
    host = np.arange(SIZE, dtype=np.float64)
    device = cuda.to_device(host)
    assert device.device_ctypes_pointer.value % (2 << 20) == 0
    assert np.array_equal(device.copy_to_host(), host)


def many_arrays() -> None:
    """Arrays that come and go keep their contents apart, and their memory goes back."""
    before = memory_free()
    for i in range(100):
        device = cuda.device_array(SIZE, dtype=np.float64)
        device.copy_to_device(np.full(SIZE, float(i)))
        assert device.copy_to_host().sum() == i * SIZE
    assert memory_free() < before
    del device
    assert memory_free() == before


def streams() -> None:
    """A copy on a stream, through pinned memory, is there once the stream has been waited for."""
    stream = cuda.stream()
    host = cuda.pinned_array(SIZE, dtype=np.float64)
    host[:] = 3.0
    back = cuda.pinned_array(SIZE, dtype=np.float64)
    device = cuda.device_array(SIZE, dtype=np.float64, stream=stream)
    device.copy_to_device(host, stream=stream)
    device.copy_to_host(back, stream=stream)
    stream.synchronize()
    assert back.sum() == 3.0 * SIZE


def pinned() -> None:
    """Memory of NumPy is registered for the time of a with statement, and usable after it."""
    host = np.ones(SIZE)
    with cuda.pinned(host):
        assert cuda.to_device(host).copy_to_host().sum() == SIZE
    host += 1
    assert host.sum() == 2 * SIZE


def events() -> None:
    """Events around work are reached."""
    start, end = cuda.event(), cuda.event()
    start.record()
    cuda.to_device(np.zeros(SIZE))
    end.record()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0


def memory_ends() -> None:
    """What the device does not have is refused, and it works on afterwards."""
    try:
        cuda.device_array(1 << 40, dtype=np.uint8)
    except cuda.cudadrv.driver.CudaAPIError as error:
        assert error.code == 2, error
    else:
        raise AssertionError("1 TiB was granted")
    round_trip()


def close() -> None:
    """A context that is closed takes its memory along, and another one can be had."""
    cuda.to_device(np.zeros(SIZE))
    cuda.close()
    round_trip()


TESTS: list[Callable[[], None]] = [round_trip, many_arrays, streams, pinned, events, memory_ends, close]


def main() -> int:
    """Runs every test, and tells of each."""
    failed = 0
    for test in TESTS:
        try:
            test()
            print(f"ok - numba: {test.__doc__}")
        except Exception:  # noqa: BLE001 - whatever it was, the test has failed
            failed += 1
            print(f"not ok - numba: {test.__doc__}")
            print("# " + traceback.format_exc().replace("\n", "\n# "))
    return int(failed > 0)


if __name__ == "__main__":
    os.environ["NUMBA_CUDA_DRIVER"] = sys.argv[1]
    os.environ["NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS"] = "0"
    try:
        import numpy as np
        from numba import cuda
    except ImportError as missing:
        print(f"ok - numba # SKIP {missing}")
        sys.exit(0)
    sys.exit(main())
