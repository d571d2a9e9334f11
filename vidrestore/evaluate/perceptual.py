"""How different two pictures look to people: ST-LPIPS, from weights of an installed package.

Ghildyal and Liu, Shift-tolerant Perceptual Similarity Metric (ECCV 2022): LPIPS on an AlexNet that
was trained anew with strides taken out and low-passes before each reduction, so that a shift of a
pixel, which nobody sees, hardly counts. Its values are not those of plain LPIPS. The network is
the perceptual loss's; here it only measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidrestore.contracts import RGBImage
from vidrestore.errors import WeightsNotFoundError
from vidrestore.train.config import Backbone
from vidrestore.train.perceptual import PerceptualLoss, read_backbone

MISSING = "ST-LPIPS and the Fréchet distance need the package stlpips-pytorch"

Layers = Sequence[Tensor]


class ShiftTolerantLpips:
    """Compares pictures; a fixed network, on the CPU.

    Example:
        metric = ShiftTolerantLpips.installed()
        if metric is not None:
            distance = metric.distance(metric.layers(a), metric.layers(b))
    """

    def __init__(self, network: PerceptualLoss) -> None:
        self._network = network

    @classmethod
    def installed(cls) -> Self | None:
        """Return the metric; None if the package with its weights is not installed.

        Raises:
            WeightsCorruptError: The weights are not what they should be.
        """
        try:
            return cls(PerceptualLoss(Backbone.ALEX, read_backbone(Backbone.ALEX)))
        except WeightsNotFoundError:
            return None

    def layers(self, image: RGBImage) -> Layers:
        """Return what the five layers say of a picture of shape (H, W, 3), uint8 RGB."""
        with torch.inference_mode():
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
            return self._network.features(x.float() / 127.5 - 1)

    def distance(self, layers: Layers, reference: Layers) -> float:
        """Return how different two pictures look; 0 for equal ones; two people: about 0.4."""
        with torch.inference_mode():
            return float(self._network.distance(layers, reference))

    def features(self, layers: Layers) -> npt.NDArray[np.float32]:
        """Return the mean of the last layer over the picture, shape (256,)."""
        return np.asarray(layers[-1].mean(dim=(0, 2, 3)).numpy())
