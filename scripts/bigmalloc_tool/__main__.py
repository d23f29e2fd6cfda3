"""python3 bigmalloc_tool COMMAND ARGUMENTS...: what scripts/bigmalloc hands on."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

# Python put this folder on its path, where our module names would hide its own ones.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bigmalloc_tool.errors import ToolError, UsageError, reason  # noqa: E402

# A command and the module of this package whose main(arguments) is it; main returns the exit status.
COMMANDS = {
    "top": "top",
    "stat": "changes",
    "report": "report",
    "metrics": "metrics",
    "plot": "plot",
    "run": "waiting",  # with --report: all else of it is done in sh
    "doctor": "doctor",
}
INTERRUPTED = 130  # what a shell makes of SIGINT
BROKEN_PIPE = 141  # and of SIGPIPE


def run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise UsageError(f"no such command; there are {', '.join(COMMANDS)}")
    module = importlib.import_module(f"bigmalloc_tool.{COMMANDS[command]}")
    status = int(module.main(arguments))
    sys.stdout.flush()
    return status


def complain(command: str, error: ToolError) -> int:
    print(f"bigmalloc {command}: {error}".replace("\n", " "), file=sys.stderr)
    return error.status


def swallow_output() -> int:
    """Nobody reads us any more: what is left in the buffer must not fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def main() -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    try:
        return run(command, arguments)
    except ToolError as error:
        return complain(command, error)
    except BrokenPipeError:
        return swallow_output()
    except OSError as error:
        return complain(command, ToolError(f"{error.filename or 'the output'}: {reason(error)}"))
    except KeyboardInterrupt:
        return INTERRUPTED


sys.exit(main())
