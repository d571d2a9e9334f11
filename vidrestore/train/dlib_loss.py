"""Identity loss: how far apart dlib's embedding sees two faces.

Source: dlib's ``get_face_chip`` for how the face must lie.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.contracts import Points
from vidrestore.core.geometry import area_scale, invert_affine, similarity_transform
from vidrestore.errors import WeightsNotFoundError
from vidrestore.models.dlib_file import read_weights
from vidrestore.models.dlib_network import DlibNetwork
from vidrestore.models.identity import CHIP_LANDMARKS, CHIP_SIZE, weights_file


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


def installed_network() -> DlibNetwork:
    """Make the network of the installed package's numbers.

    Raises:
        WeightsNotFoundError: The package is not installed.
        WeightsCorruptError: Its file is damaged.
    """
    path = weights_file()
    if path is None:
        raise WeightsNotFoundError(
            "the identity loss 'dlib' needs the package face-recognition-models: run "
            "pip install 'vidrestore[train]', or leave out identity and identity_weight"
        )
    return DlibNetwork(read_weights(path))
