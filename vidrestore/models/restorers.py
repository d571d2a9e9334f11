"""Builds the restorer that suits the machine and what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vidrestore.contracts import FaceRestorer
from vidrestore.errors import DeviceError
from vidrestore.models.compiling import choose_compiler
from vidrestore.models.devices import choose_device, choose_runtime
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.processor import bf16_gain, has_bf16
from vidrestore.models.registry import RestorerSpec, landmark_template
from vidrestore.models.restorer_openvino import OpenVinoRestorer
from vidrestore.models.restorer_torch import TorchRestorer
from vidrestore.settings import Precision, Runtime

_LEAST_GAIN = 1.1
"""bf16 has to be this many times as fast as fp32 to be taken."""
_GPU_PIXELS = 2**19
"""Pixels in one batch on a GPU: 8 crops of 256, 2 of 512, 1 of 1024."""


def build_restorer(
    spec: RestorerSpec,
    state: Mapping[str, Tensor],
    *,
    weights_sha256: str,
    device: str,
    runtime: Runtime,
    precision: Precision,
    cache_dir: Path,
) -> tuple[FaceRestorer, list[str]]:
    """Make a restorer ready to use.

    Args:
        spec: The model.
        state: Its weights, checked.
        weights_sha256: Of the file they came from; names the converted network on disk.
        device: ``auto`` (CUDA if there is a device, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or
            ``mps``.
        runtime: AUTO takes OpenVINO on a CPU and torch elsewhere.
        precision: AUTO takes fp16 on a GPU, and on a CPU bf16 if that is faster there, else fp32.
        cache_dir: Where converted networks and measurements are kept.

    Returns:
        The restorer, and what was chosen, one sentence each.

    Raises:
        DeviceError: The device, runtime or precision asked for cannot be had.
        WeightsError: The weights are of another network.
    """
    chosen_device = choose_device(device, runtime)
    runtime = choose_runtime(runtime, chosen_device)
    precision, why = _choose_precision(precision, chosen_device, runtime, cache_dir)
    compiler = choose_compiler(runtime, cache_dir)
    template = landmark_template(spec.template, spec.size)
    if runtime is Runtime.OPENVINO:
        by_openvino = OpenVinoRestorer(
            lambda: folded_network(spec, state),
            size=spec.size,
            template=template,
            precision=precision,
            cache_dir=cache_dir,
            weights_key=f"{weights_sha256} {spec}",
            name=spec.name,
        )
        choice = f"restorer: {by_openvino.description} ({why})"
        return by_openvino, [choice, by_openvino.how_shared]
    on_cpu = chosen_device.type == "cpu"
    restorer = TorchRestorer(
        folded_network(spec, state),
        template=template,
        device=chosen_device,
        precision=precision,
        batch_size=1 if on_cpu else max(1, _GPU_PIXELS // spec.size**2),
        name=spec.name,
        compiler=compiler,
        use_graph=runtime is not Runtime.TENSORRT,  # its engines have streams of their own
    )
    return restorer, [f"restorer: {restorer.description} ({why})"]


def folded_network(spec: RestorerSpec, state: Mapping[str, Tensor]) -> FoldedGpen:
    """Return a model's network ready for use, in fp32 on the CPU.

    Raises:
        WeightsError: The weights are of another network.
    """
    with torch.device("meta"):  # no memory, no random numbers: the state brings them all
        network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    load_gpen_state(network, state)
    return FoldedGpen(network)


def _choose_precision(
    precision: Precision, device: torch.device, runtime: Runtime, cache_dir: Path
) -> tuple[Precision, str]:
    """Check the precision, or choose one; with the reason."""
    if device.type != "cpu":
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported()
        if precision is Precision.BF16 and not has_it:
            raise DeviceError(f"{device} has no bf16: use --precision fp16")
        if precision is Precision.AUTO:
            return Precision.FP16, "fp16 is right on a GPU"
        return precision, "as asked"
    if precision is Precision.FP16:
        raise DeviceError("fp16 needs a GPU: use --precision bf16 or fp32 on a CPU")
    if precision is Precision.BF16 and runtime is Runtime.OPENVINO and not has_bf16():
        raise DeviceError("this CPU has no bf16: use --precision fp32")
    if precision is not Precision.AUTO:
        return precision, "as asked"
    if not has_bf16():
        return Precision.FP32, "this CPU has no bf16"
    gain = bf16_gain(cache_dir)
    why = f"bf16 runs at {gain:.1f} times the speed of fp32 on this CPU"
    return (Precision.BF16 if gain >= _LEAST_GAIN else Precision.FP32), why
