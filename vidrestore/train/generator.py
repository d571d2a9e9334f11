"""The network in the form for training: the same function, fewer passes over its maps.

On a processor a training step spends as long on element-wise passes as on convolutions. So here:

* maps of 64×64 and more are convolved with filters modulated for each sample (a loop over the
  batch), which makes style and norm cost nothing; smaller maps scale input and output instead,
  because there the filters are larger than the maps;
* the √2 of the activations goes into weights, biases and scalars (√2·lrelu(v) = lrelu(√2·v)), and
  the activation works in place;
* biases go into the convolution.

Measured with the network of 256 pixels, narrow 0.25, batch 8: see docs/TRAINING.md. Parameters stay
those of :class:`vidrestore.models.gpen.Gpen`, with the published names.

Styles are computed in fp32 whatever the autocast type: their 1e-8 is nothing in fp16.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.models.gpen import Gpen
from vidrestore.models.gpen_layers import (
    EPSILON,
    SLOPE,
    EqualConv,
    FirResample,
    FusedLeakyReLU,
    ModulatedConv,
    StyledConv,
    ToRgb,
)

_SQRT2 = math.sqrt(2)
_LEAST_SIDE_FOR_OWN_FILTERS = 64


class TrainedGpen(nn.Module):
    """Wraps a network; the parameters are the network's own.

    Args:
        network: With ``in_size`` equal to ``size``.
    """

    def __init__(self, network: Gpen) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Restore faces.

        Args:
            image: Shape (N, 3, size, size), RGB in [-1, 1].

        Returns:
            Shape (N, 3, size, size), RGB, not clamped.
        """
        maps = []
        x = image
        for stage in self.network.encoder:
            x = _encode(stage, x)
            maps.append(x)
        with torch.autocast(image.device.type, enabled=False):
            code = self.network.final_linear(x.float().flatten(1))
            style = self.network.generator.style(code)
        decoder = self.network.generator
        x = decoder.input.input.expand(len(image), -1, -1, -1)
        # as the maps of the encoder: passes over two layouts at once take several times as long
        x = x.contiguous(memory_format=torch.channels_last)
        x = _styled(decoder.conv1, x, style, maps[-1])
        rgb = _to_rgb(decoder.to_rgb1, x, style)
        for i, to_rgb in enumerate(decoder.to_rgbs):
            feature = maps[-2 - i]
            x = _styled(cast(StyledConv, decoder.convs[2 * i]), x, style, feature)
            x = _styled(cast(StyledConv, decoder.convs[2 * i + 1]), x, style, feature)
            with torch.autocast(image.device.type, enabled=False):
                coarse = cast(ToRgb, to_rgb).upsample(rgb)
            rgb = _to_rgb(cast(ToRgb, to_rgb), x, style) + coarse
        return rgb


def _encode(stage: nn.Sequential, x: Tensor) -> Tensor:
    if len(stage) == 3:
        x = _low_pass(cast(FirResample, stage[0]), x)
    conv, activate = cast(EqualConv, stage[-2]), cast(FusedLeakyReLU, stage[-1])
    weight = conv.weight * (conv.scale * _SQRT2)
    x = functional.conv2d(x, weight, activate.bias * _SQRT2, stride=conv.stride)
    return functional.leaky_relu_(x, SLOPE)


def _low_pass(fir: FirResample, x: Tensor) -> Tensor:
    """Filter each channel; the binomial kernel is its own mirror image."""
    weight = fir.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(x, weight, padding=fir.pad[0], groups=x.shape[1])


def _styled(layer: StyledConv, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
    bias = layer.activate.bias * _SQRT2
    gain = layer.noise.weight * _SQRT2
    if not layer.noise.isconcat:
        x = _modulated(layer.conv, x, style, bias)
        return functional.leaky_relu_(x + gain.to(x.dtype) * feature, SLOPE)
    own, theirs = bias.chunk(2)
    x = _modulated(layer.conv, x, style, own)
    feature = torch.addcmul(
        theirs.to(x.dtype)[:, None, None], gain.to(x.dtype)[:, None, None], feature.to(x.dtype)
    )
    return functional.leaky_relu_(torch.cat((x, feature), dim=1), SLOPE)


def _to_rgb(layer: ToRgb, x: Tensor, style: Tensor) -> Tensor:
    """Return the picture in fp32: sums of bf16 pictures alone cost decibels."""
    with torch.autocast(x.device.type, enabled=False):
        modulation = layer.conv.modulation(style)
    weight = layer.conv.weight[0] * layer.conv.scale
    picture = _conv_each(x, weight * modulation[:, None, :, None, None], None)
    return picture.float() + layer.bias


def _modulated(conv: ModulatedConv, x: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """Return √2·(modulated convolution) + bias."""
    with torch.autocast(x.device.type, enabled=False):
        modulation: Tensor = conv.modulation(style)  # (N, in)
        weight = conv.weight[0] * conv.scale  # (out, in, k, k)
        energy = weight.square().sum(dim=(2, 3)) / 2
        norm = torch.rsqrt(modulation.square() @ energy.T + EPSILON / 2)  # (N, out)
        has_own_filters = x.shape[-1] >= _LEAST_SIDE_FOR_OWN_FILTERS
        if has_own_filters:
            weights = weight * modulation[:, None, :, None, None] * norm[:, :, None, None, None]
    if has_own_filters and not conv.is_upsampling:
        return _conv_each(x, weights, bias)
    if has_own_filters:
        x = torch.cat(
            [
                functional.conv_transpose2d(sample, w.transpose(0, 1), stride=2)
                for sample, w in zip(x.chunk(len(x)), weights.unbind(), strict=True)
            ]
        )
        x = _low_pass(conv.blur, x)
        return x + bias.to(x.dtype)[:, None, None]
    x = x * modulation.to(x.dtype)[:, :, None, None]
    if conv.is_upsampling:
        x = _low_pass(conv.blur, functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
    else:
        x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return torch.addcmul(bias.to(x.dtype)[:, None, None], x, norm.to(x.dtype)[:, :, None, None])


def _conv_each(x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each sample (N, in, H, W) with its own filters (N, out, in, k, k)."""
    padding = weights.shape[-1] // 2
    return torch.cat(
        [
            functional.conv2d(sample, weight, bias, padding=padding)
            for sample, weight in zip(x.chunk(len(x)), weights.unbind(), strict=True)
        ]
    )
