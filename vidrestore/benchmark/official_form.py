"""GPEN in the formulation of StyleGAN2, slow and plain: what ours is measured against."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from vidrestore.models.gpen import Gpen
from vidrestore.models.gpen_layers import EqualConv, FirResample, ModulatedConv, StyledConv, ToRgb


class OfficialForm:
    """Filters made anew for each sample, convolutions in groups, FIR filters on zero-filled maps.

    It gives the numbers of ``Gpen``, up to rounding.

    Args:
        network: Holds the weights; read, never changed.
    """

    def __init__(self, network: Gpen) -> None:
        self._network = network

    def __call__(self, image: Tensor) -> Tensor:
        """Restore pictures (N, 3, S, S), float32 in [-1, 1]."""
        network = self._network
        maps, x = [], image
        for stage in network.encoder:
            if len(stage) == 3:
                x = self._resample(cast(FirResample, stage[0]), x)
            conv = cast(EqualConv, stage[-2])
            x = stage[-1](functional.conv2d(x, conv.weight * conv.scale, stride=conv.stride))
            maps.append(x)
        decoder = network.generator
        style = decoder.style(network.final_linear(x.flatten(1)))
        x = decoder.input.input.repeat(len(image), 1, 1, 1)
        x = self._styled(decoder.conv1, x, style, maps[-1])
        rgb = self._modulated(decoder.to_rgb1.conv, x, style) + decoder.to_rgb1.bias
        for i, part in enumerate(decoder.to_rgbs):
            for layer in (decoder.convs[2 * i], decoder.convs[2 * i + 1]):
                x = self._styled(cast(StyledConv, layer), x, style, maps[-2 - i])
            head = cast(ToRgb, part)
            picture = self._modulated(head.conv, x, style) + head.bias
            rgb = picture + self._resample(head.upsample, rgb)
        return rgb

    def _styled(self, layer: StyledConv, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
        joined: Tensor = layer.noise(self._modulated(layer.conv, x, style), feature)
        activated: Tensor = layer.activate(joined)
        return activated

    def _modulated(self, conv: ModulatedConv, x: Tensor, style: Tensor) -> Tensor:
        n, num_in, height, width = x.shape
        num_out, size = conv.weight.shape[1], conv.weight.shape[-1]
        modulation = conv.modulation(style).view(n, 1, num_in, 1, 1)
        weight = conv.weight * conv.scale * modulation  # (N, out, in, k, k)
        if conv.is_demodulated:
            norm = torch.rsqrt(weight.square().sum(dim=(2, 3, 4)) + 1e-8)
            weight = weight * norm.view(n, num_out, 1, 1, 1)
        x = x.reshape(1, n * num_in, height, width)
        if conv.is_upsampling:
            weight = weight.transpose(1, 2).reshape(n * num_in, num_out, size, size)
            x = functional.conv_transpose2d(x, weight, stride=2, groups=n)
            x = x.view(n, num_out, 2 * height + 1, 2 * width + 1)
            return self._resample(conv.blur, x)
        weight = weight.view(n * num_out, num_in, size, size)
        x = functional.conv2d(x, weight, padding=size // 2, groups=n)
        return x.view(n, num_out, height, width)

    def _resample(self, fir: FirResample, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        up, (before, after) = fir.up, fir.pad
        x = x.reshape(n * channels, 1, height, 1, width, 1)
        x = functional.pad(x, (0, up - 1, 0, 0, 0, up - 1))
        x = x.view(n * channels, 1, height * up, width * up)
        x = functional.pad(x, (before, after, before, after))
        x = functional.conv2d(x, fir.kernel.flip(0, 1)[None, None])
        return x.view(n, channels, x.shape[2], x.shape[3])
