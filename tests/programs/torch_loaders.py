"""DataLoader workers by fork and by spawn, with and without persistence, and torch's own multiprocessing."""

import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, 224, 224, generator=generator), index


def checksum(loader: DataLoader) -> tuple[str, int]:
    total, seen = torch.zeros((), dtype=torch.float64), 0
    for images, indices in loader:
        total += (images.double() * indices.reshape(-1, 1, 1, 1)).sum()
        seen += len(indices)
    return total.item().hex(), seen


def square(values: torch.Tensor) -> torch.Tensor:
    return values * values


def main() -> None:
    torch.set_num_threads(1)
    print("no workers", checksum(DataLoader(Images(), batch_size=8)))
    for method in ("fork", "spawn"):
        for persistent in (False, True):
            loader = DataLoader(
                Images(),
                batch_size=8,
                num_workers=2,
                multiprocessing_context=method,
                persistent_workers=persistent,
            )
            print(method, persistent, checksum(loader), checksum(loader))
    with torch.multiprocessing.get_context("fork").Pool(2) as pool:
        inputs = [torch.full((1 << 20,), 2.0 + i) for i in range(4)]
        print("pool", [values.sum().item() for values in pool.map(square, inputs)])


if __name__ == "__main__":
    main()
