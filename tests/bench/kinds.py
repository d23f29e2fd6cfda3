"""kinds.py inference|training|batch: a program of a kind that BIGMALLOC_PRESET is for, and what counts for it.

Counters, no times: they say the same on a busy machine. Run it with the preset of its name and without.
"""

import random
import resource
import sys
import time
from typing import Dict

import numpy
import torch
from torch import nn

from measure import peak_mib, print_row, resident_mib

torch.set_num_threads(2)
torch.manual_seed(7)


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def inference() -> Dict[str, float]:
    """A burst of requests of changing length, and what is resident when none has come for three seconds."""
    model = nn.Sequential(
        nn.Conv1d(1, 32, 9, padding=4), nn.ReLU(), nn.Conv1d(32, 32, 9, padding=4), nn.ReLU(), nn.Conv1d(32, 1, 1)).eval()
    chance = random.Random(7)
    for _ in range(40):
        with torch.inference_mode():
            model(torch.ones(1, 1, chance.randrange(20_000, 400_000)))
    time.sleep(3)
    return {"resident_between_bursts_mib": resident_mib()}


def training() -> Dict[str, float]:
    """Steps, a pause of fifteen seconds as for a checkpoint, and the page faults of the first step behind it."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    images, labels = torch.randn(16, 3, 160, 160), torch.randint(10, (16,))
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    for _ in range(8):
        step()
    time.sleep(15)
    before = faults()
    step()
    return {"faults_of_first_step_after_pause": faults() - before}


def batch() -> Dict[str, float]:
    """A phase that needs much, and half a second of one that needs little: what is resident then."""
    parts = [numpy.ones(8 << 20) for _ in range(12)]
    del parts
    for _ in range(50):
        numpy.ones(1 << 18).sum()
        time.sleep(0.01)
    return {"resident_in_next_phase_mib": resident_mib(), "peak_mib": peak_mib()}


print_row({"inference": inference, "training": training, "batch": batch}[sys.argv[1]]())
