"""A Python program of small objects: dicts, lists, strings, and their JSON. No large block at all."""

import json
import random

from measure import measure


def records(count: int) -> list:
    chance = random.Random(7)
    return [{
        "name": f"record {i}",
        "tags": [str(chance.random()) for _ in range(chance.randrange(8))],
        "sizes": [chance.randrange(1 << 40) for _ in range(chance.randrange(200))],
        "text": "x" * chance.randrange(4000),
    } for i in range(count)]


def step() -> None:
    made = records(300)
    again = json.loads(json.dumps(made))
    assert again == made
    " ".join(record["name"] for record in again).upper().split()


measure(step, steps=24)
