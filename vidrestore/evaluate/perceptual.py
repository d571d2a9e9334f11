"""How different two pictures look to people: ST-LPIPS, from weights of an installed package.

Ghildyal and Liu, Shift-tolerant Perceptual Similarity Metric (ECCV 2022): LPIPS on an AlexNet that
was trained anew with strides taken out and low-passes before each reduction, so that a shift of a
pixel, which nobody sees, hardly counts. Its values are not those of plain LPIPS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.contracts import RGBImage
from vidrestore.errors import WeightsCorruptError
from vidrestore.models.installed import packaged_file

_PACKAGE = "stlpips_pytorch"
_FILE = "weights/vST0.0/alex_shift_tolerant.pth"
_SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
MISSING = "ST-LPIPS and the Fréchet distance need the package stlpips-pytorch"

Layers = tuple[Tensor, ...]


class ShiftTolerantLpips:
    """Compares pictures; a fixed network, on the CPU.

    Example:
        metric = ShiftTolerantLpips.installed()
        if metric is not None:
            distance = metric.distance(metric.layers(a), metric.layers(b))
    """

    def __init__(self, path: Path) -> None:
        """Read the weights, as plain data.

        Raises:
            WeightsCorruptError: They are not those of this network.
        """
        network = _ShiftTolerantAlexNet()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state, strict=True)
        except (RuntimeError, KeyError) as error:
            raise WeightsCorruptError(f"{path} does not hold ST-LPIPS's AlexNet") from error
        self._network = network.eval().requires_grad_(False)

    @classmethod
    def installed(cls) -> Self | None:
        """Return the metric; None if the package with its weights is not installed."""
        path = packaged_file(_PACKAGE, _FILE, _SHA256)
        return None if path is None else cls(path)

    def layers(self, image: RGBImage) -> Layers:
        """Return what the five layers say of a picture of shape (H, W, 3), uint8 RGB."""
        with torch.inference_mode():
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
            return self._network.layers(x.float() / 127.5 - 1)

    def distance(self, layers: Layers, reference: Layers) -> float:
        """Return how different two pictures look; 0 for equal ones; two people: about 0.4."""
        with torch.inference_mode():
            return float(self._network.distance(layers, reference))

    def features(self, layers: Layers) -> npt.NDArray[np.float32]:
        """Return the mean of the last layer over the picture, shape (256,)."""
        return np.asarray(layers[-1].mean(dim=(0, 2, 3)).numpy())


class _Reduction(nn.Module):
    """Low-pass [1 2 1]²/16, then every second pixel; two pixels are mirrored at the edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filt: Tensor
        self.register_buffer("filt", torch.empty(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.filt, stride=2, groups=x.shape[1])


class _Normalisation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.empty(1, 3, 1, 1))
        self.register_buffer("scale", torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


class _ShiftTolerantAlexNet(nn.Module):
    """The names of its parts are those of the weights file."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = _Normalisation()
        self.net = nn.ModuleDict(
            {
                "slice1": nn.ModuleDict(
                    {"0": nn.Conv2d(3, 64, 11, padding=2), "1": _Reduction(64)}
                ),
                "slice2": nn.ModuleDict(
                    {"4": _Reduction(64), "5": nn.Conv2d(64, 192, 5, padding=2)}
                ),
                "slice3": nn.ModuleDict(
                    {"8": _Reduction(192), "9": nn.Conv2d(192, 384, 3, padding=1)}
                ),
                "slice4": nn.ModuleDict({"11": nn.Conv2d(384, 256, 3, padding=1)}),
                "slice5": nn.ModuleDict({"13": nn.Conv2d(256, 256, 3, padding=1)}),
            }
        )
        for k, channels in enumerate((64, 192, 384, 256, 256)):
            head = nn.ModuleDict({"1": nn.Conv2d(channels, 1, 1, bias=False)})
            self.add_module(f"lin{k}", nn.ModuleDict({"model": head}))

    def layers(self, x: Tensor) -> Layers:
        """Return the five activations for pictures of shape (N, 3, H, W), -1..1."""
        x = self.scaling_layer(x)
        found = []
        for slice_of in self.net.values():
            assert isinstance(slice_of, nn.ModuleDict)
            convolves_first = isinstance(next(iter(slice_of.values())), nn.Conv2d)
            if not convolves_first:
                x = functional.max_pool2d(x, kernel_size=3, stride=1)
            for part in slice_of.values():
                x = part(x)
            x = functional.relu(x)
            found.append(x)
        return tuple(found)

    def distance(self, layers: Layers, reference: Layers) -> Tensor:
        """Weigh the squared differences of the unit vectors of each place; add the layers up."""
        total = torch.zeros(())
        for k, (a, b) in enumerate(zip(layers, reference, strict=True)):
            head = self.get_parameter(f"lin{k}.model.1.weight")
            apart = torch.square(_unit(a) - _unit(b))
            total = total + functional.conv2d(apart, head).mean()
        return total


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (length + 1e-10)
