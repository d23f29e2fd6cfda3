"""figures.py - the tests that measure: the driver's own times beside the pools'."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from machine import Failed, Machine, Settings, figures_of

HERE = Path(__file__).resolve().parent
TORCH = str(HERE / "torch_programs.py")

DECAY_MS = 1000
MIB_KEPT_AT_MOST = 64
SHARE_KEPT_AT_MOST = 0.02
SLOWER_AT_MOST = 1.01

DEFAULT: Settings = {}
QUARANTINE = {"BIGMALLOC_DEVICE_FREE": "quarantine"}
SMALL_TOO = {"BIGMALLOC_DEVICE_THRESHOLD": "4k"}
NO_CACHE = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
WAYS: dict[str, Settings | None] = {
    "bare": None,
    "preloaded": DEFAULT,
    "quarantine": QUARANTINE,
    "from 4k": SMALL_TOO,
}


def in_all_ways(machine: Machine, question: str, ways: dict[str, Settings | None]) -> dict[str, dict[str, str]]:
    """The answers to a question by way and name."""
    return {way: machine.probe(question, settings is not None, settings) for way, settings in ways.items()}


def tell_answers(machine: Machine, title: str, answers: dict[str, dict[str, str]]) -> None:
    """As a table with a column for each way."""
    for name in answers["bare"]:
        machine.results.tell(title, ["", *answers], [name, *(of.get(name, "-") for of in answers.values())])


# ---- what the driver does ----


def facts(machine: Machine) -> None:
    """The answers decide what the library may do; none of them is wrong."""
    facts = machine.probe("facts", False)
    for name, value in facts.items():
        machine.results.tell("facts of the driver", ["", ""], [name, value])
    if facts.get("kernels") != "1":
        raise Failed("the driver compiles no kernels: nothing is known of what a free waits for")


def waits_less(bare: dict[str, str], ours: dict[str, str]) -> list[str]:
    """For what the driver's free waits, and ours does not."""
    return [name for name, answer in bare.items() if answer == "1" and ours[name] != "1"]


def waiting(machine: Machine) -> None:
    """A free waits at least for what the driver's waits for."""
    answers = in_all_ways(machine, "waiting", {"bare": None, "preloaded": DEFAULT})
    tell_answers(machine, "1: a free waits for work of", answers)
    if less := waits_less(answers["bare"], answers["preloaded"]):
        raise Failed(f"it does not wait: {', '.join(less)}")


# ---- latency ----


def too_slow(bare: dict[str, str], ours: dict[str, str], names: str, times: float) -> list[str]:
    """Which of those figures are not so many times as small as the driver's."""
    return [
        f"{name}: {bare[name]} bare, {ours[name]} preloaded"
        for name in bare
        if re.fullmatch(names, name) and float(ours[name]) * times > float(bare[name])
    ]


def tell_pairs(machine: Machine, title: str, answers: dict[str, dict[str, str]]) -> None:
    """Allocation and free of a size and a state in one cell."""
    for name in answers["bare"]:
        if pair := re.fullmatch(r"pair_us_(\d+)kib_(\w+)", name):
            size, state = pair.groups()
            cells = [" + ".join(of[f"{call}_us_{size}kib_{state}"] for call in ("allocation", "free")) for of in answers.values()]
            machine.results.tell(title, ["KiB", *answers], [f"{size}, {state}", *cells])


Tell = Callable[[Machine, str, dict[str, dict[str, str]]], None]


def faster(question: str, names: str, times: float, ways: dict[str, Settings | None], tell: Tell) -> Callable[[Machine], None]:
    """Hits take a part of what the driver takes."""

    def test(machine: Machine) -> None:
        answers = in_all_ways(machine, question, ways)
        tell(machine, f"{question}, us", answers)
        if slow := too_slow(answers["bare"], answers["preloaded"], names, times):
            raise Failed(f"less than {times:g} times as fast:\n" + "\n".join(slow))

    return test


latency = faster("latency", r"pair_us_(1024|[2-9]\d{3}|\d{5,})kib_hit", 20, WAYS, tell_pairs)
pinned_latency = faster("pinned", r"pinned_pair_us_65536kib", 500, {"bare": None, "preloaded": DEFAULT}, tell_answers)


# ---- memory that goes back ----


def free_after(machine: Machine, command: list[str], preloaded: bool) -> tuple[int, int]:
    """MiB that others see free while a program holds memory, and after it has freed it and the decay time has passed."""
    with machine.talking(command, preloaded, {"BIGMALLOC_DECAY_MS": str(DECAY_MS)}) as program:
        program.hear("taken")
        held = machine.free_mib()
        program.say("go on")
        program.hear("given")
        time.sleep(3 * DECAY_MS / 1000)
        after = machine.free_mib()
        program.say("end")
    return held, after


def goes_back(machine: Machine, name: str, command: list[str], kept_at_most: Callable[[int], float]) -> None:
    """As much as without the library, but for what may be kept."""
    held, bare = free_after(machine, command, False)
    _, ours = free_after(machine, command, True)
    columns = ["", "while it is held", "freed, bare", "freed, preloaded"]
    machine.results.tell("MiB of the device that others see free", columns, [name, str(held), str(bare), str(ours)])
    if ours + kept_at_most(bare) < bare:
        raise Failed(f"{bare} MiB are free bare, {ours} preloaded")


def program_gives_back(machine: Machine) -> None:
    """A C program frees a GiB."""
    goes_back(machine, "a GiB of a C program", [machine.program("probe"), "give_back"], lambda bare: MIB_KEPT_AT_MOST)


def torch_gives_back(machine: Machine) -> None:
    """PyTorch empties its cache."""
    command = [machine.python, TORCH, "empty_cache"]
    goes_back(machine, "empty_cache of PyTorch", command, lambda bare: bare * SHARE_KEPT_AT_MOST)


# ---- PyTorch's time ----


def torch_figures(machine: Machine, name: str, settings: Settings | None, more: Settings) -> dict[str, float]:
    """Those that a program of PyTorch's prints."""
    command = [machine.python, TORCH, name]
    return figures_of(machine.run(command, settings is not None, {**(settings or {}), **more}))


def torch_speed(machine: Machine) -> None:
    """With its own cache PyTorch is no slower than bare. Rounds of both, one after the other; the best of each counts."""
    times: dict[str, list[float]] = {"bare": [], "preloaded": []}
    for _ in range(machine.rounds):
        for way, settings in (("bare", None), ("preloaded", DEFAULT)):
            figures = torch_figures(machine, "speed", settings, {})
            times[way].append(figures["step_ms"])
    for way, of_way in times.items():
        tell_steps(machine, f"its cache, {way}", of_way)
    if min(times["preloaded"]) > SLOWER_AT_MOST * min(times["bare"]):
        raise Failed(f"ms a step: {times}")


def tell_steps(machine: Machine, name: str, times: list[float]) -> None:
    """The times of a step in some runs."""
    row = [name, f"{min(times):.4f}", f"{statistics.median(times):.4f}", f"{max(times):.4f}", str(len(times))]
    machine.results.tell("ms of a training step of PyTorch", ["", "least", "median", "most", "runs"], row)


def torch_steps_without_cache(machine: Machine) -> None:
    """How long a step takes then, for the record."""
    for way, settings in WAYS.items():
        figures = torch_figures(machine, "speed", settings, NO_CACHE)
        tell_steps(machine, f"no cache, {way}", [figures["step_ms"]])


def torch_time_inside(machine: Machine) -> None:
    """Without its cache, the time inside allocations and frees falls to a tenth. The work that a free waits for is not in it."""
    allocator = machine.program("timed_allocator.so")
    columns = ["", "calls", "us each", "small calls", "us each", "ms of waiting"]
    us: dict[str, float] = {}
    for way, settings in WAYS.items():
        figures = torch_figures(machine, "timed", settings, {"TIMED_ALLOCATOR": allocator})
        if not figures["calls"]:
            raise Failed("PyTorch did not call the allocator that it was given")
        us[way] = figures["ns"] / figures["calls"] / 1e3
        small = figures["small_ns"] / max(1, figures["small_calls"]) / 1e3
        row = [way, f"{figures['calls']:.0f}", f"{us[way]:.2f}", f"{figures['small_calls']:.0f}", f"{small:.2f}"]
        machine.results.tell("time inside allocations and frees of PyTorch without a cache", columns, [*row, f"{figures['wait_ns'] / 1e6:.1f}"])
    if 10 * us["preloaded"] > us["bare"]:
        raise Failed(f"us for a call: {us}")


def need_torch(test: Callable[[Machine], None]) -> Callable[[Machine], None]:
    """Skips where there is none."""

    def wrapped(machine: Machine) -> None:
        machine.need_module("torch")
        test(machine)

    return wrapped
