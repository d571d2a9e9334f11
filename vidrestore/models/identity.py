"""Whether two pictures show the same person: dlib's embedding, without dlib.

Davis King's network gives a face 128 numbers; of one person's pictures they are less than about
0.6 apart. It knows young children and East Asian faces less well. Its numbers (CC0) are read out of
the installed package ``face-recognition-models``, which is not imported, and computed by OpenVINO:
ten times as fast as dlib, and without holding Python's lock meanwhile.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from vidrestore.contracts import Embedding, Points, RGBImage
from vidrestore.core.geometry import similarity_transform
from vidrestore.errors import DeviceError
from vidrestore.models.installed import packaged_file
from vidrestore.models.openvino_runtime import cached_model, compile_model, load_openvino

if TYPE_CHECKING:
    from openvino import InferRequest, Model

_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
MISSING = "the identity distance needs the package face-recognition-models"

CHIP_SIZE = 150
# The mean face of dlib's get_face_chip with its usual padding of a quarter: eyes as the mean of
# six points each, tip of the nose, corners of the mouth.
CHIP_LANDMARKS = np.array(
    [[47.55, 46.60], [100.48, 46.60], [74.01, 76.56], [50.41, 103.02], [97.61, 103.02]], np.float32
)


class DlibIdentity:
    """Describes faces by 128 numbers (a ``FaceEmbedder``), on one thread; some 10 ms each.

    Several threads may ask at a time.
    """

    size = CHIP_SIZE
    template: Points = CHIP_LANDMARKS
    sha256 = _SHA256

    def __init__(self, path: Path, cache_dir: Path) -> None:
        """Convert the network, if ``cache_dir`` has no copy of it, and compile it.

        Args:
            path: dlib's file; its hash must have been checked.
            cache_dir: Where converted networks are kept.

        Raises:
            DeviceError: OpenVINO cannot run it here.
        """
        version = load_openvino().__version__.partition("-")[0]
        self.description = f"dlib's embedding, OpenVINO {version} on the CPU, f32"
        model = cached_model(
            "dlib-embedding", f"RGB 0..255; {_SHA256}", cache_dir, lambda: _to_openvino(path)
        )
        properties = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": 1,  # asked for now and then, by stages that share the cores
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._compiled = compile_model(model, properties)
        except RuntimeError as error:
            raise DeviceError("OpenVINO cannot run dlib's embedding on this CPU") from error
        self._idle: list[InferRequest] = []

    @classmethod
    def installed(cls, cache_dir: Path) -> Self | None:
        """Return the embedding; None if the package with its weights is not installed.

        Raises:
            WeightsCorruptError: The weights are not what they should be.
            DeviceError: OpenVINO cannot run it here.
        """
        path = weights_file()
        return None if path is None else cls(path, cache_dir)

    def embed(self, image: RGBImage, landmarks: Points) -> Embedding:
        """Return the 128 numbers of a face.

        Args:
            image: Shape (H, W, 3), uint8 RGB.
            landmarks: Where its face is.
        """
        return self.describe(face_chip(image, landmarks))

    def describe(self, chip: RGBImage) -> Embedding:
        """Return the 128 numbers of a face cut out as ``face_chip`` does."""
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        request.get_input_tensor().data[0] = chip.transpose(2, 0, 1)
        request.infer()
        embedding: Embedding = request.get_output_tensor().data[0].astype(np.float64)
        self._idle.append(request)
        return embedding


def weights_file() -> Path | None:
    """Return the installed package's weights, checked; None if it is not installed.

    Raises:
        WeightsCorruptError: They are not what they should be.
    """
    return packaged_file("face_recognition_models", _FILE, _SHA256)


def _to_openvino(path: Path) -> Model:
    import torch  # late: it takes seconds, and a converted network does without

    from vidrestore.models.dlib_file import read_weights
    from vidrestore.models.dlib_network import DlibNetwork

    example = torch.zeros(1, 3, CHIP_SIZE, CHIP_SIZE)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of its age, and of sizes that are constant
        model = load_openvino().convert_model(
            DlibNetwork(read_weights(path)).eval(), example_input=example
        )
    model.reshape(list(example.shape))
    return model


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
