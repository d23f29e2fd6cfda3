"""Arrays in every way that NumPy gets, resizes, aligns, stores and maps memory."""

import hashlib
import mmap
import tempfile

import numpy as np

RNG = np.random.default_rng(1)


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def zeros_are_zero() -> None:
    for round_ in range(6):
        dirty = np.full(3_000_000 + round_ * 100_000, 7.0)
        del dirty
        clean = np.zeros(3_000_000 + round_ * 90_000)
        print("zeros", clean.any(), digest(np.zeros((500, 700), np.int16)))


def growth() -> None:
    values = np.arange(100_000)
    for size in (1_000_000, 5_000_000, 300_000, 9_000_000, 10):
        values.resize(size, refcheck=False)
        print("resize", size, digest(values))
    print("concatenate", digest(np.concatenate([np.full(400_000, i) for i in range(20)])))
    print("tile", digest(np.tile(RNG.random(300_000), 9)), digest(np.pad(np.ones((900, 900)), 300)))


def arithmetic() -> None:
    left, right = RNG.random((1200, 1200)), RNG.random((1200, 1200))
    for _ in range(10):
        left = np.sqrt(left * left + right) - right / 2
    print("chain", digest(left))
    print("integers", digest(np.arange(4_000_000) ** 2 % 977), np.bincount(np.arange(3_000_000) % 1013).sum())
    print("sort", digest(np.sort(RNG.random(2_000_000))), digest(np.argsort(RNG.random(500_000))))
    print("unique", len(np.unique(RNG.integers(0, 100_000, 2_000_000))), digest(np.cumsum(left, axis=1)))
    print("fft", digest(np.fft.rfft(RNG.random(1 << 20)).round(6)))
    system = RNG.random((400, 400)) + 400 * np.eye(400)
    print("solve", np.allclose(system @ np.linalg.solve(system, np.ones(400)), 1))
    text = np.array([str(i) for i in range(300_000)])
    print("strings", digest(np.char.add(text, "!").astype("S12")), np.array(text, object)[-1])


def alignment() -> None:
    blocks = [np.empty(size, np.uint8) for size in range(1 << 20, 9 << 20, (1 << 20) + 8)]
    print("aligned to 16:", all(block.ctypes.data % 16 == 0 for block in blocks))


def files() -> None:
    values = RNG.random((1000, 1500))
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/a.npy", values)
        np.savez_compressed(f"{folder}/a.npz", values=values, twice=values * 2)
        print("load", np.array_equal(np.load(f"{folder}/a.npy"), values))
        print("mapped", digest(np.load(f"{folder}/a.npy", mmap_mode="c")[::3]))
        print("npz", np.array_equal(np.load(f"{folder}/a.npz")["twice"], values * 2))
        values.tofile(f"{folder}/raw")
        print("raw", digest(np.fromfile(f"{folder}/raw")))
    print("buffers", np.frombuffer(mmap.mmap(-1, 1 << 22)).sum(), digest(np.frombuffer(bytes(1 << 21))))


def too_large() -> None:
    for size in (1 << 44, 1 << 58):
        try:
            np.ones(size)
        except MemoryError:
            print("MemoryError")


if __name__ == "__main__":
    zeros_are_zero()
    growth()
    arithmetic()
    alignment()
    files()
    too_large()
