"""Python's own large objects: bytes, lists, dicts, compression, pickles, a database in memory."""

import array
import gc
import hashlib
import io
import json
import pickle
import sqlite3
import zlib

MIB = 1 << 20


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def growing_bytes() -> None:
    data = bytearray()
    for i in range(300):
        data += bytes([i % 256]) * (MIB // 4)
    print("bytearray", len(data), digest(data))
    del data[MIB : 60 * MIB]
    data[5:5] = b"in the middle"
    print("shrunk", len(data), digest(data))
    stream = io.BytesIO()
    for i in range(200):
        stream.write(str(i).encode() * 50_000)
    print("stream", digest(stream.getbuffer()))
    text = "".join(str(i) for i in range(2_000_000))
    print("text", len(text.replace("1", "one")), digest(text.encode("utf-16")))


def containers() -> None:
    numbers = list(range(3_000_000))
    numbers.extend(reversed(range(3_000_000)))
    print("list", sum(numbers[::7]), len(sorted(numbers)))
    table = {str(i): i for i in range(1_000_000)}
    for i in range(0, 1_000_000, 2):
        del table[str(i)]
    print("dict", len(table), len(set(table.values()) & set(range(0, 500_000))))
    doubles = array.array("d", range(1_000_000)) * 4
    doubles.extend(doubles)
    print("array", len(doubles), doubles[-1])
    print("integer", digest(pow(3, 3_000_000).to_bytes(600_000, "little")))


def round_trips() -> None:
    table = {str(i): [i, float(i), "x" * (i % 50)] for i in range(200_000)}
    for protocol in (0, 2, 5):
        packed = pickle.dumps(table, protocol)
        print("pickle", protocol, len(packed), pickle.loads(packed) == table)
    written = json.dumps(table)
    print("json", digest(written.encode()), json.loads(written) == table)
    packed = zlib.compress(written.encode() * 4, 1)
    print("zlib", len(packed), zlib.decompress(packed) == written.encode() * 4)


def database() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (k integer primary key, v text)")
    connection.executemany("insert into t values (?, ?)", ((i, "v" * (i % 200)) for i in range(200_000)))
    print("sqlite", connection.execute("select count(*), sum(length(v)) from t where v > 'vv'").fetchone())
    connection.execute("create index i on t (v, k)")
    print("sqlite", connection.execute("select k from t order by v desc, k desc limit 3").fetchall())


def memory_errors() -> None:
    for size in (1 << 46, 1 << 62):
        try:
            bytearray(size)
        except MemoryError:
            print("MemoryError")
    print("after that", len(bytearray(MIB)))


if __name__ == "__main__":
    growing_bytes()
    containers()
    round_trips()
    database()
    memory_errors()
    print("unreachable", gc.collect() >= 0)
