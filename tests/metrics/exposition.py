"""Reads Prometheus' text format 0.0.4 and compares it with a report of BIGMALLOC_STATS=json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
# Figures that go by another name, or stand in no pool of the text format.
OWN_NAMES = {"kind", "id", "uuid", "pci_address", "device_bytes", "device_free_bytes", "idle_bytes"} | {
    "mappings",
    "fragmentation",
    "classes",
}


def labels_of(text: str) -> Labels:
    """Bounds of buckets are numbers: 1048576 and 1.048576e+06 are one."""
    return frozenset((name, str(float(value)) if name == "le" else value) for name, value in LABEL.findall(text))


def parse(text: str) -> Samples:
    samples: Samples = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        name, labels, value = match.groups()
        key = name, labels_of(labels or "")
        assert key not in samples, f"twice: {line!r}"
        samples[key] = float(value)
    return samples


def names(text: str) -> set[str]:
    """Of all series, as an expression names them, and of families that have none here, as a machine lacks a GPU."""
    return {name for name, _ in parse(text)} | set(re.findall(r"(?m)^# TYPE (\w+) ", text))


def differences(expected: dict[str, float], samples: Samples, place: dict[str, str]) -> list[str]:
    labels = frozenset(place.items())
    return [
        f"{name}: {value} in JSON, {samples.get((name, labels))} here"
        for name, value in expected.items()
        if samples.get((name, labels)) != value
    ]


def expected_of(pool: dict[str, Any], timed: bool) -> dict[str, float]:
    """What the samples of a pool must be. `timed`: also those that differ from run to run."""
    expected: dict[str, float] = {}
    for name, value in pool.items():
        if isinstance(value, dict):
            stem = "bigmalloc_" + name.removesuffix("_bytes")
            expected[stem + "_bytes"] = value["current"]
            expected[stem + "_peak_bytes"] = value["peak"]
            expected[stem + "_acquired_bytes_total"] = value["allocated"]
            expected[stem + "_released_bytes_total"] = value["freed"]
        elif name.endswith("_us") and timed:
            expected["bigmalloc_" + name.removesuffix("_us") + "_seconds_total"] = value / 1e6
        elif name not in OWN_NAMES and not name.endswith("_us"):
            expected[f"bigmalloc_{name}_total"] = value
    hits = sum(size_class["hits"] for size_class in pool["classes"])
    misses = sum(size_class["misses"] for size_class in pool["classes"])
    expected["bigmalloc_hits_total"] = hits
    expected["bigmalloc_misses_total"] = misses
    expected["bigmalloc_requests_total"] = hits + misses + pool["failures"] + pool["passed"]
    expected["bigmalloc_idle_bytes"] = pool["reserved_bytes"]["current"] - pool["allocated_bytes"]["current"]
    expected["bigmalloc_request_size_bytes_count"] = hits + misses
    return expected


def buckets_of(pool: dict[str, Any], samples: Samples, place: dict[str, str]) -> list[str]:
    """The buckets of the histogram that disagree with the size classes."""
    wrong = []
    for (name, labels), value in samples.items():
        bound = dict(labels).get("le")
        if bound is None or not place.items() <= dict(labels).items():
            continue
        classes = [c for c in pool["classes"] if float(c["size"]) <= float(bound)]
        if value != sum(c["hits"] + c["misses"] for c in classes):
            wrong.append(f"{name} up to {bound}: {value}")
    return wrong


def disagreements(report: Path, metrics: Path) -> list[str]:
    """Of the two files, whose processes did the same; pools of nodes alone."""
    samples = parse(metrics.read_text())
    wrong: list[str] = []
    for pool in json.loads(report.read_text())["pools"]:
        place = {"kind": pool["kind"], "node": str(pool["id"])}
        wrong += differences(expected_of(pool, timed=False), samples, place)
        wrong += buckets_of(pool, samples, place)
    return wrong
