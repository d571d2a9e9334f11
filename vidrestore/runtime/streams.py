"""The only place with device streams, events, pinned memory and graphs.

A lane carries batches to a device, through one function, and back::

    host rows → pinned buffer ═copy-in═> device batch ─compute→ outputs ═copy-out═> pinned buffer

Each ``═`` and ``─`` is a stream of its own, ordered by events, so that copying and computing of
neighbouring batches overlap and nobody ever waits for the whole device. On a CPU the same lines
run: there streams and events do nothing and the work is done when it is submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

Compute = Callable[[Tensor], tuple[Tensor, ...]]
"""Takes a batch and returns tensors that have a row for each of its rows."""


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
        use_graph: Record the computation once and replay it, where the device can (CUDA graphs).
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
        device_module: Any = torch.get_device_module(device) if module is None else module
        self.module = device_module
        self.is_pinned = device.type != "cpu"
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
        if self._use_graph and self._replay is None:
            self._replay = self._record_graph(slot.device_rows)
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
        self._compute_on.wait_stream(self.module.current_stream(self.device))
        with self.module.stream(self._compute_on):
            for _ in range(2):  # libraries allocate and choose algorithms before they are recorded
                self._compute(fixed_input)
        graph = self.module.CUDAGraph()
        # thread_local: other threads may go on using the device meanwhile
        with self.module.graph(graph, stream=self._compute_on, capture_error_mode="thread_local"):
            fixed_outputs = self._compute(fixed_input)

        def replay(batch: Tensor) -> tuple[Tensor, ...]:
            fixed_input.copy_(batch)
            graph.replay()
            return tuple(output.clone() for output in fixed_outputs)

        return replay
