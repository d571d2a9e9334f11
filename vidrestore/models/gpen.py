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

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidrestore.errors import WeightsError
from vidrestore.models.gpen_layers import (
    EqualConv,
    EqualLinear,
    FirResample,
    FusedLeakyReLU,
    PixelNorm,
    StyledConv,
    ToRgb,
    binomial_kernel,
)
from vidrestore.models.gpen_widths import num_channels


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
        picture: Tensor = self.generator(code, features)
        return picture

    def _noise(self, image: Tensor) -> list[Tensor]:
        sides = [side for side in self.channels if side > self.in_size for _ in range(2)]
        return [image.new_empty(len(image), self.channels[s], s, s).normal_() for s in sides]


def _encoder_stages(channels: Mapping[int, int], in_size: int) -> list[nn.Sequential]:
    """Build the stages; each is nested once more than it needs, as in the published names."""
    first = channels[in_size]
    stages = [nn.Sequential(EqualConv(3, first, 1), FusedLeakyReLU(first))]
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
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise WeightsError(f"not weights of this GPEN: '{key}' is missing or not numbers")
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
        f"{name}.kernel": binomial_kernel(module.gain)
        for name, module in network.named_modules()
        if isinstance(module, FirResample)
    }
