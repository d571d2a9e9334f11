"""The restoring network in PyTorch: the way on a GPU, and on a CPU for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vidrestore.contracts import PendingCrops, Points, RGBImage
from vidrestore.errors import DeviceError
from vidrestore.models.compiling import Compiler
from vidrestore.models.crop_tensors import DTYPES, normalise_crops, quantise_pictures
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.runtime.streams import Compute, PendingRows, TransferLane
from vidrestore.settings import Precision

_LEAST_SPREAD = 1 / 127.5
"""A result whose values differ by less than one 8-bit level is empty."""


def _restore(network: Callable[[Tensor], Tensor], crops: Tensor) -> tuple[Tensor, Tensor]:
    """Restore crops and measure each result's spread, largest minus smallest value.

    The spread is not finite if any value is not, and 0 for an empty picture.
    """
    pictures = network(normalise_crops(crops))
    spread = pictures.amax(dim=(1, 2, 3)) - pictures.amin(dim=(1, 2, 3))
    return quantise_pictures(pictures), spread


class _PendingBatches:
    """Crops under way in one or more batches."""

    def __init__(
        self,
        batches: list[tuple[PendingRows, Sequence[RGBImage]]],
        check: Callable[[RGBImage, float, RGBImage], RGBImage],
    ) -> None:
        self._batches = batches
        self._check = check
        self._crops: list[RGBImage] | None = None

    def result(self) -> list[RGBImage]:
        """Wait for these crops; see :class:`vidrestore.contracts.PendingCrops`."""
        if self._crops is None:
            self._crops = []
            for pending, originals in self._batches:
                crops, spreads = pending.result()
                rows = zip(crops, spreads.tolist(), originals, strict=True)
                self._crops += [self._check(*row) for row in rows]
        return self._crops


class TorchRestorer:
    """A :class:`vidrestore.contracts.FaceRestorer` that computes with PyTorch.

    Args:
        network: In fp32, on the CPU. A copy in ``precision`` goes to the device; the network itself
            redoes, in fp32, crops that come out empty or not finite.
        template: Where the landmarks lie in a crop.
        device: Where to compute.
        precision: Of the convolutions.
        batch_size: Most crops at once. Halved when the device has no room for so many.
        name: Of the model, for the description.
        compiler: Compiles the computation, which is done before this returns.
        use_graph: Replay a recorded graph where the device can.
        make_lane: Stands in for :class:`TransferLane`; for tests.

    Raises:
        DeviceError: The device has no room for a single crop, or the compiler fails.
    """

    num_redone: int
    """Crops that were computed again in fp32."""
    num_kept: int
    """Crops left as they were because fp32 gave no numbers either."""

    def __init__(
        self,
        network: FoldedGpen,
        *,
        template: Points,
        device: torch.device,
        precision: Precision,
        batch_size: int,
        name: str = "GPEN",
        compiler: Compiler | None = None,
        use_graph: bool = True,
        make_lane: Callable[..., TransferLane] = TransferLane,
    ) -> None:
        self.size = network.size
        self.template = template
        self.batch_size = batch_size
        version = torch.__version__.partition("+")[0]
        how = "" if compiler is None else " compiled"
        self.description = f"{name}, torch {version}{how} on {device}, {precision}"
        self.num_redone = self.num_kept = 0
        self._events: list[str] = []
        self._exact = network
        self._precision = precision
        self._device = device
        self._make_lane = make_lane
        self._compiler, self._use_graph = compiler, use_graph
        self._lane: TransferLane | None = None
        self._exact_lane: TransferLane | None = None
        try:
            self._network = network.with_precision(DTYPES[precision]).to(device)
        except torch.OutOfMemoryError as error:
            raise self._no_memory() from error
        while self._lane is None:  # now, while no other thread uses the device
            self._open_lane()

    def submit(self, crops: Sequence[RGBImage]) -> PendingCrops:
        """Start restoring; see :class:`vidrestore.contracts.FaceRestorer`.

        Raises:
            ValueError: A crop has another shape than (size, size, 3).
            DeviceError: The device has no room for a single crop.
        """
        for crop in crops:
            if crop.shape != (self.size, self.size, 3):
                raise ValueError(f"crop of {crop.shape} for a network of {self.size}")
        batches: list[tuple[PendingRows, Sequence[RGBImage]]] = []
        rest = crops
        while rest:
            batch = rest[: self.batch_size]
            try:
                if self._lane is None:
                    self._open_lane()
                    continue
                batches.append((self._lane.submit(batch), batch))
            except torch.OutOfMemoryError as error:
                self._shrink(error)
            else:
                rest = rest[len(batch) :]
        return _PendingBatches(batches, self._check)

    @property
    def notes(self) -> list[str]:
        """See :class:`vidrestore.contracts.FaceRestorer`."""
        found = list(self._events)
        if self.num_redone:
            found.append(f"{self.num_redone} faces came out empty and were computed again in fp32")
        if self.num_kept:
            found.append(f"{self.num_kept} faces could not be restored and were left as they were")
        return found

    def close(self) -> None:
        """Free the device."""
        for lane in (self._lane, self._exact_lane):
            if lane is not None:
                lane.close()
        self._lane = self._exact_lane = None

    def _open_lane(self) -> None:
        """Make the lane and prepare it, or halve the batch if there is no room for it."""
        compute: Compute = partial(_restore, self._network)
        try:
            if self._compiler is not None:
                compute = self._compiler(compute)
            shape = (self.batch_size, self.size, self.size, 3)
            lane = self._make_lane(self._device, compute, shape, use_graph=self._use_graph)
            lane.prepare()
        except torch.OutOfMemoryError as error:
            self._shrink(error)
            return
        except RuntimeError as error:
            if self._compiler is None:
                raise
            raise DeviceError(
                f"the network cannot be compiled for {self._device}: use --runtime torch"
            ) from error
        self._lane = lane

    def _shrink(self, error: torch.OutOfMemoryError) -> None:
        """Halve the batch."""
        if self.batch_size == 1:
            raise self._no_memory() from error
        if self._lane is not None:
            self._lane.close()
            self._lane = None
        self.batch_size //= 2
        self._events.append(
            f"{self._device} ran out of memory: went on with {self.batch_size} crops at once"
        )

    def _no_memory(self) -> DeviceError:
        return DeviceError(
            f"{self._device} has no memory left for one crop of {self.size} pixels: "
            "close other programs, or use a smaller --model or --device cpu"
        )

    def _check(self, restored: RGBImage, spread: float, original: RGBImage) -> RGBImage:
        """Return the crop if it is a picture, else one computed in fp32, else the original."""
        if spread > _LEAST_SPREAD and math.isfinite(spread):
            return restored
        if self._precision is not Precision.FP32:
            self.num_redone += 1
            try:
                if self._exact_lane is None:
                    compute = partial(_restore, self._exact.to(self._device))
                    shape = (1, self.size, self.size, 3)
                    # no graph: other threads are at work
                    self._exact_lane = self._make_lane(
                        self._device, compute, shape, use_graph=False
                    )
                rows, spreads = self._exact_lane.submit([original]).result()
            except torch.OutOfMemoryError as error:
                raise self._no_memory() from error
            restored, spread = rows[0], float(spreads[0])
        if not math.isfinite(spread):
            self.num_kept += 1
            return original
        return restored
