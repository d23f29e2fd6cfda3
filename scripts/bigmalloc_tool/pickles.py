"""Writes values as a pickle of protocol 2, as they come: an iterator becomes a list without being one before.

Python's own pickler wants all of a value at once. What reads these pickles in a browser (torch/utils/viz/MemoryViz.js
of PyTorch, unpickle()) knows a few opcodes only; the ones below are among them, and no class is ever named. Opcodes
and their meaning: CPython, Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

PROTOCOL_2, STOP = b"\x80\x02", b"."
NONE, MARK = b"N", b"("
EMPTY_LIST, APPENDS, EMPTY_DICT, SETITEMS = b"]", b"e", b"}", b"u"
BININT1, BININT2, BININT, LONG1 = b"K", b"M", b"J", b"\x8a"
BINUNICODE = b"X"
LONG_BINPUT, LONG_BINGET = b"r", b"j"
BATCH = 1000  # items at a time, as Python's own: who reads needs room for so many only


class Shared(list):  # type: ignore[type-arg]
    """A list that occurs often, and is written once. It has to live as long as the writing lasts."""


class Pickler:
    def __init__(self, out: BinaryIO):
        self.out = out
        self.memo: dict[str | int, int] = {}  # texts, and the id() of shared lists: number

    def write(self, value: Any) -> None:
        self.out.write(PROTOCOL_2)
        self.put(value)
        self.out.write(STOP)

    def put(self, value: Any) -> None:
        if value is None:
            self.out.write(NONE)
        elif isinstance(value, int):
            self.out.write(integer(value))
        elif isinstance(value, str):
            self.once(value, lambda: self.out.write(text(value)))
        elif isinstance(value, dict):
            self.put_dict(value)
        elif isinstance(value, Shared):
            self.once(id(value), lambda: self.put_list(value))
        else:
            self.put_list(value)

    def once(self, key: str | int, put: Any) -> None:
        number = self.memo.get(key)
        if number is not None:
            self.out.write(LONG_BINGET + struct.pack("<I", number))
            return
        put()
        self.memo[key] = len(self.memo)
        self.out.write(LONG_BINPUT + struct.pack("<I", self.memo[key]))

    def put_dict(self, value: dict[str, Any]) -> None:
        self.out.write(EMPTY_DICT + MARK)
        for key, item in value.items():
            self.put(key)
            self.put(item)
        self.out.write(SETITEMS)

    def put_list(self, items: Iterable[Any]) -> None:
        self.out.write(EMPTY_LIST)
        for batch in batches(items):
            self.out.write(MARK)
            for item in batch:
                self.put(item)
            self.out.write(APPENDS)


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return BININT1 + bytes([value])
    if 0 <= value < 1 << 16:
        return BININT2 + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return BININT + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1  # with room for the sign
    return LONG1 + bytes([size]) + value.to_bytes(size, "little", signed=True)


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return BINUNICODE + struct.pack("<I", len(data)) + data
