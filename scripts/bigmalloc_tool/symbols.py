"""Names for the addresses of stacks.

    frames = resolve(addresses, trace.modules.values())  # {address: Frame}
    str(frames[address])                              # "at::detail::empty_cpu in libtorch_cpu.so"

All at once, because each file is read and each helper program started but once. Names come from the ELF tables
that we read ourselves, lines from addr2line where there is debug information, and C++ names from c++filt; without
these programs the frames say less. Code that was made while the program ran, files that are gone or were
changed since (their build ID tells) and functions without a name stay module+offset.

The addresses of a stack are those that calls return to, which may lie in the function that comes next: the
instruction before is looked up.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bigmalloc_tool import elf
from bigmalloc_tool.errors import printable
from bigmalloc_tool.trace import Module

HELPER_LIMIT_S = 120
DEBUG_FILES = Path("/usr/lib/debug/.build-id")
MANGLED = re.compile(r"_Z[\w.$]+")
TEMPLATE = re.compile(r"(?<!operator)(?<!operator<)<[^<>]*>")
BUILD_ID = re.compile(r"[0-9a-f]{4,128}")


class Frame(NamedTuple):
    address: int
    function: str = ""  # "": unknown
    file: str = ""
    line: int = 0
    module: str = ""  # path; "": code of no file
    offset: int = 0  # in the module's file

    def __str__(self) -> str:
        if self.function and self.line:
            return f"{short(self.function)} at {Path(self.file).name}:{self.line}"
        if self.function:
            return f"{short(self.function)} in {Path(self.module).name}"
        return f"{Path(self.module).name}+{self.offset:#x}" if self.module else f"{self.address:#x}"


def short(function: str) -> str:
    """A C++ function without its parameters, those of its templates, and what it returns."""
    name = function.replace("(anonymous namespace)", "{anonymous}").replace("operator()", "operator{}")
    before = ""
    while name != before:
        before, name = name, TEMPLATE.sub("", name)
    name = name.split("(")[0].split(" ")[-1] or function
    return name.replace("{anonymous}", "(anonymous namespace)").replace("operator{}", "operator()")


def resolve(addresses: Iterable[int], modules: Iterable[Module]) -> dict[int, Frame]:
    frames: dict[int, Frame] = {}
    for module, called in by_module(set(addresses), modules).items():
        frames.update({address: frame for address, frame in zip(called, frames_in(module, called))})
    names = demangled({frame.function for frame in frames.values()})
    return {address: frame._replace(function=names[frame.function]) for address, frame in frames.items()}


def by_module(addresses: set[int], modules: Iterable[Module]) -> dict[Module | None, list[int]]:
    rows = sorted(modules)
    starts = [module.start for module in rows]
    found: dict[Module | None, list[int]] = {}
    for address in sorted(addresses):
        at = bisect_right(starts, address - 1) - 1
        inside = at >= 0 and address - 1 < rows[at].end
        found.setdefault(rows[at] if inside else None, []).append(address)
    return found


def frames_in(module: Module | None, addresses: list[int]) -> list[Frame]:
    if module is None:
        return [Frame(address) for address in addresses]
    bare = [Frame(at, module=module.path, offset=at - module.start + module.offset) for at in addresses]
    try:
        return named(module, bare)
    except elf.NotElf:
        return bare


def named(module: Module, frames: list[Frame]) -> list[Frame]:
    if not module.path.startswith("/"):
        return frames  # [vdso] and the like
    with elf.opened(Path(module.path)) as file:
        if module.build_id and file.build_id() != module.build_id:
            return frames  # another one now
        calls = [file.address(frame.offset - 1) for frame in frames]
        functions, has_lines = file.functions(), file.has_lines()
    path = Path(module.path)
    debug = debug_file(module.build_id)
    if debug is not None:
        with elf.opened(debug) as file:
            path, functions, has_lines = debug, file.functions() or functions, file.has_lines()
    frames = [frame._replace(function=function_at(call, functions)) for frame, call in zip(frames, calls)]
    return with_lines(path, frames, calls) if has_lines else frames


def debug_file(build_id: str) -> Path | None:
    """What a distribution's debug package brings for a file: gdb, "Separate Debug Files"."""
    path = DEBUG_FILES / build_id[:2] / f"{build_id[2:]}.debug"
    return path if BUILD_ID.fullmatch(build_id) and path.is_file() else None


def function_at(address: int | None, functions: list[elf.Function]) -> str:
    if address is None:
        return ""
    at = bisect_right(functions, (address, float("inf"))) - 1
    if at < 0:
        return ""
    function = functions[at]
    inside = address < function.address + function.size or function.size == 0
    return printable(function.name) if inside else ""


def with_lines(path: Path, frames: list[Frame], calls: list[int | None]) -> list[Frame]:
    asked = "\n".join(f"{call or 0:#x}" for call in calls)
    said = helper(["addr2line", "-e", str(path)], asked).splitlines()
    if len(said) != len(frames):
        return frames
    return [with_line(frame, text) for frame, text in zip(frames, said)]


def with_line(frame: Frame, text: str) -> Frame:
    found = re.fullmatch(r"(.+):(\d+)(?: \(discriminator \d+\))?", printable(text))
    if not found or found[1] == "??":
        return frame
    return frame._replace(file=found[1], line=int(found[2]))


def demangled(names: set[str]) -> dict[str, str]:
    """Every name, the C++ ones as in the source."""
    plain = {name: name for name in names}
    mangled = [name for name in names if MANGLED.fullmatch(name)]
    said = helper(["c++filt"], "\n".join(mangled)).splitlines() if mangled else []
    return {**plain, **dict(zip(mangled, said))} if len(said) == len(mangled) else plain


def helper(command: list[str], text: str) -> str:
    """What a program answers; nothing where it is not installed, or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        answer = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=HELPER_LIMIT_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError, UnicodeDecodeError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
