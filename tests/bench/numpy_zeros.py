"""numpy_zeros.py MIB: np.zeros, filled. What calloc has to clear is touched twice."""

import sys

import numpy as np

from measure import MIB, measure

TOTAL_MIB = 2048


def main(mib: int) -> None:
    items = mib * MIB // 8
    measure(lambda: np.zeros(items).fill(1.0), steps=max(4, TOTAL_MIB // mib))


main(int(sys.argv[1]))
