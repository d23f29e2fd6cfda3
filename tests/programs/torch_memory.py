"""The memory of a DataLoader: that of its worker processes and its own, together, at their worst moment.

The memory is proportional (PSS): pages that several processes share count once. Random crops make the tensors
of all sizes. Prints a checksum, and then `peak_mib N`.
"""

import os
import threading
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

WORKERS = 4
INTERVAL_S = 0.05


class Crops(Dataset):
    def __len__(self) -> int:
        return 80

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        height, width = (int(n) for n in torch.randint(400, 1400, (2,), generator=generator))
        image = torch.rand(3, height, width, generator=generator)
        image = (image - image.mean()) / image.std()
        return torch.nn.functional.interpolate(image[None], size=(512, 512), mode="bilinear")[0]


def pss_kib(pid: int) -> int:
    """0 for a process that has ended meanwhile."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text(encoding="ascii").split()]


class Watch(threading.Thread):
    """Adds up again and again, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_kib = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(INTERVAL_S):
            self.peak_kib = max(self.peak_kib, sum(map(pss_kib, [os.getpid(), *children()])))


def main() -> None:
    torch.set_num_threads(1)
    watch = Watch()
    watch.start()
    total = torch.zeros((), dtype=torch.float64)
    loader = DataLoader(Crops(), batch_size=8, num_workers=WORKERS, multiprocessing_context="fork")
    for _ in range(2):
        for images in loader:
            total += images.double().sum()
    watch.over.set()
    watch.join()
    print(total.item().hex())
    print("peak_mib", watch.peak_kib >> 10)


if __name__ == "__main__":
    main()
