"""dlib's face embedding in torch: Davis King's ResNet of 29 convolutions.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; dlib's example
``dnn_face_recognition_ex.cpp`` for the layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.models.dlib_file import Convolution, DlibWeights

_SCALE = 256.0
"""What dlib divides values by once their mean is taken off."""


class DlibNetwork(nn.Module):
    """Describes faces by 128 numbers, as dlib's ``face_recognition_model_v1`` does.

    Its own numbers do not learn.
    """

    def __init__(self, weights: DlibWeights) -> None:
        super().__init__()
        first, *others = weights.convolutions
        mean = torch.from_numpy(weights.mean)[:, None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("projection", torch.from_numpy(weights.projection), persistent=False)
        self.first = _Convolution(first)
        pairs = zip(others[::2], others[1::2], strict=True)
        self.blocks = nn.Sequential(*(_Block(*pair) for pair in pairs))

    def forward(self, chips: Tensor) -> Tensor:
        """Embed faces.

        Args:
            chips: Shape (N, 3, 150, 150), RGB, 0..255.

        Returns:
            Shape (N, 128).
        """
        x = (chips - self.get_buffer("mean")) / _SCALE
        x = functional.relu(self.first(x), inplace=True)  # (N, 32, 72, 72)
        x = functional.max_pool2d(x, 3, stride=2)  # (N, 32, 35, 35)
        x = self.blocks(x)  # (N, 256, 2, 2)
        return functional.linear(x.mean(dim=(2, 3)), self.get_buffer("projection"))


class _Convolution(nn.Module):
    def __init__(self, numbers: Convolution) -> None:
        super().__init__()
        weight = torch.from_numpy(numbers.weight).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", torch.from_numpy(numbers.bias), persistent=False)
        self._stride, self._padding = numbers.stride, numbers.padding

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.get_buffer("weight"), self.get_buffer("bias")
        return functional.conv2d(x, weight, bias, self._stride, self._padding)


class _Block(nn.Module):
    """Two convolutions, and a way past them."""

    def __init__(self, first: Convolution, second: Convolution) -> None:
        super().__init__()
        self._halves = first.stride == 2
        self.first, self.second = _Convolution(first), _Convolution(second)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x), inplace=True))
        if self._halves:
            x = functional.avg_pool2d(x, 2)
        # for dlib the smaller of two summands has zeros outside, in channels, rows and columns
        shape = [max(sides) for sides in zip(x.shape[1:], y.shape[1:], strict=True)]
        return functional.relu(_padded(x, shape) + _padded(y, shape), inplace=True)


def _padded(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Add zeros behind until (C, H, W) is ``shape``."""
    missing = [wanted - side for wanted, side in zip(shape, x.shape[1:], strict=True)]
    if not any(missing):
        return x
    return functional.pad(x, [pad for count in reversed(missing) for pad in (0, count)])
