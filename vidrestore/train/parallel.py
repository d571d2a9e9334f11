"""Several processes, one for each device, as ``torchrun`` starts them; or just one.

Gradients are averaged by one ``all_reduce`` after the backward pass and not by
``DistributedDataParallel``, whose hooks do not allow the gradient of a gradient that R1 needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from vidrestore.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int
    """0 writes files and speaks."""
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def any_of(self, is_true: bool) -> bool:
        """Say whether it is true in any process."""
        if self.count == 1:
            return is_true
        flag = torch.tensor([float(is_true)], device=self.device)
        distributed.all_reduce(flag)
        return bool(flag.item() > 0)

    def take_over(self, tensors: Iterable[Tensor]) -> None:
        """Take over the first process's numbers."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


@contextmanager
def training_processes(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or be the only one.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; under ``torchrun`` each process takes,
            of ``auto`` and ``cuda``, the device of its local rank.

    Raises:
        DeviceError: The device cannot be had.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")) if count > 1 else None)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int | None) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    unknown = f"unknown device '{name}': use auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(unknown) from error
    if device.type not in {"cpu", "cuda"}:
        raise DeviceError(unknown)
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", local_rank or 0)
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(f'there is no {device}: write device = "cpu" in [run]')
    return device
