"""torch_passes.py: what 100 more passes of a small network leave behind, when its shapes vary.

Ten shapes come in an order that changes each time; by pass 20 each was seen twice, so that what is
resident after pass 120 beyond that is what the allocator lost on the way.
"""

import random
from typing import Iterator, Tuple

import torch
from torch import nn

from measure import Meter, print_row, resident_mib, steps_wanted

WARM_PASSES = 20
PASSES = 100
SHAPES = tuple((batch, side) for batch in (2, 6) for side in (40, 72, 104, 136, 168))

torch.set_num_threads(2)
torch.manual_seed(7)


def shapes() -> Iterator[Tuple[int, int]]:
    chance = random.Random(7)
    while True:
        yield from chance.sample(SHAPES, len(SHAPES))


def main() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    coming = shapes()

    def one_pass() -> None:
        batch, side = next(coming)
        optimizer.zero_grad()
        labels = torch.zeros(batch, dtype=torch.long)
        nn.functional.cross_entropy(model(torch.ones(batch, 3, side, side)), labels).backward()
        optimizer.step()

    for _ in range(WARM_PASSES):
        one_pass()
    before = resident_mib()
    meter = Meter(one_pass)
    for _ in range(steps_wanted(PASSES)):
        meter.run()
    print_row({**meter.figures(), "grown_mib": resident_mib() - before})


main()
