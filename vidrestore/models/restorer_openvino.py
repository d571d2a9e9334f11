"""The restoring network in OpenVINO: the way on a CPU."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vidrestore.contracts import PendingCrops, Points, RGBImage
from vidrestore.errors import DeviceError
from vidrestore.models import crop_tensors, gpen_folded, gpen_layers
from vidrestore.models.core_share import choose_share
from vidrestore.models.crop_tensors import DTYPES, CropNetwork
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.openvino_runtime import cached_model, compile_model, load_openvino
from vidrestore.settings import Precision

if TYPE_CHECKING:
    from openvino import InferRequest, Model


def convert_network(network: FoldedGpen) -> Model:
    """Turn a network into an OpenVINO model for one crop, uint8 (1, S, S, 3) in and out."""
    ov = load_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = [1, network.size, network.size, 3]
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        # tracing warns of its age (torch.export takes four times as long) and of sizes that turn
        # into constants, which is meant; its check would run the network twice more
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(
            CropNetwork(network),
            example_input=example,
            # shared, bf16 constants point to memory that nobody holds (OpenVINO 2026.4)
            shared_memory=False,
            trace_kwargs={"check_trace": False},
        )
    frontend = ov.frontend.FrontEndManager().load_by_framework("pytorch")
    model: Model = frontend.convert(frontend.load(decoder))
    model.reshape(shape)
    return model


class _PendingRequests:
    """Crops under way, one request each."""

    def __init__(self, requests: list[InferRequest], idle: list[InferRequest]) -> None:
        self._requests = requests
        self._idle = idle
        self._crops: list[RGBImage] = []

    def result(self) -> list[RGBImage]:
        """Wait for these crops; see :class:`vidrestore.contracts.PendingCrops`."""
        for request in self._requests:
            request.wait()
            self._crops.append(request.get_output_tensor().data[0].copy())
            self._idle.append(request)
        self._requests = []
        return self._crops


class OpenVinoRestorer:
    """A :class:`vidrestore.contracts.FaceRestorer` that computes with OpenVINO on the CPU.

    Every crop is a request of its own, so no result depends on what else is computed, nor on how
    many run side by side, which is measured once on each machine. Usually it is one on each core:
    on two cores that takes 6 to 17 % less processor time than one crop on both, and 20 to 30 %
    less wall time while other stages want the same cores. Larger batches gain nothing.

    Args:
        make_network: Builds the network in fp32; called only if no converted one is on disk.
        size: Side of the crops in pixels.
        template: Where the landmarks lie in a crop.
        precision: Of the convolutions, FP32 or BF16.
        cache_dir: Where converted networks are kept.
        weights_key: Says which weights in which network ``make_network`` builds.
        name: Of the model, for the description and the cache.

    Raises:
        DeviceError: OpenVINO cannot compile the network here.
    """

    def __init__(
        self,
        make_network: Callable[[], FoldedGpen],
        *,
        size: int,
        template: Points,
        precision: Precision,
        cache_dir: Path,
        weights_key: str,
        name: str = "gpen",
    ) -> None:
        self.size = size
        self.template = template
        ov = load_openvino()
        version = ov.__version__.partition("-")[0]
        self.description = f"{name}, OpenVINO {version} on the CPU, {precision}"
        model = _kept_model(
            lambda: convert_network(make_network().with_precision(DTYPES[precision])),
            f"{name}-{precision}",
            weights_key,
            cache_dir,
        )
        properties = {
            "INFERENCE_PRECISION_HINT": "f32",  # the network itself says which parts are bf16
            "ENABLE_CPU_PINNING": False,  # other stages, and other runs, use the same cores
        }
        try:
            self._compiled, share, why = choose_share(
                lambda way: compile_model(model, {**properties, **way.properties}),
                size,
                f"{name} {precision} {weights_key}",
                cache_dir,
            )
        except RuntimeError as error:
            raise DeviceError(
                f"OpenVINO cannot run {name} in {precision} on this CPU: use --runtime torch"
            ) from error
        self.batch_size = share.streams
        self.how_shared = f"crops at once: {share.streams}, on {share.threads} threads ({why})"
        """How the cores are shared, and why so."""
        self._idle: list[InferRequest] = []

    def submit(self, crops: Sequence[RGBImage]) -> PendingCrops:
        """Start restoring; see :class:`vidrestore.contracts.FaceRestorer`.

        Raises:
            ValueError: A crop has another shape than (size, size, 3).
        """
        for crop in crops:
            if crop.shape != (self.size, self.size, 3):
                raise ValueError(f"crop of {crop.shape} for a network of {self.size}")
        requests = []
        for crop in crops:
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
            request.get_input_tensor().data[0] = crop
            request.start_async()
            requests.append(request)
        return _PendingRequests(requests, self._idle)

    @property
    def notes(self) -> list[str]:
        """See :class:`vidrestore.contracts.FaceRestorer`; nothing out of the way happens here."""
        return []

    def close(self) -> None:
        """Free the compiled network."""
        self._idle.clear()
        self._compiled = None


def _kept_model(
    convert: Callable[[], Model], name: str, weights_key: str, cache_dir: Path
) -> Model:
    """Return the converted network from disk; convert it first if it is not there."""
    # the source counts as well: a changed network is converted anew
    sources = map(inspect.getsource, (gpen_folded, gpen_layers, crop_tensors))
    key = "\n".join((weights_key, *sources))
    return cached_model(name, key, cache_dir, convert)
