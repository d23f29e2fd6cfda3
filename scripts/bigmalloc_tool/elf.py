"""As much of ELF as names for addresses take: segments, function symbols, the build ID.

    with elf.opened(path) as file:     # raises NotElf for whatever is none, and for damaged ones
        file.build_id()
        file.address(file_offset)      # as the symbols count
        file.functions()               # [(address, size, name)] by address

System V ABI, chapters 4 and 5; 64 bits, little-endian. The files are those of a machine that may have changed
since the trace was written, and the trace may lie about their names: all lengths are checked.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

IDENTITY = b"\x7fELF\x02\x01"  # 64 bits, little-endian
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
NOTE = struct.Struct("<III")
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_FUNC, STT_GNU_IFUNC = 2, 10
NT_GNU_BUILD_ID = 3
MOST_BYTES = 1 << 30  # of a table
MOST_OFFSET = 1 << 62  # what can be asked for without an error
MOST_NOTE_BYTES = 1 << 16


class NotElf(Exception):
    pass


class Segment(NamedTuple):
    type: int
    flags: int
    offset: int
    address: int
    physical: int
    bytes: int
    memory: int
    align: int


class Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    bytes: int
    link: int
    info: int
    align: int
    entry: int


class Function(NamedTuple):
    address: int
    size: int  # 0: up to the next one
    name: str


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Elf]:
    try:
        # A FIFO would wait for a writer, and a device may do anything.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotElf("not a regular file")
            yield Elf(file)
    except OSError as error:
        raise NotElf(str(error)) from error


class Elf:
    def __init__(self, file: BinaryIO):
        self.file = file
        head = self.read(0, HEADER.size)
        if not head.startswith(IDENTITY):
            raise NotElf("no 64-bit ELF file")
        _, _, _, _, segments, sections, _, _, size, count, section_size, section_count, names = HEADER.unpack(head)
        if size != SEGMENT.size or section_count and section_size != SECTION.size:
            raise NotElf("a table of strange rows")
        self.segments = [Segment(*row) for row in SEGMENT.iter_unpack(self.read(segments, size * count))]
        rows = SECTION.iter_unpack(self.read(sections, section_size * section_count))
        self.sections = [Section(*row) for row in rows]
        self.names = names

    def read(self, offset: int, size: int) -> bytes:
        if size > MOST_BYTES or offset > MOST_OFFSET:
            raise NotElf("a table is too large, or too far away")
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) < size:
            raise NotElf("truncated")
        return data

    def address(self, offset: int) -> int | None:
        for segment in self.segments:
            if segment.type == PT_LOAD and segment.offset <= offset < segment.offset + segment.bytes:
                return offset - segment.offset + segment.address
        return None

    def build_id(self) -> str:
        for segment in self.segments:
            if segment.type == PT_NOTE and segment.bytes <= MOST_NOTE_BYTES:
                found = build_id_in(self.read(segment.offset, segment.bytes))
                if found:
                    return found
        return ""

    def has_lines(self) -> bool:
        if self.names >= len(self.sections):
            return False
        names = self.contents(self.sections[self.names])
        return any(text_at(names, section.name) == ".debug_line" for section in self.sections)

    def functions(self) -> list[Function]:
        """Of all symbols where there are any, else of those for the dynamic linker."""
        for type_ in (SHT_SYMTAB, SHT_DYNSYM):
            found = [
                function for table in self.sections if table.type == type_ for function in self.functions_in(table)
            ]
            if found:
                return sorted(found)
        return []

    def functions_in(self, table: Section) -> Iterator[Function]:
        if table.link >= len(self.sections):
            raise NotElf("a table of symbols without names")
        names = self.contents(self.sections[table.link])
        symbols = self.contents(table)
        for name, info, _, section, address, size in SYMBOL.iter_unpack(symbols[: len(symbols) // 24 * 24]):
            if section and info & 0xF in (STT_FUNC, STT_GNU_IFUNC):
                yield Function(address, size, text_at(names, name))

    def contents(self, section: Section) -> bytes:
        return self.read(section.offset, section.bytes)


def text_at(texts: bytes, at: int) -> str:
    end = texts.find(0, at)
    return texts[at:end].decode("utf-8", "replace") if end >= 0 else ""


def build_id_in(notes: bytes) -> str:
    at = 0
    while at + NOTE.size <= len(notes):
        name_bytes, bytes_, type_ = NOTE.unpack_from(notes, at)
        name = at + NOTE.size
        data = name + (name_bytes + 3) // 4 * 4
        if type_ == NT_GNU_BUILD_ID and notes[name : name + 4] == b"GNU\0":
            return notes[data : data + bytes_].hex()
        at = data + (bytes_ + 3) // 4 * 4
    return ""
