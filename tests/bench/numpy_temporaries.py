"""numpy_temporaries.py MIB: one line of NumPy with a handful of temporaries of that size."""

import sys

import numpy as np

from measure import MIB, measure

TOTAL_MIB = 1024


def main(mib: int) -> None:
    items = mib * MIB // 8
    a, b = np.full(items, 3.0), np.full(items, 4.0)
    measure(lambda: np.sqrt(a * a + b * b) / (a + b), steps=max(4, TOTAL_MIB // mib))


main(int(sys.argv[1]))
