"""bigmalloc report FILES...|FOLDER|PID: what one process did, or many of them together.

Files are JSON dumps (BIGMALLOC_STATS=json, with BIGMALLOC_STATS_FILE=stats.%p.json for each process its own), logs
that hold such dumps, and live files of processes that run or were killed. A file that is damaged is told on stderr,
and the others are reported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from bigmalloc_tool import discovery, dump_file, live_file, report_text
from bigmalloc_tool.errors import FileError, ToolError, UsageError, parser
from bigmalloc_tool.merge import Merged, merged
from bigmalloc_tool.model import Process
from bigmalloc_tool.report_json import to_json

DUMP_ENDINGS = (".json", ".log", ".txt", ".err", ".stats")  # in a folder, which may hold much else


def main(arguments: list[str]) -> int:
    if arguments and arguments[0].partition("=")[0] == "--trace":
        named = arguments[0].partition("=")[2]
        return int(importlib.import_module("bigmalloc_tool.export").main([*filter(None, [named]), *arguments[1:]]))
    options = parse(arguments)
    processes, complaints = collect(options.sources)
    for complaint in complaints:
        print(f"bigmalloc report: {complaint}", file=sys.stderr)
    if processes:
        tell(merged(processes), options.json, options.markdown)
    elif not complaints:
        raise ToolError("nothing to report; BIGMALLOC_STATS=json BIGMALLOC_STATS_FILE=stats.%p.json leaves files")
    return 1 if complaints else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    it = parser("report", "What one process did, or many of them together.")
    it.add_argument("sources", nargs="+", metavar="FILE|FOLDER|PID", help="dumps, live files, or what has left one")
    how = it.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="as JSON")
    how.add_argument("--markdown", action="store_true", help="as tables in Markdown")
    it.add_argument("--trace", metavar="FORMAT", help="first of all: a trace in another format; see --trace --help")
    options = it.parse_args(arguments)
    if options.trace:
        raise UsageError("--trace FORMAT stands before all else")
    return options


def tell(report: Merged, as_json: bool, as_markdown: bool) -> None:
    if as_json:
        print(json.dumps(to_json(report), indent=1))
        return
    print("\n".join(report_text.lines(report, report_text.MARKDOWN if as_markdown else report_text.PLAIN)))


# ---- what to report on ----


def collect(sources: list[str]) -> tuple[list[Process], list[FileError]]:
    processes: list[Process] = []
    complaints: list[FileError] = []
    for source in sources:
        for path in paths_of(source):
            try:
                processes += processes_in(path)
            except dump_file.NothingThereError as error:
                complaints += [error] if path == Path(source) else []
            except FileError as error:
                complaints.append(error)
    return processes, complaints


def paths_of(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if is_wanted(file))
    if source.isascii() and source.isdigit() and not path.exists():
        return [Path(discovery.find_process(int(source)).source)]
    return [path]


def is_wanted(file: Path) -> bool:
    is_ours = file.name.startswith("stats") or discovery.LIVE_NAME.fullmatch(file.name)
    return file.is_file() and (file.suffix in DUMP_ENDINGS or bool(is_ours))


def processes_in(path: Path) -> list[Process]:
    if live_file.is_one(path):
        return [discovery.Census().judged(live_file.read(path))]
    return dump_file.read(path)
