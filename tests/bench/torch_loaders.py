"""torch_loaders.py: a DataLoader with four workers, and what it and they have resident together.

Their shares of what they have in common are counted as shares (Pss), the batches in shared memory
too. The parent adds up while the workers prepare the next batches.
"""

import multiprocessing
import os
import time

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from measure import peak_mib, print_row, smaps_mib, steps_wanted

WORKERS = 4
BATCH = 16
BATCHES = 48
BATCHES_PER_LOOK = 2

torch.set_num_threads(1)


class Images(Dataset):
    """As a folder of photographs has them: decoded, scaled to floats, cropped. A batch has 9 MiB."""

    def __len__(self) -> int:
        return BATCH * steps_wanted(BATCHES)

    def __getitem__(self, index: int) -> torch.Tensor:
        chance = np.random.default_rng(index)
        height, width = chance.integers(512, 1024, 2)
        decoded = np.full((height, width, 3), index % 256, np.uint8)
        scaled = (decoded.astype(np.float32) / 255 - 0.45) / 0.22
        top, left = (height - 224) // 2, (width - 224) // 2
        return torch.from_numpy(scaled[top:top + 224, left:left + 224].transpose(2, 0, 1).copy())


def together_mib() -> float:
    workers = [worker.pid for worker in multiprocessing.active_children()]
    return sum(smaps_mib("Pss", pid) for pid in (os.getpid(), *workers))


def main() -> None:
    loader = DataLoader(Images(), batch_size=BATCH, num_workers=WORKERS, multiprocessing_context="fork")
    looks_s, together = 0.0, 0.0
    start = time.perf_counter()
    for number, batch in enumerate(loader, 1):
        batch.mean()
        if number % BATCHES_PER_LOOK == 0:
            look = time.perf_counter()
            together = max(together, together_mib())
            looks_s += time.perf_counter() - look
    ms = 1e3 * (time.perf_counter() - start - looks_s) / len(loader)
    print_row({"time": ms, "peak_mib": peak_mib(), "together_mib": together})


main()
