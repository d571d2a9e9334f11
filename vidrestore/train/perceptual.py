"""Perceptual loss: distance between the features that an image classifier sees in two pictures.

The numbers come from the installed package ``stlpips-pytorch`` (BSD-2), read as plain data; its
code is not imported. Its AlexNet and VGG-16 are those of LPIPS, made insensitive to small shifts
by a low-pass filter at each reduction.

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018, equation 1; Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.errors import WeightsCorruptError, WeightsNotFoundError
from vidrestore.models.installed import packaged_file
from vidrestore.train.config import Backbone

_PACKAGE = "stlpips_pytorch"
_FOLDER = "weights/vST0.0"
_SHA256: Mapping[Backbone, str] = MappingProxyType(
    {
        Backbone.ALEX: "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        Backbone.VGG: "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
    }
)
_EPSILON = 1e-10


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a network's layers are in its file, and the sizes that the file does not show."""

    slices: tuple[tuple[str, ...], ...]
    """For each slice its layers by name: convolutions, and low-pass filters ending in ``filt``."""
    paddings: Mapping[str, int]
    """Of convolutions; 1 where none is given."""
    pool: int
    """Side of the maximum before each low-pass filter but those right after the first layer."""


_LAYOUTS: Mapping[Backbone, _Layout] = MappingProxyType(
    {
        Backbone.ALEX: _Layout(
            slices=(
                ("slice1.0", "slice1.1.filt"),
                ("slice2.4.filt", "slice2.5"),
                ("slice3.8.filt", "slice3.9"),
                ("slice4.11",),
                ("slice5.13",),
            ),
            paddings={"slice1.0": 2, "slice2.5": 2},
            pool=3,
        ),
        Backbone.VGG: _Layout(
            slices=(
                ("slice1.0", "slice1.2"),
                ("slice2.5.filt", "slice2.6", "slice2.8"),
                ("slice3.11.filt", "slice3.12", "slice3.14", "slice3.16"),
                ("slice4.19.filt", "slice4.20", "slice4.22", "slice4.24"),
                ("slice5.27.filt", "slice5.28", "slice5.30", "slice5.32"),
            ),
            paddings={},
            pool=2,
        ),
    }
)


class PerceptualLoss(nn.Module):
    """Compares pictures; its own numbers do not learn.

    Args:
        backbone: Which network.
        state: Its numbers, from ``read_backbone``.

    Raises:
        WeightsCorruptError: They are not those of this network.
    """

    def __init__(self, backbone: Backbone, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._layout = _LAYOUTS[backbone]
        needed = ["scaling_layer.shift", "scaling_layer.scale"]
        for k, names in enumerate(self._layout.slices):
            needed.append(f"lin{k}.model.1.weight")
            for name in names:
                filters = name.endswith("filt")
                needed += [f"net.{name}"] if filters else [f"net.{name}.{p}" for p in _OF_CONV]
        for key in needed:
            if key not in state:
                raise WeightsCorruptError(f"the features of {backbone} lack '{key}'")
            self.register_buffer(_attribute(key), state[key].detach().float(), persistent=False)

    def forward(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return the mean distance.

        Args:
            picture: Shape (N, 3, H, W), RGB in [-1, 1]; gradients go here alone.
            target: What it should look like, same shape.
        """
        with torch.no_grad():
            wanted = self.features(target)
        return self.distance(self.features(picture), wanted)

    def distance(self, seen: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Return the mean distance of what ``features`` returned for two pictures."""
        total = seen[0].new_zeros(())
        for k, (one, other) in enumerate(zip(seen, wanted, strict=True)):
            difference = (_unit(one) - _unit(other)).square()
            weight = self._get(f"lin{k}.model.1.weight")
            total = total + functional.conv2d(difference, weight).mean()
        return total

    def features(self, picture: Tensor) -> list[Tensor]:
        """Return what each slice of the network says of (N, 3, H, W), RGB in [-1, 1]."""
        x = (picture - self._get("scaling_layer.shift")) / self._get("scaling_layer.scale")
        found = []
        for k, names in enumerate(self._layout.slices):
            for name in names:
                x = self._layer(name, x, is_first_slice=k == 0)
            found.append(x)
        return found

    def _layer(self, name: str, x: Tensor, *, is_first_slice: bool) -> Tensor:
        if name.endswith("filt"):
            if not is_first_slice:
                x = functional.max_pool2d(x, self._layout.pool, stride=1)
            x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
            x = functional.conv2d(x, self._get(f"net.{name}"), stride=2, groups=x.shape[1])
            return functional.relu(x) if is_first_slice else x
        padding = self._layout.paddings.get(name, 1)
        weight, bias = (self._get(f"net.{name}.{part}") for part in _OF_CONV)
        x = functional.conv2d(x, weight, bias, padding=padding)
        # AlexNet's first layer is reduced before it is rectified
        return x if is_first_slice and self._layout.pool == 3 else functional.relu(x)

    def _get(self, key: str) -> Tensor:
        return self.get_buffer(_attribute(key))


def read_backbone(backbone: Backbone) -> dict[str, Tensor]:
    """Read a network's numbers out of the installed package.

    Raises:
        WeightsNotFoundError: The package is not installed.
        WeightsCorruptError: Its file is damaged.
    """
    file = f"{_FOLDER}/{backbone}_shift_tolerant.pth"
    path = packaged_file(_PACKAGE, file, _SHA256[backbone])
    if path is None:
        raise WeightsNotFoundError(
            f"the perceptual loss '{backbone}' needs the package stlpips-pytorch: run "
            f"pip install 'vidrestore[train]', or set perceptual = \"none\""
        )
    return dict(torch.load(path, map_location="cpu", weights_only=True))


_OF_CONV = ("weight", "bias")


def _attribute(key: str) -> str:
    return key.replace(".", "_")


def _unit(features: Tensor) -> Tensor:
    """Scale the vector at each place to length 1."""
    norm = (features.square().sum(dim=1, keepdim=True) + _EPSILON).sqrt()
    return features / norm
