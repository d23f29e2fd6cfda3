"""A small training loop: the loss is the same to the last digit."""

import io

import torch


def model() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1),
        torch.nn.BatchNorm2d(32),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 16 * 16, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )


def train(network: torch.nn.Module, steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(steps):
        size = 24 + 8 * (step % 3)
        images, labels = torch.randn(size, 3, 32, 32), torch.randint(0, 10, (size,))
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, loss.item().hex())


def tensors() -> None:
    values = torch.arange(6_000_000, dtype=torch.float64)
    for _ in range(5):
        values = (values * 1.5 + 1).sin()
    print("chain", values.sum().item().hex())
    print("zeros", torch.zeros(3_000_000).any().item(), torch.cat([values, values[:9]]).shape)
    values.resize_(9_000_000)
    print("resize", values[5_999_999].item().hex())
    shared = torch.ones(1 << 20).share_memory_()
    print("numpy", torch.from_numpy(values.numpy()[:10]).sum().item().hex(), shared.sum().item())


def main() -> None:
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    network = model()
    train(network, 8)
    stored = io.BytesIO()
    torch.save(network.state_dict(), stored)
    stored.seek(0)
    network.load_state_dict(torch.load(stored, weights_only=True))
    train(network, 2)
    tensors()


if __name__ == "__main__":
    main()
