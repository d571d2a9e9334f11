"""Between 8-bit crops and the network's numbers, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from vidrestore.settings import Precision

DTYPES: Mapping[Precision, torch.dtype] = MappingProxyType(
    {
        Precision.FP32: torch.float32,
        Precision.FP16: torch.float16,
        Precision.BF16: torch.bfloat16,
    }
)


def normalise_crops(crops: Tensor) -> Tensor:
    """Turn uint8 crops (N, S, S, 3) into pictures (N, 3, S, S), float32 in [-1, 1]."""
    return crops.permute(0, 3, 1, 2).float() / 127.5 - 1


def quantise_pictures(pictures: Tensor) -> Tensor:
    """Turn pictures (N, 3, S, S) in [-1, 1] into uint8 crops (N, S, S, 3): clamped and rounded.

    (The official code cuts off instead of rounding, which darkens by half a level.)
    """
    levels = (pictures * 127.5 + 127.5).clamp(0, 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class CropNetwork(nn.Module):
    """A network from 8-bit crops to 8-bit crops; conversion inside costs nothing measurable.

    Args:
        network: Maps (N, 3, S, S) in [-1, 1] to the same.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        """Restore uint8 crops (N, S, S, 3)."""
        return quantise_pictures(self.network(normalise_crops(crops)))
