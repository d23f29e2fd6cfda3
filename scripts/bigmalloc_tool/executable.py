"""As much of an executable file as tells whether something can be preloaded into it.

System V ABI, chapters 4 and 5: 32 and 64 bits, either byte order. All offsets are checked by reading what is there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

PT_INTERP = 3
MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv", 21: "ppc64", 22: "s390x"}
FIRST_BYTES = 1 << 16  # the headers of a segment, and a first line, lie there


@dataclass
class Executable:
    machine: str  # with its bits, so that two that can be loaded together have the same
    interpreter: str  # "" where it is linked statically


def script_interpreter(path: Path) -> list[str] | None:
    """The words behind "#!" on the first line; None: no script."""
    with path.open("rb") as file:
        first = file.read(512)
    if not first.startswith(b"#!"):
        return None
    return first[2:].split(b"\n", 1)[0].decode("utf-8", "replace").split(None, 1)


def read(path: Path) -> Executable | None:
    """None where it is no ELF file, or a damaged one."""
    with path.open("rb") as file:
        data = file.read(FIRST_BYTES)
    if data[:4] != b"\x7fELF" or len(data) < 64:
        return None
    is_64, order = data[4] == 2, "<" if data[5] == 1 else ">"
    try:
        return parsed(data, is_64, order)
    except (struct.error, OverflowError):  # an offset behind the end, or behind what Python indexes
        return None


def parsed(data: bytes, is_64: bool, order: str) -> Executable:
    machine = struct.unpack_from(f"{order}H", data, 18)[0]
    offset = struct.unpack_from(f"{order}{'Q' if is_64 else 'I'}", data, 32 if is_64 else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", data, 54 if is_64 else 42)
    interpreter = ""
    for place in range(offset, offset + size * count, size or 1):
        kind = struct.unpack_from(f"{order}I", data, place)[0]
        if kind == PT_INTERP:
            interpreter = segment_text(data, place, is_64, order)
    return Executable(f"{MACHINES.get(machine, f'machine {machine}')}, {64 if is_64 else 32} bits", interpreter)


def segment_text(data: bytes, place: int, is_64: bool, order: str) -> str:
    number, places = ("Q", (8, 32)) if is_64 else ("I", (4, 16))  # p_offset, p_filesz
    start, length = (struct.unpack_from(order + number, data, place + at)[0] for at in places)
    return data[start : start + length].rstrip(b"\0").decode("utf-8", "replace")
