"""Whether two pictures show the same person: dlib's embedding, from installed packages.

Davis King's ResNet of 29 convolutions gives a face 128 numbers; of one person's pictures they are
less than about 0.6 apart. It knows young children and East Asian faces less well.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from vidrestore.contracts import Embedding, Points, RGBImage
from vidrestore.core.geometry import similarity_transform
from vidrestore.errors import DeviceError
from vidrestore.models.installed import packaged_file

_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
MISSING = "the identity distance needs the packages dlib-bin and face-recognition-models"

CHIP_SIZE = 150
# The mean face of dlib's get_face_chip with its usual padding of a quarter: eyes as the mean of
# six points each, tip of the nose, corners of the mouth.
CHIP_LANDMARKS = np.array(
    [[47.55, 46.60], [100.48, 46.60], [74.01, 76.56], [50.41, 103.02], [97.61, 103.02]], np.float32
)


class DlibIdentity:
    """Describes faces by 128 numbers (a ``FaceEmbedder``); about 0.13 s each."""

    size = CHIP_SIZE
    template: Points = CHIP_LANDMARKS
    description = "dlib's embedding"
    sha256 = _SHA256

    def __init__(self, path: Path) -> None:
        """Read the weights; their hash must have been checked.

        Raises:
            DeviceError: dlib is there but does not load.
        """
        try:
            import dlib  # late: it is optional
        except ImportError as error:
            raise DeviceError(
                f"dlib is installed but does not load ({error}): reinstall it with "
                "pip install --force-reinstall dlib-bin"
            ) from error
        self._network: Any = dlib.face_recognition_model_v1(str(path))

    @classmethod
    def installed(cls) -> Self | None:
        """Return the metric; None if dlib or the package with its weights is not installed.

        Raises:
            WeightsCorruptError: The weights are not what they should be.
            DeviceError: dlib is there but does not load.
        """
        path = None if find_spec("dlib") is None else cls.weights_file()
        return None if path is None else cls(path)

    @staticmethod
    def weights_file() -> Path | None:
        """Return the installed package's weights, checked; None if it is not installed.

        Raises:
            WeightsCorruptError: They are not what they should be.
        """
        return packaged_file("face_recognition_models", _FILE, _SHA256)

    def embed(self, image: RGBImage, landmarks: Points) -> Embedding:
        """Return the 128 numbers of a face.

        Args:
            image: Shape (H, W, 3), uint8 RGB.
            landmarks: Where its face is.
        """
        return self.describe(face_chip(image, landmarks))

    def describe(self, chip: RGBImage) -> Embedding:
        """Return the 128 numbers of a face cut out as ``face_chip`` does."""
        return np.array(self._network.compute_face_descriptor(chip), np.float64)


def face_chip(image: RGBImage, landmarks: Points) -> RGBImage:
    """Cut out a face in the pose that dlib's network was trained on, (150, 150, 3)."""
    chip_from_image = similarity_transform(landmarks, CHIP_LANDMARKS)
    if chip_from_image is None:
        raise ValueError(f"no face can be cut out at {landmarks.tolist()}")
    shrink = float(np.hypot(chip_from_image[0, 0], chip_from_image[1, 0]))
    if shrink < 1:  # a low-pass, so that nothing aliases
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(1 / shrink**2 - 1) + 1e-6)  # type: ignore[assignment]
    return np.asarray(
        cv2.warpAffine(
            image,
            chip_from_image,
            (CHIP_SIZE, CHIP_SIZE),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        np.uint8,
    )
