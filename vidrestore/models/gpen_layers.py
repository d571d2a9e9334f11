"""The layers that GPEN is made of: StyleGAN2's, with weights shared by the whole batch.

Each has the parameter names of the published files. Nothing here knows the whole network.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020
(arXiv 1912.04958), appendix B.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-8
"""Keeps norms away from zero. It is 0 in fp16, hence styles are computed in fp32."""
SLOPE = 0.2
"""Of the leaky ReLU below zero."""

_BINOMIAL = (1.0, 3.0, 3.0, 1.0)


def binomial_kernel(gain: float = 1.0) -> Tensor:
    """Return the 4×4 low-pass filter of every resampling, float32, summing to ``gain``."""
    taps = torch.tensor(_BINOMIAL, device="cpu")
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def upfirdn(x: Tensor, kernel: Tensor, *, up: int, down: int, pad: tuple[int, int]) -> Tensor:
    """Upsample by zeros, pad, convolve each channel with ``kernel``, keep every ``down``-th sample.

    Args:
        x: Maps, shape (N, C, H, W).
        kernel: Filter, shape (kh, kw); a true convolution, so it is applied flipped.
        up: Each sample is followed by ``up`` - 1 zeros in both directions.
        down: Step of the samples that are kept.
        pad: Zeros before and after, in both directions; negative numbers crop.

    Returns:
        Shape (N, C, H', W') with H' = (up·H + sum(pad) - kh) // down + 1.
    """
    n, channels, height, width = x.shape
    if up > 1:
        x = x.reshape(n, channels, height, 1, width, 1)
        x = functional.pad(x, (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(n, channels, height * up, width * up)
    before, after = pad
    x = functional.pad(x, (before, after, before, after))
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x, weight, stride=down, groups=channels)


def leaky_relu(x: Tensor) -> Tensor:
    """Activate, scaled by √2 so that the variance of a unit-variance input stays."""
    return functional.leaky_relu(x, SLOPE) * math.sqrt(2)


class FirResample(nn.Module):
    """Low-pass filter, with an optional doubling of the size before it."""

    kernel: Tensor

    def __init__(self, *, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.up = up
        self.gain = gain
        self.register_buffer("kernel", binomial_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:
        """Filter (N, C, H, W)."""
        return upfirdn(x, self.kernel, up=self.up, down=1, pad=self.pad)


class FusedLeakyReLU(nn.Module):
    """Bias for each channel, then the activation."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Activate (N, C) or (N, C, H, W)."""
        return leaky_relu(x + self.bias.view(-1, *[1] * (x.ndim - 2)))


class PixelNorm(nn.Module):
    """Scales each vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale (N, C)."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class EqualLinear(nn.Module):
    """Linear layer whose weights are stored with unit variance and scaled when used.

    (Karras et al., "Progressive Growing of GANs", ICLR 2018, section 4.1.) With ``lr_mul`` below 1
    the layer learns that much more slowly: its weights are stored larger than they act.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lr_mul: float = 1.0,
        initial_bias: float = 0.0,
        is_activated: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), initial_bias))
        self.scale = lr_mul / math.sqrt(in_features)
        self.lr_mul = lr_mul
        self.is_activated = is_activated

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in) to (N, out)."""
        x = functional.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return leaky_relu(x) if self.is_activated else x


class EqualConv(nn.Module):
    """Convolution without padding and bias, with the same scaling of its weights."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, in, H, W)."""
        return functional.conv2d(x, self.weight * self.scale, stride=self.stride)


class ModulatedConv(nn.Module):
    """Convolution whose filters are scaled by a style, another one for each sample.

    StyleGAN2 scales the input channels of the filters by s and then normalises each filter. Here
    the *input* is scaled by s and the *output* by the reciprocal of the norm: the same sums, with
    one filter for the whole batch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        is_demodulated: bool = True,
        is_upsampling: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(1, out_channels, in_channels, kernel_size, kernel_size)
        )
        self.modulation = EqualLinear(style_dim, in_channels, initial_bias=1.0)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.is_demodulated = is_demodulated
        self.is_upsampling = is_upsampling
        if is_upsampling:
            self.blur = FirResample(pad=(1, 1), gain=4.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve (N, in, H, W) under (N, style_dim); an upsampling one doubles the size."""
        weight = self.weight[0] * self.scale  # (out, in, k, k)
        modulation: Tensor = self.modulation(style)  # (N, in)
        x = x * modulation[:, :, None, None]
        if self.is_upsampling:
            x = self.blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.is_demodulated:
            energy = weight.square().sum(dim=(2, 3))  # (out, in)
            norm = torch.rsqrt(modulation.square() @ energy.T + EPSILON)  # (N, out)
            x = x * norm[:, :, None, None]
        return x


class FeatureInjection(nn.Module):
    """Brings an encoder map in where StyleGAN2 adds noise."""

    def __init__(self, *, isconcat: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.isconcat = isconcat

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """Set the map beside ``x``, or add it; both (N, C, H, W)."""
        feature = self.weight * feature
        return torch.cat((x, feature), dim=1) if self.isconcat else x + feature


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, an encoder map brought in, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        *,
        isconcat: bool = True,
        is_upsampling: bool = False,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(
            in_channels, out_channels, 3, style_dim, is_upsampling=is_upsampling
        )
        self.noise = FeatureInjection(isconcat=isconcat)
        self.activate = FusedLeakyReLU(out_channels * (2 if isconcat else 1))

    def forward(self, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
        """Convolve (N, in, H, W) under (N, style_dim) with a map of the output's size."""
        x = self.noise(self.conv(x, style), feature)
        activated: Tensor = self.activate(x)
        return activated


class ToRgb(nn.Module):
    """Reads a colour picture off the maps and adds the smaller picture, doubled in size."""

    def __init__(self, in_channels: int, style_dim: int, *, is_first: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, style_dim, is_demodulated=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if not is_first:
            self.upsample = FirResample(pad=(2, 1), up=2, gain=4.0)

    def forward(self, x: Tensor, style: Tensor, rgb: Tensor | None = None) -> Tensor:
        """Turn (N, in, H, W) into (N, 3, H, W); ``rgb`` is half as large."""
        picture: Tensor = self.conv(x, style) + self.bias
        return picture if rgb is None else picture + self.upsample(rgb)
