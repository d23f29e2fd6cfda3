"""numpy_expression.py MIB: `c = a + b`, whose result is a new array each time, beside its twin that
writes to an array kept from before. Their ratio is the price of the allocation: 1 is none at all."""

import sys

import numpy as np

from measure import MIB, Meter, print_row, steps_wanted

WARM_STEPS = 3
TOTAL_MIB = 1024


def main(mib: int) -> None:
    items = mib * MIB // 8
    a, b, kept = np.full(items, 1.0), np.full(items, 2.0), np.zeros(items)
    expression = Meter(lambda: a + b)
    twin = Meter(lambda: np.add(a, b, out=kept))
    for _ in range(WARM_STEPS):
        expression.step()
        twin.step()
    for _ in range(steps_wanted(max(3, TOTAL_MIB // mib))):
        expression.run()
        twin.run()
    print_row({
        **expression.figures(),
        "twin_ms": twin.figures()["time"],
        "over_twin": expression.median_ms() / twin.median_ms(),
    })


main(int(sys.argv[1]))
