"""torch_steps.py cnn|transformer|variable|elementwise: steps of PyTorch on the CPU, fixed seed."""

import random
import sys
from typing import Callable

import torch
from torch import nn

from measure import measure

torch.set_num_threads(2)
torch.manual_seed(7)


def training_step(model: nn.Module, inputs: torch.Tensor, classes: int) -> Callable[[], None]:
    labels = torch.randint(classes, inputs.shape[:1])
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def cnn() -> None:
    """Images of 224 x 224, 32 in a batch: activations of 6 to 49 MiB."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(128, 10))
    measure(training_step(model, torch.randn(32, 3, 224, 224), 10), steps=8)


class FirstToken(nn.Module):
    """A classifier head on the first token of an encoder's output."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x)[:, 0])


def transformer() -> None:
    """4 layers of width 512, 4 sequences of 128 tokens: activations of 1 to 4 MiB."""
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    model = FirstToken(nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), 512)
    measure(training_step(model, torch.randn(4, 128, 512), 10), steps=6)


def variable() -> None:
    """Inference on inputs of changing length, as speech has them: hardly a size comes twice."""
    model = nn.Sequential(
        nn.Conv1d(1, 32, 9, padding=4), nn.ReLU(), nn.Conv1d(32, 32, 9, padding=4), nn.ReLU(),
        nn.Conv1d(32, 1, 1)).eval()
    chance = random.Random(7)

    def step() -> None:
        with torch.inference_mode():
            model(torch.ones(1, 1, chance.randrange(20_000, 400_000)))

    measure(step, steps=30, warm=10)


def elementwise() -> None:
    """A chain of element-wise operations on 64 MiB tensors: memory bandwidth and nothing else."""
    x = torch.randn(16 << 20)
    measure(lambda: ((x * 1.5 + 0.5).relu() - x).abs(), steps=12)


{"cnn": cnn, "transformer": transformer, "variable": variable, "elementwise": elementwise}[sys.argv[1]]()
