"""Finds faces with RetinaFace: from the network's outputs to observations.

Source: Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild" (2019); prior
boxes, their variances and the decoding of offsets as in Liu et al., "SSD" (2016), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from vidrestore.contracts import FaceObservation, RGBImage
from vidrestore.models.registry import DetectorSpec
from vidrestore.models.retinaface_network import Floats, OpenVinoNetwork, RawFaces, TorchNetwork
from vidrestore.models.weights import verify
from vidrestore.settings import Precision, Runtime

# (step of the feature map, sides of the two square priors in each of its cells), pixels
_PRIOR_LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
_CENTER_VARIANCE = 0.1
_SIZE_VARIANCE = 0.2
_NMS_IOU = 0.4
_MAX_CANDIDATES = 1000


class RetinaFaceDetector:
    """Implements ``contracts.FaceDetector``; to be used by one thread at a time."""

    def __init__(self, network: RawFaces, threshold: float) -> None:
        """Wrap a network.

        Args:
            network: What ``build_detector`` made.
            threshold: Least score, 0..1, of a face that is returned.
        """
        self._network = network
        self._least_margin = math.log(threshold / (1 - threshold))
        self.description = network.description
        self.batch_size = network.batch_size
        """How many pictures one call does best with."""

    def detect(self, images: Sequence[RGBImage]) -> list[tuple[FaceObservation, ...]]:
        """Find the faces of each picture; see ``contracts.FaceDetector.detect``.

        Raises:
            DeviceError: The device gave out.
        """
        if not images:
            return []
        height, width, _ = images[0].shape
        priors = prior_boxes(height, width)
        return [
            _observations(*raw, priors, self._least_margin) for raw in self._network.run(images)
        ]

    def close(self) -> None:
        """Free the device."""
        self._network.close()


@lru_cache(maxsize=8)
def prior_boxes(height: int, width: int) -> Floats:
    """Return the priors of a picture in the order of the network's outputs.

    Source: SSD, section 2.2; one cell for each started ``step`` pixels, two squares in each.

    Returns:
        Shape (P, 3), float32, pixels: centre x, centre y, side.
    """
    levels = []
    for step, sides in _PRIOR_LEVELS:
        rows, columns = math.ceil(height / step), math.ceil(width / step)
        level = np.empty((rows, columns, len(sides), 3), dtype=np.float32)
        level[..., 0] = ((np.arange(columns) + 0.5) * step)[None, :, None]
        level[..., 1] = ((np.arange(rows) + 0.5) * step)[:, None, None]
        level[..., 2] = sides
        levels.append(level.reshape(-1, 3))
    priors = np.concatenate(levels)
    priors.flags.writeable = False  # shared by all who ask for this size
    return priors


def decode_boxes(offsets: Floats, priors: Floats) -> Floats:
    """Turn box offsets (K, 4) into left, top, right, bottom; SSD, equation 2.

    >>> decode_boxes(np.zeros((1, 4), np.float32), np.array([[20, 20, 16]], np.float32)).tolist()
    [[12.0, 12.0, 28.0, 28.0]]
    """
    centers = priors[:, :2] + offsets[:, :2] * (_CENTER_VARIANCE * priors[:, 2:])
    half = priors[:, 2:] * np.exp(offsets[:, 2:] * _SIZE_VARIANCE) / 2
    return np.concatenate((centers - half, centers + half), axis=1)


def decode_landmarks(offsets: Floats, priors: Floats) -> Floats:
    """Turn landmark offsets (K, 10) into points (K, 5, 2); same scale as the box centres."""
    scale = _CENTER_VARIANCE * priors[:, None, 2:]
    return priors[:, None, :2] + offsets.reshape(-1, 5, 2) * scale


def suppress_overlaps(boxes_xyxy: Floats, max_iou: float) -> list[int]:
    """Return the indices kept by greedy non-maximum suppression.

    One pass for each face that is kept: for the usual few faces as fast as
    ``torchvision.ops.nms``, and without importing it.

    Args:
        boxes_xyxy: Shape (K, 4), best score first.
        max_iou: A box whose intersection over union with a better one is above this goes.
    """
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    areas = (high - low).prod(axis=1)
    left = np.arange(len(boxes_xyxy))
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[left]) - np.maximum(low[best], low[left])
        overlap = np.maximum(sides, 0).prod(axis=1)
        left = left[overlap <= max_iou * (areas[best] + areas[left] - overlap)]
    return kept


def _observations(
    boxes: Floats, logits: Floats, landmarks: Floats, priors: Floats, least_margin: float
) -> tuple[FaceObservation, ...]:
    """Decode one picture's outputs, but only for the few priors that are sure enough."""
    margins = logits[:, 1] - logits[:, 0]  # softmax of two is the logistic of their difference
    sure = np.flatnonzero(margins >= least_margin)
    sure = sure[np.argsort(-margins[sure], kind="stable")][:_MAX_CANDIDATES]
    boxes_xyxy = decode_boxes(boxes[sure], priors[sure])
    points = decode_landmarks(landmarks[sure], priors[sure])
    return tuple(
        FaceObservation(
            box_xyxy=boxes_xyxy[i],
            landmarks=points[i],
            score=1 / (1 + math.exp(-float(margins[sure[i]]))),
        )
        for i in suppress_overlaps(boxes_xyxy, _NMS_IOU)
    )


def build_detector(
    spec: DetectorSpec,
    weights: Path,
    *,
    threshold: float,
    cache_dir: Path,
    device: str = "cpu",
    runtime: Runtime = Runtime.AUTO,
    precision: Precision = Precision.AUTO,
    allow_unverified: bool = False,
) -> tuple[RetinaFaceDetector, list[str]]:
    """Make a detector ready to use; nothing is downloaded.

    Args:
        spec: The model.
        weights: Its file, from ``WeightsStore.locate``; checked before it is opened.
        threshold: Least score, 0..1, of a face that is returned.
        cache_dir: Where networks converted to OpenVINO are kept.
        device: ``auto`` (CUDA if there is a device, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or
            ``mps``.
        runtime: AUTO takes OpenVINO on a CPU and torch elsewhere. What compiles the restoring
            network leaves this one as it is: it would be compiled for each size of picture.
        precision: AUTO is float32. bfloat16 finds the same faces, but moves their landmarks by
            0.3 px (median, at most 2.9), and took longer: 13.8 against 9.4 ms at 640×480 on two
            cores of a Xeon with AVX512-BF16.
        allow_unverified: Load weights whose SHA-256 is not known.

    Returns:
        The detector, and what was chosen, one sentence each.

    Raises:
        DeviceError: The device or runtime cannot be had.
        WeightsError: The weights are damaged, unknown, or of another network.
    """
    verify(weights, spec.weights, allow_unverified=allow_unverified)
    is_openvino = runtime is Runtime.OPENVINO or (runtime is Runtime.AUTO and device == "cpu")
    if not (is_openvino and device in ("auto", "cpu")):
        from vidrestore.models.devices import choose_device, choose_runtime  # late: torch is slow

        chosen = choose_device(device, runtime)
        is_openvino = choose_runtime(runtime, chosen) is Runtime.OPENVINO
        device = str(chosen)
    if precision is Precision.AUTO:
        precision = Precision.FP32
    network: RawFaces
    if is_openvino:
        network = OpenVinoNetwork(spec, weights, cache_dir, precision)
    else:
        network = TorchNetwork(spec, weights, device, precision)
    detector = RetinaFaceDetector(network, threshold)
    return detector, [f"detector: {detector.description}"]
