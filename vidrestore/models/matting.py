"""Cuts people out with MODNet, whose network class facexlib carries; its downloads are not used.

Source: Ke et al. 2022, "MODNet: Real-Time Trimap-Free Portrait Matting via Objective
Decomposition" (AAAI); pictures go in as RGB in -1..1, with sides that 32 divides.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.core.colour import FloatPlane
from vidrestore.errors import WeightsCorruptError, WeightsNotFoundError
from vidrestore.models.registry import MATTING, WeightsFile
from vidrestore.models.weights import WeightsStore, read_state

if TYPE_CHECKING:
    import torch

_STEP = 32
_SHORT_SIDE = 512
"""What the network was trained on."""


def find_matting(
    named: Path | None, weights_dir: Path | None, *, allow_unverified: bool = False
) -> Path | None:
    """Return the file of the weights: the one that is named, else the one installed, else None.

    Without a known SHA-256 an installed file is taken only with ``allow_unverified``.

    Raises:
        WeightsNotFoundError: The named file does not exist.
        SettingsError: The folder does not exist.
    """
    if named is None:
        is_trusted = allow_unverified or MATTING.weights.sha256 is not None
        return WeightsStore(weights_dir).find(MATTING) if is_trusted else None
    if not named.is_file():
        raise WeightsNotFoundError(f"the matting weights {named} do not exist")
    return named


class PortraitMatting:
    """MODNet on the CPU; one picture takes about a second."""

    description = "MODNet"

    def __init__(self, path: Path, *, allow_unverified: bool = False) -> None:
        """Read the weights.

        Args:
            path: ``.pth`` or ``.safetensors``.
            allow_unverified: Take a file that could carry code and whose SHA-256 is not known.

        Raises:
            WeightsError: The file may not be opened.
            WeightsCorruptError: It holds other weights.
        """
        from facexlib.matting.modnet import MODNet

        known = MATTING.weights
        file = WeightsFile(path.name, known.sha256, None, None, known.licence, True)
        state = read_state(path, file, allow_unverified=allow_unverified)
        self._network: torch.nn.Module = MODNet(backbone_pretrained=False).eval()
        try:
            self._network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
        except RuntimeError as error:
            raise WeightsCorruptError(f"{path} does not hold the weights of MODNet") from error

    def cut_out(self, picture: RGBImage) -> FloatPlane:
        """Say how much of each pixel is the person.

        Args:
            picture: Shape (H, W, 3).

        Returns:
            Shape (H, W), float32, 0..1.
        """
        import torch

        height, width = picture.shape[:2]
        scale = _SHORT_SIDE / min(height, width)
        size = _whole_steps(width * scale), _whole_steps(height * scale)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        fitted = cv2.resize(picture, size, interpolation=how).astype(np.float32) / 127.5 - 1
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(fitted.transpose(2, 0, 1)))[None]
            matte = self._network(batch, True)[2]  # (1, 1, H, W)
        alpha = cv2.resize(matte[0, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(alpha.clip(0, 1), np.float32)


def _whole_steps(length: float) -> int:
    return max(1, round(length / _STEP)) * _STEP
