"""Which of many values stand out. Pure.

The rule is the modified z-score of Iglewicz and Hoaglin ("How to Detect and Handle Outliers", 1993): a value is far
from the others when it is further from the median than 3.5 / 0.6745 times the median of these distances. Neither
the median nor that distance is moved by the outliers themselves, as mean and standard deviation would be. Where half
of the values are the same the distance is 0: so besides, an outlier is a quarter of the median off, and by as much as
anybody would care for. Of two values none is: they are as far from their median as each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

SCORE = 3.5
NORMAL = 0.6745  # the median distance of normally distributed values, in standard deviations
LEAST_SHARE = 0.25  # of the median


def find(values: Sequence[float], least: float) -> list[int]:
    """Their places. What is less than `least` off is no outlier."""
    middle = median(values)
    distances = [abs(value - middle) for value in values]
    far = max(SCORE / NORMAL * median(distances), LEAST_SHARE * abs(middle), least)
    return [n for n, distance in enumerate(distances) if distance > far]
