"""The only place with device streams, events, pinned memory and graphs.

A lane carries batches to a device, through one function, and back::

    host rows → pinned buffer ═copy-in═> device batch ─compute→ outputs ═copy-out═> pinned buffer

Each ``═`` and ``─`` is a stream of its own, ordered by events, so that copying and computing of
neighbouring batches overlap and nobody ever waits for the whole device. On a CPU the same lines
run: there streams and events do nothing and the work is done when it is submitted. Apple's GPUs
have one queue, in which everything follows in order, and events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

Compute = Callable[[Tensor], tuple[Tensor, ...]]
"""Takes a batch and returns tensors that have a row for each of its rows."""


class _Queue:
    """The only stream of a device: whatever it is to wait for was put into it before."""

    def wait_event(self, event: object) -> None:
        """Do nothing."""

    def wait_stream(self, stream: object) -> None:
        """Do nothing."""


class _BareEvent(Protocol):
    """An event that belongs to no stream."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class _BareModule(Protocol):
    """A device module that knows no streams."""

    def Event(self) -> _BareEvent: ...  # noqa: N802 - the name in device modules

    def empty_cache(self) -> None: ...


class _QueueEvent:
    """An event of a device that has one queue."""

    def __init__(self, event: _BareEvent) -> None:
        self._event = event

    def record(self, stream: _Queue) -> None:
        self._event.record()

    def synchronize(self) -> None:
        self._event.synchronize()


class OneQueue:
    """Gives a device module without streams (``torch.mps``) what the lane asks of one.

    Args:
        module: Has ``Event`` and ``empty_cache``.
    """

    def __init__(self, module: _BareModule) -> None:
        self._module = module
        self.empty_cache = module.empty_cache

    def Stream(self, device: torch.device) -> _Queue:  # noqa: N802
        """Return the queue."""
        return _Queue()

    def Event(self) -> _QueueEvent:  # noqa: N802
        """Make an event."""
        return _QueueEvent(self._module.Event())

    def stream(self, stream: _Queue) -> AbstractContextManager[None]:
        """Do nothing: there is no other."""
        return nullcontext()

    def current_stream(self, device: torch.device) -> _Queue:
        """Return the queue."""
        return _Queue()


def _device_module(device: torch.device) -> object:
    module: Any = torch.get_device_module(device)
    return module if hasattr(module, "Stream") else OneQueue(module)


class _Slot:
    """The buffers of one batch under way, and the events that say how far it is.

    It keeps every tensor of the batch until the batch is back, so that no memory is handed out
    again while a stream still uses it.
    """

    def __init__(self, lane: TransferLane) -> None:
        self.host_rows = torch.empty(lane.shape, dtype=lane.dtype, pin_memory=lane.is_pinned)
        with lane.module.stream(lane.copy_in):
            self.device_rows = torch.zeros(lane.shape, dtype=lane.dtype, device=lane.device)
        self.uploaded, self.computed, self.done = (lane.new_event() for _ in range(3))
        self.outputs: tuple[Tensor, ...] = ()
        self.host_outputs: tuple[Tensor, ...] = ()


class PendingRows:
    """Rows under way; :meth:`result` waits for them and for nothing else."""

    def __init__(self, lane: TransferLane, slot: _Slot, num_rows: int) -> None:
        self._lane = lane
        self._slot: _Slot | None = slot
        self._num_rows = num_rows
        self._result: tuple[npt.NDArray[Any], ...] = ()

    def result(self) -> tuple[npt.NDArray[Any], ...]:
        """Return each output's rows, in the order in which the rows were submitted."""
        if self._slot is not None:
            self._slot.done.synchronize()
            hosts = self._slot.host_outputs
            self._result = tuple(host[: self._num_rows].numpy().copy() for host in hosts)
            self._lane.give_back(self._slot)
            self._slot = None
        return self._result


class TransferLane:
    """Runs one function on batches of rows, on a device, without ever blocking on it.

    Args:
        device: Where to compute.
        compute: What to compute; called with the whole batch, also when fewer rows were submitted
            (the others hold old rows): every batch has one shape, so that results do not depend on
            how many rows came together, and one graph serves all.
        shape: Shape of a batch; the first number is the most rows one submission may have.
        dtype: Of the rows.
        use_graph: Record the computation in ``prepare`` and replay it, where the device can (CUDA
            graphs).
        module: Stands in for ``torch.get_device_module(device)``; for tests.
    """

    def __init__(
        self,
        device: torch.device,
        compute: Compute,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.uint8,
        use_graph: bool = True,
        module: object | None = None,
    ) -> None:
        self.device = device
        self.shape = tuple(shape)
        self.dtype = dtype
        device_module: Any = _device_module(device) if module is None else module
        self.module = device_module
        self.is_pinned = device.type == "cuda"
        # a wait for a blocking event sleeps, for another it spins on a core that others need
        event = device_module.Event
        self.new_event = partial(event, blocking=True) if self.is_pinned else event
        self.copy_in, self._compute_on, self._copy_out = (
            device_module.Stream(device) for _ in range(3)
        )
        # weights may still be on their way on the stream that is current now
        self._compute_on.wait_stream(device_module.current_stream(device))
        self._compute = compute
        self._use_graph = use_graph and hasattr(self.module, "CUDAGraph")
        self._replay: Compute | None = None
        self._free: list[_Slot] = []

    @torch.inference_mode()
    def prepare(self) -> None:
        """Do what is done once: compile, choose algorithms, record the graph.

        To be called before other threads work with the device; without it the first batch takes
        longer, and no graph is used.

        Raises:
            torch.OutOfMemoryError: The device has no room for a batch.
        """
        slot = self._free.pop() if self._free else _Slot(self)
        if self._use_graph:
            self._replay = self._record_graph(slot.device_rows)
        else:
            self._rehearse(slot.device_rows, 1)
        self._free.append(slot)

    @torch.inference_mode()
    def submit(self, rows: Sequence[npt.NDArray[Any]]) -> PendingRows:
        """Send up to ``shape[0]`` rows on their way and return at once.

        Raises:
            ValueError: No row, or more than a batch holds.
            torch.OutOfMemoryError: The device has no room for a batch.
        """
        if not 1 <= len(rows) <= self.shape[0]:
            raise ValueError(f"{len(rows)} rows for a lane of 1 to {self.shape[0]}")
        slot = self._free.pop() if self._free else _Slot(self)
        host = slot.host_rows.numpy()
        for i, row in enumerate(rows):
            host[i] = row
        n = len(rows)
        with self.module.stream(self.copy_in):
            slot.device_rows[:n].copy_(slot.host_rows[:n], non_blocking=True)
            slot.uploaded.record(self.copy_in)
        self._compute_on.wait_event(slot.uploaded)
        with self.module.stream(self._compute_on):
            slot.outputs = (self._replay or self._compute)(slot.device_rows)
            slot.computed.record(self._compute_on)
        self._copy_out.wait_event(slot.computed)
        if not slot.host_outputs:
            slot.host_outputs = tuple(
                torch.empty(out.shape, dtype=out.dtype, pin_memory=self.is_pinned)
                for out in slot.outputs
            )
        with self.module.stream(self._copy_out):
            for host_output, output in zip(slot.host_outputs, slot.outputs, strict=True):
                host_output[:n].copy_(output[:n], non_blocking=True)
            slot.done.record(self._copy_out)
        return PendingRows(self, slot, n)

    def give_back(self, slot: _Slot) -> None:
        """Take back the buffers of a batch whose last event has passed."""
        slot.outputs = ()
        self._free.append(slot)

    def close(self) -> None:
        """Wait for this lane's computations and free its memory on the device."""
        last = self.new_event()
        last.record(self._compute_on)
        last.synchronize()
        self._replay = None
        self._free.clear()
        if hasattr(self.module, "empty_cache"):
            self.module.empty_cache()

    def _record_graph(self, example: Tensor) -> Compute:
        """Record the computation, and return a function that replays it on other batches.

        The graph reads and writes fixed memory: batches are copied in and results copied out on
        the stream of the computation, so one replay cannot overtake the one before.
        """
        fixed_input = torch.zeros_like(example)
        self._rehearse(fixed_input, 2)  # libraries allocate and choose algorithms beforehand
        graph = self.module.CUDAGraph()
        # thread_local: other threads may go on using the device meanwhile
        with self.module.graph(graph, stream=self._compute_on, capture_error_mode="thread_local"):
            fixed_outputs = self._compute(fixed_input)

        def replay(batch: Tensor) -> tuple[Tensor, ...]:
            fixed_input.copy_(batch)
            graph.replay()
            return tuple(output.clone() for output in fixed_outputs)

        return replay

    def _rehearse(self, batch: Tensor, times: int) -> None:
        """Compute on rows of zeros, for nothing."""
        streams = (self.module.current_stream(self.device), self.copy_in)
        for stream in streams:  # where the batch was made
            self._compute_on.wait_stream(stream)
        with self.module.stream(self._compute_on):
            for _ in range(times):
                self._compute(batch)
