"""GPEN ready for use: constants folded, styles in fp32, convolutions in any float type.

The same function as :class:`vidrestore.models.gpen.Gpen`, rewritten so that a picture costs less:

* the scales of the equalised layers, the √2 of the activations and the sums of squares that
  demodulation needs are multiplied out once;
* √2·lrelu(v) = lrelu(√2·v), so the √2 goes into weights, biases and norms;
* decoder maps and encoder maps are never joined: the next convolution is split in two instead
  (5 % less CPU time at 256 than joining them);
* all modulations come from one matrix product;
* doubling the RGB picture is a 3×3 convolution to 12 channels and a pixel shuffle.

Styles and the sum of RGB pictures stay in fp32 whatever the convolutions use: 1e-8 is nothing in
fp16, and in bf16 they alone cost 1 to 4 dB of the 8-bit result. There is no control flow on
values, so the network can be traced.
"""

from __future__ import annotations

import copy
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
    EqualLinear,
    FirResample,
    FusedLeakyReLU,
    ModulatedConv,
    StyledConv,
    ToRgb,
)

_SQRT2 = math.sqrt(2)


def _lrelu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _depthwise(kernel: Tensor, channels: int) -> Tensor:
    """Turn a FIR kernel into the weights of a depth-wise convolution, (channels, 1, kh, kw)."""
    return kernel.flip(0, 1).expand(channels, 1, -1, -1).contiguous()


def _doubling_weight(kernel: Tensor) -> Tensor:
    """Return the 3×3 convolution before a pixel shuffle that doubles an RGB picture.

    Output sample o is Σₜ k[t]·u[o - 2 + t] per axis, u being the picture with a zero after each
    sample (pad 2 before): only every second tap meets a sample.

    Args:
        kernel: FIR kernel of shape (4, 4), gain 4.

    Returns:
        Shape (12, 3, 3, 3): for each colour four phases, each reading its own colour only.
    """
    taps = kernel.flip(0, 1)
    phases = kernel.new_zeros(2, 2, 3, 3)
    for a in range(2):
        for b in range(2):
            phases[a, b, a : a + 2, b : b + 2] = taps[a::2, b::2]
    weight = kernel.new_zeros(3, 2, 2, 3, 3, 3)
    for colour in range(3):
        weight[colour, :, :, colour] = phases
    return weight.reshape(12, 3, 3, 3)


class _EncoderStage(nn.Module):
    """Convolution and activation; all but the first low-pass and halve."""

    weight: Tensor
    bias: Tensor
    kernel: Tensor | None

    def __init__(self, stage: nn.Sequential) -> None:
        super().__init__()
        conv, activate = cast(EqualConv, stage[-2]), cast(FusedLeakyReLU, stage[-1])
        fir = cast(FirResample, stage[0]).kernel if len(stage) == 3 else None
        self.stride = conv.stride
        self.register_buffer("weight", conv.weight * (conv.scale * _SQRT2))
        self.register_buffer("bias", activate.bias * _SQRT2)
        channels = conv.weight.shape[1]
        self.register_buffer("kernel", None if fir is None else _depthwise(fir, channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel is not None:
            x = functional.conv2d(x, self.kernel, padding=2, groups=x.shape[1])
        return _lrelu(functional.conv2d(x, self.weight, self.bias, stride=self.stride))


class _Linear(nn.Module):
    """Linear layer in fp32."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


def _activated(linear: EqualLinear) -> nn.Sequential:
    """Fold a linear layer with its activation."""
    weight = linear.weight * (linear.scale * _SQRT2)
    return nn.Sequential(
        _Linear(weight, linear.bias * (linear.lr_mul * _SQRT2)), nn.LeakyReLU(SLOPE)
    )


class _StylePath(nn.Module):
    """From the encoder's last map to the factors of every convolution, in fp32."""

    def __init__(self, network: Gpen, layers: list[StyledConv], to_rgbs: list[ToRgb]) -> None:
        super().__init__()
        norm, *mlp = network.generator.style
        linears = [cast(EqualLinear, linear) for linear in (network.final_linear[0], *mlp)]
        first, *rest = (_activated(linear) for linear in linears)
        self.mapping = nn.Sequential(first, norm, *rest)
        convs: list[ModulatedConv] = [*(p.conv for p in layers), *(p.conv for p in to_rgbs)]
        heads = [conv.modulation for conv in convs]
        self.heads = _Linear(
            torch.cat([head.weight * head.scale for head in heads]),
            torch.cat([head.bias * head.lr_mul for head in heads]),
        )
        self.widths = [len(head.bias) for head in heads]
        # √2 / sqrt(s²·E + ε) = 1 / sqrt(s²·(E/2) + ε/2)
        for i, layer in enumerate(layers):
            energy = (layer.conv.weight[0] * layer.conv.scale).square().sum(dim=(2, 3)) / 2
            self.register_buffer(f"energy{i}", energy.T.contiguous())
        self.num_layers = len(layers)

    def forward(self, code: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the modulations of all layers and RGB heads, and the layers' norms; (N, C, 1, 1).

        ``code`` is the flattened map, shape (N, 16·C).
        """
        styles = self.heads(self.mapping(code))
        modulations = torch.split(styles, self.widths, dim=1)
        norms = [
            torch.rsqrt(s.square() @ getattr(self, f"energy{i}") + EPSILON / 2)
            for i, s in enumerate(modulations[: self.num_layers])
        ]
        return [s[:, :, None, None] for s in modulations], [d[:, :, None, None] for d in norms]


class _StyledLayer(nn.Module):
    """Modulated convolution of the decoder's and the encoder's maps, then activation of both."""

    x_weight: Tensor
    feature_weight: Tensor | None
    kernel: Tensor | None
    x_bias: Tensor
    feature_bias: Tensor
    feature_gain: Tensor

    def __init__(self, layer: StyledConv, num_x: int) -> None:
        super().__init__()
        weight = layer.conv.weight[0] * layer.conv.scale  # (out, in, 3, 3)
        num_out = len(weight)
        self.is_upsampling = layer.conv.is_upsampling
        fir = layer.conv.blur.kernel if self.is_upsampling else None
        self.register_buffer("kernel", None if fir is None else _depthwise(fir, num_out))
        x_weight, feature_weight = weight[:, :num_x], weight[:, num_x:]
        if self.is_upsampling:
            x_weight, feature_weight = x_weight.transpose(0, 1), feature_weight.transpose(0, 1)
        self.register_buffer("x_weight", x_weight.contiguous())
        has_feature = weight.shape[1] > num_x
        self.register_buffer("feature_weight", feature_weight.contiguous() if has_feature else None)
        bias = layer.activate.bias * _SQRT2
        self.register_buffer("x_bias", bias[:num_out].view(1, -1, 1, 1))
        self.register_buffer("feature_bias", bias[num_out:].view(1, -1, 1, 1))
        self.register_buffer("feature_gain", (layer.noise.weight * _SQRT2).view(1, 1, 1, 1))

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.is_upsampling:
            return functional.conv_transpose2d(x, weight, stride=2)
        return functional.conv2d(x, weight, padding=1)

    def forward(
        self,
        x: Tensor,
        feature: Tensor | None,
        modulation: Tensor,
        norm: Tensor,
        encoder_map: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the next maps: the decoder's and the activated encoder map."""
        num_x = x.shape[1]
        y = self._convolve(x * modulation[:, :num_x], self.x_weight)
        if feature is not None and self.feature_weight is not None:
            y = y + self._convolve(feature * modulation[:, num_x:], self.feature_weight)
        if self.kernel is not None:
            y = functional.conv2d(y, self.kernel, padding=1, groups=y.shape[1])
        x = _lrelu(torch.addcmul(self.x_bias, y, norm))
        return x, _lrelu(torch.addcmul(self.feature_bias, encoder_map, self.feature_gain))


class _RgbHead(nn.Module):
    """1×1 convolution of both kinds of maps to RGB."""

    x_weight: Tensor
    feature_weight: Tensor
    bias: Tensor

    def __init__(self, to_rgb: ToRgb, num_x: int) -> None:
        super().__init__()
        weight = to_rgb.conv.weight[0] * to_rgb.conv.scale
        self.register_buffer("x_weight", weight[:, :num_x].contiguous())
        self.register_buffer("feature_weight", weight[:, num_x:].contiguous())
        self.register_buffer("bias", to_rgb.bias.detach().flatten())

    def forward(self, x: Tensor, feature: Tensor, modulation: Tensor) -> Tensor:
        num_x = x.shape[1]
        rgb = functional.conv2d(x * modulation[:, :num_x], self.x_weight, self.bias)
        return rgb + functional.conv2d(feature * modulation[:, num_x:], self.feature_weight)


class _DoubleRgb(nn.Module):
    """Doubles the RGB picture, in fp32."""

    weight: Tensor

    def __init__(self, fir: FirResample) -> None:
        super().__init__()
        self.register_buffer("weight", _doubling_weight(fir.kernel))

    def forward(self, rgb: Tensor) -> Tensor:
        return functional.pixel_shuffle(functional.conv2d(rgb, self.weight, padding=1), 2)


class FoldedGpen(nn.Module):
    """GPEN for inference; see the module's text.

    Args:
        network: Weights to fold; not changed, and not needed afterwards.

    Raises:
        ValueError: The network adds its encoder maps or enlarges: no published one does.
    """

    constant: Tensor

    def __init__(self, network: Gpen) -> None:
        super().__init__()
        if not network.isconcat or network.in_size != network.size:
            raise ValueError("only a GPEN with joined maps and equal sides can be folded")
        self.size = network.size
        generator = network.generator
        layers = [cast(StyledConv, layer) for layer in (generator.conv1, *generator.convs)]
        to_rgbs = [cast(ToRgb, head) for head in (generator.to_rgb1, *generator.to_rgbs)]
        widths = [layer.conv.weight.shape[1] for layer in layers]
        with torch.no_grad():
            self.style = _StylePath(network, layers, to_rgbs)
            self.doubling = nn.ModuleList(_DoubleRgb(head.upsample) for head in to_rgbs[1:])
            self.encoder = nn.ModuleList(_EncoderStage(stage) for stage in network.encoder)
            inputs = widths[:1] + widths[:-1]
            self.layers = nn.ModuleList(map(_StyledLayer, layers, inputs))
            self.rgb_heads = nn.ModuleList(map(_RgbHead, to_rgbs, widths[::2]))
            self.register_buffer("constant", generator.input.input.detach().clone())
        self._cast_convolutions(torch.float32)
        self.eval()

    def _cast_convolutions(self, dtype: torch.dtype) -> None:
        for part in (self.encoder, self.layers, self.rgb_heads):
            part.to(dtype=dtype).to(memory_format=torch.channels_last)
        self.constant = self.constant.to(dtype)

    def with_precision(self, dtype: torch.dtype) -> FoldedGpen:
        """Return a copy whose convolutions compute in ``dtype``; the rest stays in fp32."""
        network = copy.deepcopy(self)
        network._cast_convolutions(dtype)
        return network

    def forward(self, image: Tensor) -> Tensor:
        """Restore faces.

        Args:
            image: Shape (N, 3, S, S), RGB in [-1, 1], any float type.

        Returns:
            Shape (N, 3, S, S), float32, RGB, [-1, 1] nominally, not clamped.
        """
        dtype = self.constant.dtype
        maps = [image.to(dtype)]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        modulations, norms = self.style(maps[-1].flatten(1).float())
        modulations, norms = ([t.to(dtype) for t in ts] for ts in (modulations, norms))
        num_layers = len(self.layers)
        x, feature = self.layers[0](self.constant, None, modulations[0], norms[0], maps[-1])
        rgb: Tensor = self.rgb_heads[0](x, feature, modulations[num_layers]).float()
        for level, double in enumerate(self.doubling, start=1):
            for i in (2 * level - 1, 2 * level):
                encoder_map = maps[-1 - level]
                x, feature = self.layers[i](x, feature, modulations[i], norms[i], encoder_map)
            head = self.rgb_heads[level](x, feature, modulations[num_layers + level])
            rgb = double(rgb) + head.float()
        return rgb
