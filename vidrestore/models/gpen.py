"""GPEN, the network that restores an aligned face, in plain PyTorch.

An encoder halves the picture down to 4×4 and ends in a vector; a StyleGAN2 decoder grows the
picture again, modulated by that vector, with the encoder's maps where StyleGAN2 has noise.
Parameters have the names and shapes of the published files, so that those load key for key.

This is the form for training and reference: differentiable, float32, weights as stored. The form
for use is :mod:`vidrestore.models.gpen_folded`.

Sources: Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild", CVPR
2021 (arXiv 2105.06070); Karras et al., "Analyzing and Improving the Image Quality of StyleGAN",
CVPR 2020 (arXiv 1912.04958), appendix B for modulation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.errors import WeightsError

_BINOMIAL = (1.0, 3.0, 3.0, 1.0)
EPSILON = 1e-8
"""Keeps norms away from zero; below the smallest fp16 number, hence the style path in fp32."""


def num_channels(resolution: int, channel_multiplier: int, narrow: float) -> int:
    """Return how many channels the maps of ``resolution`` × ``resolution`` have."""
    if resolution <= 32:
        return int(512 * narrow)
    return int(16384 * channel_multiplier * narrow / resolution)


def binomial_kernel(gain: float = 1.0) -> Tensor:
    """Return the 4×4 low-pass filter of every resampling here, summing to ``gain``, float32."""
    taps = torch.tensor(_BINOMIAL)
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
        x = functional.pad(
            x.reshape(n, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1)
        )
        x = x.reshape(n, channels, height * up, width * up)
    before, after = pad
    x = functional.pad(x, (before, after, before, after))
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x, weight, stride=down, groups=channels)


class FirResample(nn.Module):
    """Low-pass filter, with an optional doubling of the size before it."""

    kernel: Tensor

    def __init__(self, *, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.up = up
        self.register_buffer("kernel", binomial_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn(x, self.kernel, up=self.up, down=1, pad=self.pad)


class FusedLeakyReLU(nn.Module):
    """√2 · leaky_relu(x + bias, 0.2): keeps the variance of a unit-variance input."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias.view(1, -1, *[1] * (x.ndim - 2))
        return functional.leaky_relu(x + bias, 0.2) * math.sqrt(2)


class PixelNorm(nn.Module):
    """Scales each vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class EqualLinear(nn.Module):
    """Linear layer whose weights are stored with unit variance and scaled when used.

    (Karras et al., "Progressive Growing of GANs", ICLR 2018, section 4.1.) ``lr_mul`` below 1 makes
    the layer learn more slowly: it is stored that much larger than it acts.
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
        x = functional.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return functional.leaky_relu(x, 0.2) * math.sqrt(2) if self.is_activated else x


class EqualConv(nn.Module):
    """Convolution without bias whose weights are stored with unit variance and scaled when used."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.scale, stride=self.stride)


class ModulatedConv(nn.Module):
    """Convolution whose filters are scaled by a style, one set of scales for each sample.

    StyleGAN2 scales the filters' input channels by s and then normalises each filter. Here the
    *input* is scaled by s and the *output* by the norm's reciprocal: the same sums, but one shared
    filter for the whole batch.
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
        """Convolve (N, in, H, W) under (N, style_dim); doubles the size if it is upsampling."""
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
        isconcat: bool,
        is_upsampling: bool = False,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(
            in_channels, out_channels, 3, style_dim, is_upsampling=is_upsampling
        )
        self.noise = FeatureInjection(isconcat=isconcat)
        self.activate = FusedLeakyReLU(out_channels * (2 if isconcat else 1))

    def forward(self, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, style), feature))  # type: ignore[no-any-return]


class ToRgb(nn.Module):
    """Reads a colour picture off the maps and adds the smaller picture, doubled in size."""

    def __init__(self, in_channels: int, style_dim: int, *, is_first: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, style_dim, is_demodulated=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if not is_first:
            self.upsample = FirResample(pad=(2, 1), up=2, gain=4.0)

    def forward(self, x: Tensor, style: Tensor, rgb: Tensor | None = None) -> Tensor:
        picture: Tensor = self.conv(x, style) + self.bias
        return picture if rgb is None else picture + self.upsample(rgb)


class ConstantInput(nn.Module):
    """The learnt 4×4 maps that the decoder starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Decoder(nn.Module):
    """StyleGAN2's generator with encoder maps for noise."""

    def __init__(
        self, channels: Mapping[int, int], style_dim: int, n_mlp: int, *, isconcat: bool
    ) -> None:
        super().__init__()
        fan = 2 if isconcat else 1
        self.style = nn.Sequential(
            PixelNorm(),
            *(
                EqualLinear(style_dim, style_dim, lr_mul=0.01, is_activated=True)
                for _ in range(n_mlp)
            ),
        )
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledConv(channels[4], channels[4], style_dim, isconcat=isconcat)
        self.to_rgb1 = ToRgb(fan * channels[4], style_dim, is_first=True)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for resolution in sorted(channels)[1:]:
            before, here = fan * channels[resolution // 2], channels[resolution]
            self.convs.append(
                StyledConv(before, here, style_dim, isconcat=isconcat, is_upsampling=True)
            )
            self.convs.append(StyledConv(fan * here, here, style_dim, isconcat=isconcat))
            self.to_rgbs.append(ToRgb(fan * here, style_dim))

    def forward(self, code: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Draw the picture.

        Args:
            code: The encoder's vector, shape (N, style_dim).
            features: A map for each styled convolution, of sides 4, 8, 8, 16, 16, ….
        """
        style = self.style(code)
        x = self.input.input.expand(len(code), -1, -1, -1)
        x = self.conv1(x, style, features[0])
        rgb: Tensor = self.to_rgb1(x, style)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, style, features[2 * i + 1])
            x = self.convs[2 * i + 1](x, style, features[2 * i + 2])
            rgb = to_rgb(x, style, rgb)
        return rgb


class Gpen(nn.Module):
    """The whole network.

    Args:
        size: Side of the output in pixels, a power of two from 8 to 2048.
        style_dim: Length of the style vector.
        n_mlp: Layers between the encoder's vector and the style.
        channel_multiplier: Factor on the channels of maps larger than 32×32.
        narrow: Factor on all channels.
        isconcat: Encoder maps stand beside the decoder's (all published models); False adds them.
        in_size: Side of the input in pixels if smaller than ``size``. The decoder then has levels
            without an encoder map, which get normal noise, so the result differs from call to call.
    """

    def __init__(
        self,
        size: int,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: int = 2,
        narrow: float = 1.0,
        *,
        isconcat: bool = True,
        in_size: int | None = None,
    ) -> None:
        super().__init__()
        in_size = size if in_size is None else in_size
        for side in (size, in_size):
            if side not in (8, 16, 32, 64, 128, 256, 512, 1024, 2048):
                raise ValueError(f"side {side}: GPEN takes powers of two from 8 to 2048")
        if in_size > size:
            raise ValueError(f"the input ({in_size}) is larger than the output ({size})")
        self.size = size
        self.in_size = in_size
        self.style_dim = style_dim
        self.isconcat = isconcat
        sides = [2**i for i in range(2, size.bit_length())]
        self.channels = {side: num_channels(side, channel_multiplier, narrow) for side in sides}
        for j, stage in enumerate(_encoder_stages(self.channels, in_size)):
            self.add_module(f"ecd{j}", stage)
        self.final_linear = nn.Sequential(
            EqualLinear(self.channels[4] * 16, style_dim, is_activated=True)
        )
        self.generator = Decoder(self.channels, style_dim, n_mlp, isconcat=isconcat)

    @property
    def encoder(self) -> list[nn.Sequential]:
        """The encoder's stages in order: a 1×1 convolution, then each halves the side."""
        stages = (getattr(self, f"ecd{j}") for j in range(self.in_size.bit_length() - 2))
        return [stage[0] for stage in stages]

    def forward(self, image: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Restore faces.

        Args:
            image: Shape (N, 3, in_size, in_size), RGB in [-1, 1].
            noise: Only for ``in_size`` < ``size``: the maps for the levels above the input's size,
                two for each level, shape (N, C, S, S); drawn afresh when None.

        Returns:
            Shape (N, 3, size, size), RGB, [-1, 1] nominally, not clamped.
        """
        if image.shape[1:] != (3, self.in_size, self.in_size):
            side = self.in_size
            raise ValueError(f"expected (N, 3, {side}, {side}), got {tuple(image.shape)}")
        maps = []
        x = image
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        code: Tensor = self.final_linear(x.flatten(1))
        features = [m for m in reversed(maps) for _ in range(2)][1:]
        features += self._noise(image) if noise is None else noise
        return self.generator(code, features)  # type: ignore[no-any-return]

    def _noise(self, image: Tensor) -> list[Tensor]:
        sides = [side for side in self.channels if side > self.in_size for _ in range(2)]
        return [image.new_empty(len(image), self.channels[s], s, s).normal_() for s in sides]


def _encoder_stages(channels: Mapping[int, int], in_size: int) -> list[nn.Sequential]:
    """Build the stages; each is nested once more than it needs, as in the published names."""
    first = channels[in_size]
    stages = [nn.Sequential(EqualConv(3, first, 1, stride=1), FusedLeakyReLU(first))]
    side = in_size
    while side > 4:
        before, here = channels[side], channels[side // 2]
        stages.append(
            nn.Sequential(
                FirResample(pad=(2, 2)), EqualConv(before, here, 3, stride=2), FusedLeakyReLU(here)
            )
        )
        side //= 2
    return [nn.Sequential(stage) for stage in stages]


def load_gpen_state(network: Gpen, state: Mapping[str, Any]) -> None:
    """Put published weights into a network.

    Accepts the state dict alone, or a training checkpoint that holds it as ``g_ema``; names with or
    without the prefix ``module.``; with or without the blur kernels, which are constants; any float
    type. A network on the meta device takes the tensors over without a copy where it can.

    Raises:
        WeightsError: A key is missing or unknown, or a shape differs; the text names the first.
    """
    found = state.get("g_ema", state)
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise WeightsError("not GPEN weights: 'g_ema' is not a state dict")
    if found and all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    expected = network.state_dict()
    kernels = _constant_kernels(network)
    tensors = {}
    for key, target in expected.items():
        value = found.get(key, kernels.get(key))
        if not isinstance(value, Tensor):
            raise WeightsError(f"not weights of this GPEN: '{key}' is missing")
        if value.shape != target.shape:
            have, want = tuple(value.shape), tuple(target.shape)
            raise WeightsError(f"not weights of this GPEN: '{key}' has shape {have}, needs {want}")
        tensors[key] = value.detach().to(torch.float32)
    unknown = next((key for key in found if key not in expected), None)
    if unknown is not None:
        raise WeightsError(f"not weights of this GPEN: it has no '{unknown}'")
    network.load_state_dict(tensors, assign=network.generator.input.input.is_meta)


def _constant_kernels(network: Gpen) -> dict[str, Tensor]:
    """Return the blur kernels of a network by their names in its state dict."""
    return {
        f"{name}.kernel": binomial_kernel(4.0 if name.startswith("generator.") else 1.0)
        for name, module in network.named_modules()
        if isinstance(module, FirResample)
    }
