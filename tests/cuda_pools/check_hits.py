#!/usr/bin/env python3
"""check_hits.py REPORT KIND... - a line of TAP for each kind of pool: whether it served requests from idle blocks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def hits_of(pool: dict[str, Any]) -> int:
    """The requests that idle blocks of a pool served."""
    return sum(int(size_class["hits"]) for size_class in pool["classes"])


def main() -> int:
    """Reads the report, and judges each kind."""
    pools = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["pools"]
    failed = 0
    for kind in sys.argv[2:]:
        hits = sum(hits_of(pool) for pool in pools if pool["kind"] == kind)
        failed += hits == 0
        print(f"{'ok' if hits else 'not ok'} - numba: idle {kind} blocks served requests\n# {hits} hits")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
