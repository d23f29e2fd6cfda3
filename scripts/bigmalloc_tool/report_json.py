"""A report as JSON, schema "bigmalloc-report/1". Pure.

Names are those of the dumps. Where they are sums over processes, "peak" is the largest of their peaks and
"peak_bound" the sum, between which the peak of all together lies.
"""

from __future__ import annotations

from bigmalloc_tool import dump_file
from bigmalloc_tool.merge import Merged, Outlier
from bigmalloc_tool.model import Process

SCHEMA = "bigmalloc-report/1"


def to_json(report: Merged) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "totals": dump_file.totals_to_json(report.figures),
        "figures": dump_file.figures_to_json(report.figures),
        "host": {
            "live_bytes": report.live_bytes,
            "shared_bytes": report.shared_bytes,
            "largest_peak_bytes": report.largest_peak,
            "peak_bound_bytes": report.peak_bound,
        },
        "places": [dump_file.pool_to_json(pool) for pool in report.places],
        "outliers": [outlier_to_json(one) for one in report.outliers],
        "processes": [process_to_json(one) for one in report.processes],
    }


def outlier_to_json(one: Outlier) -> dict[str, object]:
    who = {"host": one.process.host, "pid": one.process.pid, "rank": one.process.rank}
    return {**who, "figure": one.what, "value": one.value, "median": one.middle}


def process_to_json(one: Process) -> dict[str, object]:
    return {**dump_file.to_json(one), "state": one.life.value, "source": one.source}
