"""driver.py - calls of the stand-in driver, as under a framework: so that the pools have something to do."""

from __future__ import annotations

import ctypes

ENOUGH = 20  # that some frees leave quarantine
BYTES = ctypes.c_size_t(8 << 20)


def use() -> None:
    """Device and pinned memory comes and goes."""
    driver = ctypes.CDLL("libcuda.so.1")
    context, device, host = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_void_p()
    assert driver.cuInit(0) == 0
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxSetCurrent(context) == 0
    for _ in range(ENOUGH):
        assert driver.cuMemAlloc_v2(ctypes.byref(device), BYTES) == 0
        assert driver.cuMemFree_v2(device) == 0
        assert driver.cuMemHostAlloc(ctypes.byref(host), BYTES, 1) == 0
        assert driver.cuMemFreeHost(host) == 0
    assert driver.cuMemAllocAsync(ctypes.byref(device), BYTES, None) == 0
    assert driver.cuMemFreeAsync(device, None) == 0
