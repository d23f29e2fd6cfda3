"""The ways to fail. A person reads one line that says what is wrong and what to do; never a traceback."""

from __future__ import annotations

import argparse
from typing import NoReturn


class ToolError(Exception):
    """Something that cannot be done; the text is for the user."""

    status = 1


class FileError(ToolError):
    """A file that is not what it should be. Whoever reads many of them goes on with the others."""

    def __init__(self, path: object, what: str) -> None:
        super().__init__(f"{printable(str(path))}: {what}")


class UsageError(ToolError):
    """Something that makes no sense; the status is what shells use for that."""

    status = 2


class Parser(argparse.ArgumentParser):
    """Complains in one line, where argparse takes the whole usage to do it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def parser(command: str, doc: str) -> Parser:
    return Parser(prog=f"bigmalloc {command}", description=doc, allow_abbrev=False)


def printable(text: str) -> str:
    """Names come from programs and from files: none of them moves the cursor or rings the bell."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
