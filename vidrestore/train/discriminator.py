"""The network that tells restored faces from real ones, as in GPEN: StyleGAN2's.

Parameters have the names and shapes of the published discriminator files.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020
(arXiv 1912.04958), section 4.1 (residual blocks) and appendix B; the standard deviation over a
minibatch: Karras et al., "Progressive Growing of GANs", ICLR 2018, section 3.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.models.gpen_layers import (
    SLOPE,
    EqualConv,
    EqualLinear,
    FirResample,
    FusedLeakyReLU,
)
from vidrestore.models.gpen_widths import num_channels

_SQRT2 = math.sqrt(2)
_GROUP = 4
"""Samples whose spread is told to the last layers."""


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second halves the side, beside a 1×1 one that does so too."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            EqualConv(in_channels, in_channels, 3), FusedLeakyReLU(in_channels)
        )
        self.conv2 = nn.Sequential(
            FirResample(pad=(2, 2)),
            EqualConv(in_channels, out_channels, 3, stride=2),
            FusedLeakyReLU(out_channels),
        )
        self.skip = nn.Sequential(
            FirResample(pad=(1, 1)), EqualConv(in_channels, out_channels, 1, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Turn (N, in, S, S) into (N, out, S/2, S/2)."""
        narrow = cast(EqualConv, self.skip[1])
        # 1/√2 of the sum goes into the two weights and the bias
        skipped = functional.conv2d(
            _low_pass(cast(FirResample, self.skip[0]), x, stride=2),
            narrow.weight * (narrow.scale / _SQRT2),
        )
        y = _low_pass(cast(FirResample, self.conv2[0]), _activated(self.conv1, x, padding=1))
        return skipped + _activated(self.conv2, y, gain=1 / _SQRT2)


class Discriminator(nn.Module):
    """The whole network.

    Args:
        size: Side of the pictures, a power of two from 8.
        channel_multiplier: Factor on the channels of maps larger than 32×32.
        narrow: Factor on all channels; the paper's is 1.
    """

    def __init__(self, size: int, channel_multiplier: int = 2, narrow: float = 1.0) -> None:
        super().__init__()
        sides = [2**i for i in range(size.bit_length() - 1, 1, -1)]
        channels = [num_channels(side, channel_multiplier, narrow) for side in sides]
        first = nn.Sequential(EqualConv(3, channels[0], 1), FusedLeakyReLU(channels[0]))
        blocks = [ResidualBlock(*pair) for pair in pairwise(channels)]
        self.convs = nn.ModuleList([first, *blocks])
        last = channels[-1]
        self.final_conv = nn.Sequential(EqualConv(last + 1, last, 3), FusedLeakyReLU(last))
        self.final_linear = nn.Sequential(
            EqualLinear(last * 16, last, is_activated=True), EqualLinear(last, 1)
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge pictures.

        Args:
            picture: Shape (N, 3, size, size), RGB in [-1, 1].

        Returns:
            Logits of shape (N, 1), fp32, high for real; and the maps after each residual block,
            largest first, which the feature loss compares.
        """
        x = _activated(cast(nn.Sequential, self.convs[0]), picture)
        maps = []
        for block in list(self.convs)[1:]:
            x = block(x)
            maps.append(x)
        with torch.autocast(x.device.type, enabled=False):
            x = with_spread(x.float())
            x = _activated(self.final_conv, x, padding=1)
            logits: Tensor = self.final_linear(x.flatten(1))
        return logits, maps


def with_spread(x: Tensor) -> Tensor:
    """Append a map with the mean standard deviation over groups of samples.

    Args:
        x: Shape (N, C, H, W). Groups have 4 samples if N can be divided so, else fewer.

    Returns:
        Shape (N, C + 1, H, W).
    """
    n, _, height, width = x.shape
    group = next(size for size in range(min(_GROUP, n), 0, -1) if n % size == 0)
    grouped = x.view(group, n // group, *x.shape[1:])
    deviation = (grouped.var(dim=0, correction=0) + 1e-8).sqrt()  # (N / group, C, H, W)
    spread = deviation.mean(dim=(1, 2, 3)).repeat(group)
    return torch.cat((x, spread.view(n, 1, 1, 1).expand(n, 1, height, width)), dim=1)


def _low_pass(fir: FirResample, x: Tensor, stride: int = 1) -> Tensor:
    weight = fir.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(x, weight, padding=fir.pad[0], stride=stride, groups=x.shape[1])


def _activated(stage: nn.Sequential, x: Tensor, padding: int = 0, gain: float = 1.0) -> Tensor:
    """Convolve with bias and activate; the √2 of the activation goes into weight and bias."""
    conv, activate = cast(EqualConv, stage[-2]), cast(FusedLeakyReLU, stage[-1])
    gain *= _SQRT2
    weight, bias = conv.weight * (conv.scale * gain), activate.bias * gain
    x = functional.conv2d(x, weight, bias, stride=conv.stride, padding=padding)
    return functional.leaky_relu(x, SLOPE)
