"""A snapshot for pytorch.org/memory_viz, of the form of torch.cuda.memory._snapshot(): pools as devices.

    segments        what is live at the end, each block a segment of its own
    device_traces   for each device the requests: segment_alloc and alloc, free and segment_free

A segment of ours is a block in the program's hands: what lies idle is not among the requests, so it is not shown.
Each block is in a segment at all times, as the viewer, which plays the trace backwards from the segments at the end,
counts on that. Frees of blocks from before the trace have no size and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from bigmalloc_tool.history import Step, steps
from bigmalloc_tool.pickles import Pickler, Shared
from bigmalloc_tool.symbols import Frame, resolve, short
from bigmalloc_tool.trace import Event, Kind, Trace

Json = dict[str, Any]


def write(trace: Trace, out: BinaryIO) -> None:
    Pickler(out).write(Snapshot(trace).value())


class Snapshot:
    def __init__(self, trace: Trace):
        self.trace = trace
        self.pools = sorted(trace.pools)
        self.devices = {pool: device for device, pool in enumerate(self.pools)}
        frames = resolve({at for stack in trace.stacks.values() for at in stack}, trace.modules.values())
        self.stacks = {
            number: Shared(frame_value(frames[address]) for address in stack) for number, stack in trace.stacks.items()
        }
        self.no_stack = Shared()

    def value(self) -> Json:
        names = [self.trace.pools[pool].name for pool in self.pools]
        return {
            "segments": self.segments(),
            "device_traces": [self.entries(device) for device in range(len(self.pools))],
            "allocator_settings": {"name": "bigmalloc", "devices": ", ".join(names)},
        }

    def segments(self) -> Iterator[Json]:
        live: dict[int, Event] = {}
        for step in steps(self.trace.events()):
            if step.is_end:
                live.pop(step.address, None)
            elif step.event.kind != Kind.FAILED:
                live[step.address] = step.event
        for address, event in sorted(live.items()):
            yield self.segment(address, event)

    def segment(self, address: int, event: Event) -> Json:
        frames = self.stacks.get(event.stack, self.no_stack)
        block = {
            "size": event.bytes,
            "requested_size": event.bytes,
            "address": address,
            "state": "active_allocated",
            "frames": frames,
        }
        return {
            "device": self.devices.get(event.pool, 0),
            "address": address,
            "total_size": event.bytes,
            "allocated_size": event.bytes,
            "active_size": event.bytes,
            "requested_size": event.bytes,
            "stream": 0,
            "segment_type": "large",
            "frames": frames,
            "blocks": [block],
        }

    def entries(self, device: int) -> Iterator[Json]:
        live: dict[int, Event] = {}
        unknown = 0
        for step in steps(self.trace.events()):
            if step.event.kind == Kind.FAILED:
                yield from self.failure(device, step)
                continue
            begun = live.pop(step.address, None)
            unknown += step.is_end and begun is None
            if begun is not None and self.devices.get(begun.pool, 0) == device:
                yield from self.entry(step, begun, ("free_requested", "free_completed", "segment_free"))
            if not step.is_end:
                live[step.address] = step.event
                if self.devices.get(step.event.pool, 0) == device:
                    yield from self.entry(step, step.event, ("segment_alloc", "alloc"))
        if unknown:
            self.trace.note(f"{unknown} frees of blocks from before the trace are left out")

    def entry(self, step: Step, event: Event, actions: tuple[str, ...]) -> Iterator[Json]:
        for action in actions:
            yield {"action": action, "addr": step.address, **self.common(step, event)}

    def failure(self, device: int, step: Step) -> Iterator[Json]:
        if self.devices.get(step.event.pool, 0) == device:
            yield {"action": "oom", "device_free": 0, **self.common(step, step.event)}

    def common(self, step: Step, event: Event) -> Json:
        return {
            "size": event.bytes,
            "stream": 0,
            "frames": self.stacks.get(event.stack, self.no_stack),
            "time_us": int(self.trace.header.unix_us(step.time_ns // 1000)),
        }


def frame_value(frame: Frame) -> Json:
    where = frame.file or (f"{frame.module}+{frame.offset:#x}" if frame.module else f"{frame.address:#x}")
    return {"name": short(frame.function) or "??", "filename": where, "line": frame.line}
