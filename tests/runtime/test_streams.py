"""The lane's order of work, seen through a device that writes down all it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vidrestore.runtime.streams import OneQueue, TransferLane

CPU = torch.device("cpu")
SHAPE = (2, 4, 4, 3)


@dataclass
class FakeStream:
    device: FakeDevice
    name: str

    def wait_event(self, event: FakeEvent) -> None:
        self.device.log.append(("wait", self.name, event.number))

    def wait_stream(self, other: FakeStream) -> None:
        self.device.log.append(("wait_stream", self.name, other.name))


@dataclass
class FakeEvent:
    device: FakeDevice
    number: int

    def record(self, stream: FakeStream) -> None:
        self.device.log.append(("record", stream.name, self.number))

    def synchronize(self) -> None:
        self.device.log.append(("await", "host", self.number))


@dataclass
class FakeDevice:
    """What the lane uses of ``torch.cuda``: everything happens at once and is written down."""

    log: list[tuple[str, str, object]] = field(default_factory=list)
    current: str = "default"
    num_streams: int = 0
    num_events: int = 0

    def Stream(self, device: torch.device) -> FakeStream:  # noqa: N802
        self.num_streams += 1
        return FakeStream(self, ("copy_in", "compute", "copy_out")[self.num_streams - 1])

    def Event(self) -> FakeEvent:  # noqa: N802
        self.num_events += 1
        return FakeEvent(self, self.num_events)

    def current_stream(self, device: torch.device) -> FakeStream:
        return FakeStream(self, self.current)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def synchronize(self, device: object = None) -> None:
        raise AssertionError("the lane waited for the whole device")

    def did(self, *words: object) -> int:
        """Return when something was written down; it must have been, and once."""
        found = [i for i, entry in enumerate(self.log) if entry[: len(words)] == words]
        assert len(found) == 1, (words, self.log)
        return found[0]


class CopyLog(TorchDispatchMode):
    """Writes down on which stream tensors are copied."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.copy_.default:
            kind = str(args[0].dtype).removeprefix("torch.")
            self.device.log.append(("copy", self.device.current, kind))
        return func(*args, **(kwargs or {}))


class FakeGraph:
    redo: Callable[[], None]
    num_replays = 0

    def replay(self) -> None:
        FakeGraph.num_replays += 1
        self.redo()


@dataclass
class FakeGraphDevice(FakeDevice):
    """A device that has graphs: what runs under ``graph`` is recorded, ``replay`` runs it again."""

    CUDAGraph = FakeGraph
    is_recording: bool = False
    graphs: list[FakeGraph] = field(default_factory=list)

    @contextmanager
    def graph(
        self, graph: FakeGraph, stream: FakeStream, capture_error_mode: str
    ) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.graphs.append(graph)
        self.is_recording = True
        with self.stream(stream):
            yield
        self.is_recording = False


def rows(*values: int) -> list[np.ndarray]:
    return [np.full(SHAPE[1:], value, np.uint8) for value in values]


def lane_with(device: FakeDevice, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> TransferLane:
    return TransferLane(CPU, compute, SHAPE, module=device)


def logged_double(device: FakeDevice) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        device.log.append(("compute", device.current, int(batch[0, 0, 0, 0])))
        return batch * 2, batch.amax(dim=(1, 2, 3)).float()

    return compute


def test_rows_come_back_in_order_with_every_output() -> None:
    lane = TransferLane(CPU, lambda batch: (batch * 2, batch.amax(dim=(1, 2, 3)).float()), SHAPE)
    doubled, largest = lane.submit(rows(3, 5)).result()
    assert doubled.dtype == np.uint8
    assert doubled.shape == SHAPE
    assert (doubled[0] == 6).all()
    assert (doubled[1] == 10).all()
    assert largest.tolist() == [3.0, 5.0]
    lane.close()


def test_fewer_rows_than_a_batch_come_back_alone_though_the_whole_batch_is_computed() -> None:
    shapes = []

    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        shapes.append(tuple(batch.shape))
        return (batch + 1,)

    lane = TransferLane(CPU, compute, SHAPE)
    (first,) = lane.submit(rows(1, 2)).result()
    (second,) = lane.submit(rows(7)).result()
    assert shapes == [SHAPE, SHAPE]
    assert len(first) == 2
    assert len(second) == 1
    assert (second[0] == 8).all()


def test_each_step_waits_for_the_one_before_and_for_nothing_else() -> None:
    device = FakeDevice()
    lane = lane_with(device, logged_double(device))
    with CopyLog(device):
        lane.submit(rows(4)).result()
    uploaded, computed, done = 1, 2, 3
    steps = [
        device.did("wait_stream", "compute", "default"),
        device.did("copy", "copy_in"),
        device.did("record", "copy_in", uploaded),
        device.did("wait", "compute", uploaded),
        device.did("compute", "compute", 4),
        device.did("record", "compute", computed),
        device.did("wait", "copy_out", computed),
        device.did("copy", "copy_out", "uint8"),
        device.did("copy", "copy_out", "float32"),
        device.did("record", "copy_out", done),
        device.did("await", "host", done),
    ]
    assert steps == sorted(steps)
    assert len(device.log) == len(steps)


def test_a_batch_is_sent_before_the_one_before_is_awaited() -> None:
    device = FakeDevice()
    lane = lane_with(device, logged_double(device))
    pending = [lane.submit(rows(1)), lane.submit(rows(2))]
    assert not [entry for entry in device.log if entry[0] == "await"]
    values = [int(p.result()[0][0, 0, 0, 0]) for p in pending]
    assert values == [2, 4]
    assert device.did("compute", "compute", 2) < device.did("await", "host", 3)


def test_buffers_are_used_again_only_after_their_last_event() -> None:
    device = FakeDevice()
    batches: list[int] = []

    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        batches.append(batch.data_ptr())
        return (batch.clone(),)

    lane = lane_with(device, compute)
    first = lane.submit(rows(1))
    second = lane.submit(rows(2))
    assert batches[0] != batches[1]
    first.result()
    third = lane.submit(rows(3))
    assert batches[2] == batches[0], "a finished batch's buffers are taken first"
    assert device.num_events == 6, "two sets of buffers do for two batches under way"
    assert (second.result()[0] == 2).all()
    assert (third.result()[0] == 3).all()


def test_a_result_stays_what_it_was_when_its_buffers_are_used_again() -> None:
    lane = TransferLane(CPU, lambda batch: (batch.clone(),), SHAPE)
    pending = lane.submit(rows(1))
    (kept,) = pending.result()
    lane.submit(rows(9)).result()
    assert (kept == 1).all()
    assert pending.result()[0] is kept


def test_outputs_are_held_until_they_have_arrived() -> None:
    made: list[Tensor] = []

    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        made.append(batch.clone())
        return (made[-1],)

    lane = TransferLane(CPU, compute, SHAPE)
    pending = lane.submit(rows(1))
    slot = pending._slot
    assert slot is not None
    assert slot.outputs[0] is made[0]
    pending.result()
    assert slot.outputs == ()


def test_a_graph_is_recorded_once_and_replayed_for_every_batch() -> None:
    device = FakeGraphDevice()
    eager_calls: list[str] = []

    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        output = torch.zeros_like(batch)

        def run() -> None:
            torch.add(batch, 1, out=output)

        run()
        eager_calls.append("recorded" if device.is_recording else "warm-up")
        if device.is_recording:
            device.graphs[-1].redo = run
        return (output,)

    FakeGraph.num_replays = 0
    lane = lane_with(device, compute)
    lane.prepare()
    assert eager_calls == ["warm-up", "warm-up", "recorded"], "before the first batch"
    results = [lane.submit(rows(v)) for v in (1, 5, 9)]
    outputs = {r._slot.outputs[0].data_ptr() for r in results if r._slot is not None}
    assert len(outputs) == 3, "the graph's own memory is written again by the next batch"
    assert [int(r.result()[0][0, 0, 0, 0]) for r in results] == [2, 6, 10]
    assert eager_calls == ["warm-up", "warm-up", "recorded"]
    assert FakeGraph.num_replays == 3


def test_a_lane_without_graphs_calls_the_function_each_time() -> None:
    device = FakeGraphDevice()
    lane = TransferLane(CPU, logged_double(device), SHAPE, use_graph=False, module=device)
    lane.prepare()
    assert device.did("compute", "compute", 0) > device.did("wait_stream", "compute", "copy_in")
    device.log.clear()
    for value in (1, 2):
        lane.submit(rows(value)).result()
    assert [entry for entry in device.log if entry[0] == "compute"] == [
        ("compute", "compute", 1),
        ("compute", "compute", 2),
    ]
    assert not device.graphs


def test_too_many_rows_are_refused() -> None:
    lane = TransferLane(CPU, lambda batch: (batch,), SHAPE)
    with pytest.raises(ValueError, match="3 rows for a lane of 1 to 2"):
        lane.submit(rows(1, 2, 3))
    with pytest.raises(ValueError, match="0 rows"):
        lane.submit([])


def test_a_failing_computation_leaves_the_lane_usable() -> None:
    failures = [torch.OutOfMemoryError("no room")]

    def compute(batch: Tensor) -> tuple[Tensor, ...]:
        if failures:
            raise failures.pop()
        return (batch,)

    lane = TransferLane(CPU, compute, SHAPE)
    with pytest.raises(torch.OutOfMemoryError):
        lane.submit(rows(1))
    assert (lane.submit(rows(2)).result()[0] == 2).all()


def test_closing_waits_for_the_computations_only() -> None:
    device = FakeDevice()
    lane = lane_with(device, logged_double(device))
    lane.submit(rows(1)).result()
    before = len(device.log)
    lane.close()
    assert [entry[:2] for entry in device.log[before:]] == [
        ("record", "compute"),
        ("await", "host"),
    ]


def test_many_batches_are_under_way_and_only_their_own_events_are_awaited() -> None:
    device = FakeDevice()
    lane = lane_with(device, logged_double(device))
    lane.prepare()
    device.log.clear()
    pending, values = [lane.submit(rows(1))], []
    for value in range(2, 12):
        pending.append(lane.submit(rows(value)))  # the copy of k + 1 ...
        values.append(int(pending.pop(0).result()[0][0, 0, 0, 0]))  # ... before k is awaited
    assert values == [2 * v for v in range(1, 11)]
    uploads = [i for i, e in enumerate(device.log) if e[:2] == ("record", "copy_in")]
    awaits = [i for i, e in enumerate(device.log) if e[0] == "await"]
    assert len(uploads) == 11
    assert len(awaits) == 10
    assert all(upload < wait for upload, wait in zip(uploads[1:], awaits, strict=True))
    assert device.num_events == 6, "a ring of two sets of buffers"
    done = [e[2] for e in device.log if e[:2] == ("record", "copy_out")]
    assert [e[2] for e in device.log if e[0] == "await"] == done[:10]


@dataclass
class FakeQueueModule:
    """What ``torch.mps`` has: events that belong to no stream."""

    log: list[str] = field(default_factory=list)

    def Event(self) -> FakeQueueModule:  # noqa: N802
        return self

    def record(self) -> None:
        self.log.append("record")

    def synchronize(self) -> None:
        self.log.append("await")

    def empty_cache(self) -> None:
        self.log.append("empty")


def test_a_device_with_one_queue_is_ordered_by_that_queue() -> None:
    module = FakeQueueModule()
    lane = TransferLane(CPU, lambda batch: (batch + 1,), SHAPE, module=OneQueue(module))
    lane.prepare()
    pending = [lane.submit(rows(1)), lane.submit(rows(5))]
    assert module.log == ["record"] * 6
    assert [int(p.result()[0][0, 0, 0, 0]) for p in pending] == [2, 6]
    assert module.log[6:] == ["await"] * 2
    lane.close()
    assert module.log[8:] == ["record", "await", "empty"]


@pytest.mark.gpu
def test_a_real_device_gives_what_the_cpu_gives() -> None:
    compute = lambda batch: ((batch.float() * 0.5 + 3).to(torch.uint8),)  # noqa: E731
    values = [rows(v, v + 1) for v in range(0, 40, 2)]
    device = torch.device("cuda")
    lane = TransferLane(device, compute, SHAPE)
    pending = [lane.submit(v) for v in values]
    for v, p in zip(values, pending, strict=True):
        expected = compute(torch.from_numpy(np.stack(v)))[0].numpy()
        np.testing.assert_array_equal(p.result()[0], expected)
    lane.close()
