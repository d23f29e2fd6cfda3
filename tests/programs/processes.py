"""Processes in every way that Python starts them: fork, spawn, vfork, pools, pipes, shared memory."""

import concurrent.futures
import mmap
import multiprocessing
import multiprocessing.shared_memory
import os
import signal
import subprocess
import sys
import threading

MIB = 1 << 20


def work(mib: int) -> int:
    block = bytearray(mib * MIB)
    block[:: 1 << 12] = b"x" * (mib * MIB >> 12)
    return sum(block) + len(bytes(block) * 2)


def send_back(connection) -> None:
    connection.send(connection.recv()[::-1])


def pools() -> None:
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, "pool", pool.map(work, range(1, 9)))
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            print(method, "executor", list(executor.map(work, range(8, 0, -1))))
        here, there = context.Pipe()
        process = context.Process(target=send_back, args=(there,))
        process.start()
        here.send(bytes(range(256)) * (16 << 10))
        print(method, "pipe", here.recv()[:3].hex())
        process.join()
        print(method, "exit code", process.exitcode)


def commands() -> None:
    block = bytearray(64 * MIB)
    for _ in range(3):
        try:
            subprocess.Popen(["/no/such/program"])
        except FileNotFoundError as error:
            print("vfork", error.strerror)
    for options in ({}, {"close_fds": False}, {"start_new_session": True}, {"preexec_fn": os.getpid}):
        code = "import sys; data = sys.stdin.buffer.read(); print(len(data), len(data * 3))"
        result = subprocess.run([sys.executable, "-c", code], input=block, capture_output=True, **options)
        print("command", result.stdout.decode().strip(), result.returncode)
    print("system", os.system("exit 3"), os.popen("echo from popen").read().strip())
    print("posix_spawn", os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], os.environ), 0)[1])


def forks_with_threads() -> None:
    """Forks while other threads allocate: a lock that the child inherits taken would hang it."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            bytearray(3 * MIB)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    statuses = set()
    for i in range(50):
        child = os.fork()
        if child == 0:
            os._exit(len(bytearray((i % 8 + 1) * MIB)) % 251)
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    print("children of a process with threads ended with", sorted(statuses))


def shared_memory() -> None:
    shared = multiprocessing.shared_memory.SharedMemory(create=True, size=8 * MIB)
    anonymous = mmap.mmap(-1, 8 * MIB)
    child = os.fork()
    if child == 0:
        shared.buf[:5] = b"child"
        anonymous[-5:] = b"child"
        os._exit(0)
    os.waitpid(child, 0)
    print("shared", bytes(shared.buf[:5]), anonymous[-5:])
    shared.close()
    shared.unlink()


def signals() -> None:
    seen = []
    print("default", signal.getsignal(signal.SIGUSR1))
    previous = signal.signal(signal.SIGUSR1, lambda *_: seen.append("ours"))
    os.kill(os.getpid(), signal.SIGUSR1)
    print("previous", previous, seen)
    print("restored", signal.signal(signal.SIGUSR1, previous) is not None, signal.getsignal(signal.SIGUSR1))
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGUSR1)
        os._exit(9)
    print("ignored", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    pools()
    commands()
    forks_with_threads()
    shared_memory()
    signals()
