"""Restoring a film the plain way, frame by frame, as the usual scripts do.

Frames go to PNG files; each is read, searched by facexlib's RetinaFace, aligned by least median of
squares, restored by the official form of the network in fp32, and pasted with warps of the whole
picture; the results go to PNG files again and from there to a film, with the settings of our
encoder. Loading networks is not part of it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from av.video.stream import VideoStream
from facexlib.detection import init_detection_model

from vidrestore.benchmark.official_form import OfficialForm
from vidrestore.benchmark.ways import random_network
from vidrestore.models.registry import landmark_template, restorer_spec

DETECTOR_FILE = "detection_mobilenet0.25_Final.pth"
_THRESHOLD = 0.97

Picture = npt.NDArray[np.uint8]


class NaiveLoop:
    """The plain way.

    Args:
        model: A name of the registry; its weights are random.
        weights_dir: Folder that holds facexlib's detector.
    """

    def __init__(self, model: str, weights_dir: Path) -> None:
        if not (weights_dir / DETECTOR_FILE).is_file():  # facexlib would download it
            raise SystemExit(f"{weights_dir} does not hold {DETECTOR_FILE}")
        spec = restorer_spec(model)
        self._size = spec.size
        self._template = landmark_template(spec.template, spec.size)
        self._network = OfficialForm(random_network(spec))
        self._detector = init_detection_model(
            "retinaface_mobile0.25", device="cpu", model_rootpath=str(weights_dir)
        )

    def run(self, film: Path, target: Path, num_frames: int, folder: Path) -> int:
        """Restore the first frames of a film.

        Args:
            film: The film.
            target: Where the result goes.
            num_frames: How many.
            folder: For the pictures; empty.

        Returns:
            How many faces were restored.
        """
        rate = _pictures_of(film, num_frames, folder)
        num_faces = 0
        for path in sorted(folder.glob("in-*.png")):
            picture = _read(path)
            for landmarks in self._search(picture):
                picture = self._restored(picture, landmarks)
                num_faces += 1
            cv2.imwrite(str(path.with_name(path.name.replace("in-", "out-"))), picture)
        _film_of(sorted(folder.glob("out-*.png")), rate, target)
        return num_faces

    def _search(self, picture: Picture) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            rows = self._detector.detect_faces(picture, _THRESHOLD)
        return np.array([row[5:15].reshape(5, 2) for row in rows], np.float32).reshape(-1, 5, 2)

    def _restored(self, picture: Picture, landmarks: npt.NDArray[np.float32]) -> Picture:
        found, _ = cv2.estimateAffinePartial2D(landmarks, self._template, method=cv2.LMEDS)
        crop_from_picture = np.asarray(found, np.float64)
        crop = cv2.warpAffine(picture, crop_from_picture, (self._size, self._size))
        tensor = torch.from_numpy(crop[..., ::-1].copy()).permute(2, 0, 1)[None]
        with torch.inference_mode():
            drawn = self._network(tensor.float() / 127.5 - 1)[0]
        levels = ((drawn + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0)
        restored = np.ascontiguousarray(levels.numpy().astype(np.uint8)[..., ::-1])
        return self._pasted(picture, restored, crop_from_picture)

    def _pasted(
        self, picture: Picture, restored: Picture, crop_from_picture: npt.NDArray[np.float64]
    ) -> Picture:
        """Blend with a soft mask; everything has the size of the picture."""
        height, width = picture.shape[:2]
        picture_from_crop = cv2.invertAffineTransform(crop_from_picture)
        whole = cv2.warpAffine(restored, picture_from_crop, (width, height))
        ones = np.ones((self._size, self._size), np.float32)
        mask = cv2.warpAffine(ones, picture_from_crop, (width, height))
        edge = max(1, int(np.sqrt(mask.sum())) // 20)
        mask = cv2.erode(mask, np.ones((2 * edge, 2 * edge), np.uint8))
        mask = cv2.GaussianBlur(mask, (2 * edge + 1, 2 * edge + 1), 0)[..., None]
        return np.asarray(mask * whole + (1 - mask) * picture, np.uint8)


def _pictures_of(film: Path, num_frames: int, folder: Path) -> Fraction:
    with av.open(str(film)) as source:
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        for k, frame in zip(range(num_frames), source.decode(stream), strict=False):
            cv2.imwrite(str(folder / f"in-{k:06}.png"), frame.to_ndarray(format="bgr24"))
        return stream.guessed_rate or Fraction(25)


def _film_of(pictures: list[Path], rate: Fraction, target: Path) -> None:
    """Code pictures as ours does: x264, crf 18, preset medium."""
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"  # as ours; PyAV would choose slices
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = _read(pictures[0]).shape[:2]
        for k, path in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(_read(path), "bgr24")
            frame.pts, frame.time_base = k, 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture, np.uint8)
