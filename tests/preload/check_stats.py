"""Checks one report of BIGMALLOC_STATS=json, given as the argument: names, types and equations."""

import json
import pathlib
import platform
import sys
import time

GAUGES = ("allocated_bytes", "reserved_bytes", "requested_bytes")
COUNTERS = ("failures", "oom_retries", "passed", "missed_bytes", "miss_us", "grown_bytes", "inherited_bytes", "zeroed_bytes",
            "recycled_blocks", "recycled_bytes", "moves", "moved_blocks", "lost_blocks", "released_blocks",
            "released_bytes", "pressure_events", "emergencies", "mappings")
CAUSES = ("aged_bytes", "capped_bytes", "pressed_bytes", "refused_bytes", "trimmed_bytes", "outgrown_bytes",
          "altered_bytes", "exchanged_bytes", "stuck_bytes")
GRANULE = 2 << 20
RATIOS = ("hit_ratio", "reuse_ratio", "allocation_efficiency")


def is_count(value):
    return isinstance(value, int) and value >= 0


def check_gauge(gauge):
    assert set(gauge) == {"current", "peak", "allocated", "freed"}, gauge
    assert all(is_count(value) for value in gauge.values()), gauge
    assert gauge["current"] == gauge["allocated"] - gauge["freed"], gauge
    assert gauge["current"] <= gauge["peak"] <= gauge["allocated"], gauge


def check_pool(pool):
    assert pool["kind"] == "host" and is_count(pool["id"])
    for name in GAUGES:
        check_gauge(pool[name])
    assert all(is_count(pool[name]) for name in COUNTERS)
    assert pool["requested_bytes"]["current"] <= pool["allocated_bytes"]["current"]
    assert pool["allocated_bytes"]["current"] <= pool["reserved_bytes"]["current"]
    assert pool["lost_blocks"] > 0 or pool["reserved_bytes"]["freed"] == pool["released_bytes"]
    assert sum(pool[name] for name in CAUSES) == pool["released_bytes"]
    assert pool["emergencies"] <= pool["pressure_events"]
    most_idle = 0
    for size_class in pool["classes"]:
        assert set(size_class) == {"size", "hits", "misses", "idle", "live"}, size_class
        assert all(is_count(value) for value in size_class.values()), size_class
        most_idle += (size_class["size"] + GRANULE) * size_class["idle"]
    idle = pool["reserved_bytes"]["current"] - pool["allocated_bytes"]["current"]
    assert idle <= most_idle
    assert abs(pool["fragmentation"] - idle / max(1, pool["reserved_bytes"]["current"])) <= 0.0001
    sizes = [size_class["size"] for size_class in pool["classes"]]
    assert sizes == sorted(set(sizes))


def sum_over_classes(report, name):
    return sum(c[name] for pool in report["pools"] for c in pool["classes"])


def check(report):
    assert report["schema"] == "bigmalloc-stats/1"
    assert isinstance(report["command"], str) and is_count(report["pid"])
    assert report["host"] == platform.node()[:63], report["host"]
    assert report["rank"] is None and is_count(report["start_ticks"])
    assert report["boot_id"] == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert abs(report["time_unix_us"] / 1e6 - time.time()) < 60
    totals = report["totals"]
    assert totals["requests"] == totals["hits"] + totals["misses"] + totals["failures"] + totals["passed"], totals
    assert totals["hits"] == sum_over_classes(report, "hits")
    assert totals["misses"] == sum_over_classes(report, "misses")
    assert all(0 <= totals[name] <= 1 for name in RATIOS), totals
    assert abs(totals["hit_ratio"] - totals["hits"] / totals["requests"]) <= 0.0001
    assert totals["oom_retries"] == sum(pool["oom_retries"] for pool in report["pools"])
    assert report["pools"]
    for pool in report["pools"]:
        check_pool(pool)


check(json.loads(sys.argv[1]))
