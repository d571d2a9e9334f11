"""Where the networks run, and what computes them: one rule for all of them."""

from __future__ import annotations

import torch

from vidrestore.errors import DeviceError
from vidrestore.settings import Runtime


def choose_device(asked: str, runtime: Runtime = Runtime.AUTO) -> torch.device:
    """Return the device that was asked for.

    Args:
        asked: ``auto`` (CUDA if there is a device, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or
            ``mps``. Apple's is taken only when named, for nothing here has been measured on it.
        runtime: OpenVINO turns ``auto`` into the CPU, TensorRT into CUDA.

    Raises:
        DeviceError: It is not there.
    """
    num_cards = torch.cuda.device_count()
    if asked == "auto":
        if runtime is Runtime.TENSORRT:
            asked = "cuda"
        else:
            asked = "cuda" if num_cards and runtime is not Runtime.OPENVINO else "cpu"
    chosen = torch.device(asked)
    if chosen.type == "cuda" and (chosen.index or 0) >= num_cards:
        found = f"only {num_cards} found" if num_cards else "no CUDA device found"
        way_out = "--runtime auto" if runtime is Runtime.TENSORRT else "--device cpu"
        raise DeviceError(f"cannot use {asked}: {found}; use {way_out}")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("cannot use mps: this is no Mac with Apple's GPU; use --device cpu")
    return chosen


def choose_runtime(asked: Runtime, device: torch.device) -> Runtime:
    """Return what computes on a device: OpenVINO on a CPU and torch elsewhere for AUTO.

    Raises:
        DeviceError: What was asked for does not run there.
    """
    if asked is Runtime.AUTO:
        return Runtime.OPENVINO if device.type == "cpu" else Runtime.TORCH
    if asked is Runtime.OPENVINO and device.type != "cpu":
        raise DeviceError(f"OpenVINO runs on the CPU here, not on {device}: use --runtime torch")
    if asked is Runtime.TENSORRT and device.type != "cuda":
        raise DeviceError(f"TensorRT runs on NVIDIA cards, not on {device}: use --device cuda")
    return asked
