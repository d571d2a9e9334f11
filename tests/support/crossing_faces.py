"""Encounters of ``motions`` with photographs: what an embedding sees of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tests.support.fakes import observation
from tests.support.motions import Encounter, landmarks_of
from vidrestore.contracts import Embedding, FaceObservation, Points, RGBImage
from vidrestore.core.geometry import compose, similarity_transform, translation
from vidrestore.models.identity import DlibIdentity, face_chip
from vidrestore.models.registry import Template, landmark_template

_SIDE = 256
_TEMPLATE = landmark_template(Template.FFHQ, _SIDE)
_NOISE_LEVELS = 4.0
_JPEG_QUALITY = 60
_NUM_TICKS_BEFORE = 45
"""From this tick on each person's second photograph is shown, with another expression."""

People = list[list[RGBImage]]
"""For each person photographs, aligned to the FFHQ template, (256, 256, 3)."""


def load_people(folder: Path) -> People:
    """Read a folder that holds one folder of aligned photographs for each person."""
    people = []
    for home in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = [cv2.imread(str(path)) for path in sorted(home.iterdir())]
        people.append([np.asarray(i[..., ::-1], np.uint8) for i in found if i is not None])
    return [photographs for photographs in people if len(photographs) >= 2]


class FilmedEncounter:
    """Photographs that move as the people of an encounter do, the first person in front.

    It is the ``FaceEmbedder`` of its own chips too: a chip is a mere token, and the picture is made
    when its description is asked for.
    """

    size, template, description = DlibIdentity.size, DlibIdentity.template, "dlib on photographs"

    def __init__(
        self, meeting: Encounter, people: People, seed: int, network: DlibIdentity
    ) -> None:
        """Choose who meets."""
        rng = np.random.default_rng([seed, 7])
        self._meeting, self._network, self._seed = meeting, network, seed
        chosen = rng.choice(len(people), len(meeting.poses), replace=False)
        self._people = [people[k] for k in chosen]
        self._landmarks = [landmarks_of(poses) for poses in meeting.poses]
        y, x = np.mgrid[0:_SIDE, 0:_SIDE]
        distance = np.hypot((x - 128) / 92, (y - 122) / 118)
        self._mask = np.clip((1 - distance) * 12, 0, 1).astype(np.float32)
        self.num_described = 0

    def observations(self, tick: int) -> tuple[FaceObservation, ...]:
        """Return what the detector sees at a tick, with chips."""
        return tuple(
            dataclasses.replace(observation(p), chip=np.array([[[tick, k, 0]]], np.uint8))
            for k, p in enumerate(self._meeting.seen[tick])
            if p is not None
        )

    def describe(self, chip: RGBImage) -> Embedding:
        """Return the numbers of a face."""
        self.num_described += 1
        tick, person = int(chip[0, 0, 0]), int(chip[0, 0, 1])
        landmarks = self._meeting.seen[tick][person]
        assert landmarks is not None
        return self._network.describe(self._chip(tick, landmarks))

    def _chip(self, tick: int, landmarks: Points) -> RGBImage:
        reach = 2.6 * float(np.exp(self._meeting.poses[:, tick, 2].max()))
        corner = np.floor(landmarks.mean(axis=0) - reach)
        side = int(np.ceil(2 * reach))
        picture = np.full((side, side, 3), 110.0, np.float32)
        for k in reversed(range(len(self._people))):
            place = similarity_transform(_TEMPLATE, self._landmarks[k][tick])
            assert place is not None
            matrix = compose(translation(*(-corner)), place)
            scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
            photograph = self._people[k][tick >= _NUM_TICKS_BEFORE].astype(np.float32)
            face, mask = (_moved(a, matrix, scale, side) for a in (photograph, self._mask))
            picture += (face - picture) * mask[..., None]
        rng = np.random.default_rng([self._seed, tick, side])
        picture += rng.normal(0, _NOISE_LEVELS, (side, side, 1))
        coded = cv2.imencode(
            ".jpg",
            np.clip(picture, 0, 255).astype(np.uint8),
            [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
        )[1]
        film = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return face_chip(film, (landmarks - corner).astype(np.float32))


def _moved(
    image: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64], scale: float, side: int
) -> npt.NDArray[np.float32]:
    if scale < 1:
        sigma = 0.5 * float(np.sqrt(1 / scale**2 - 1)) + 1e-6
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, (side, side)), np.float32)
