"""A hundred threads that allocate, hand arrays to one another and free them."""

import queue
import threading

import numpy as np

THREADS = 100
ROUNDS = 8


def work(me: int, inbox: queue.Queue, outbox: queue.Queue, sums: list[int]) -> None:
    rng = np.random.default_rng(me)
    for round_ in range(ROUNDS):
        values = np.zeros(int(rng.integers(100_000, 600_000)), np.int64)
        values += me * ROUNDS + round_
        outbox.put(values)
        received = inbox.get()
        expected = received[0]
        assert (received == expected).all(), "another thread wrote into an array that is in use"
        sums[me] += int(expected) + int((received * 2).max())


def main() -> None:
    boxes = [queue.Queue() for _ in range(THREADS)]
    sums = [0] * THREADS
    threads = [
        threading.Thread(target=work, args=(me, boxes[me], boxes[(me + 1) % THREADS], sums))
        for me in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(sums), sums[:5])


if __name__ == "__main__":
    main()
