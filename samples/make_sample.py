"""Makes the sample film: a clean original, a worn copy of it, and where the face truly is.

    python samples/make_sample.py [FOLDER]

From one photograph (the astronaut Eileen Collins; NASA, public domain; it comes with scikit-image)
this plays a short home video: a hand-held camera, a person who moves and turns the head a little,
a shot without a face, and another shot in another room. That is ``home-video-original.mp4``. The
worn copy, ``home-video.mp4``, is the same film after a simulated trip through a camcorder and a
VHS recorder. Because the motion is made here, the true positions of the five landmarks of every
frame are known; they go to ``home-video-landmarks.json``.

The same pictures come out every time. Top to bottom: the story, the camera and the head, the
pictures, the tape, the sound, the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from skimage.data import astronaut

Image = npt.NDArray[np.float32]
"""Shape (H, W) or (H, W, channels), float32; colours 0..255."""
Points = npt.NDArray[np.float32]
"""Shape (..., 2), float32: x, y in pixels, integers at pixel centres."""

WIDTH, HEIGHT, FPS = 640, 480, 25
SAMPLE_RATE = 48_000
SEED = 1995
FILM_MIDDLE = np.array(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), np.float32)

# In the photograph, in pixels: left eye, right eye, nose, left and right corner of the mouth.
LANDMARKS = np.array(
    [(203.2, 100.6), (246.7, 103.0), (224.4, 127.0), (203.4, 140.3), (245.6, 140.7)], np.float32
)
HEAD_CENTRE, HEAD_REACH = (226.0, 100.0), (108.0, 122.0)  # what moves with the head fades to here
NECK = (226.0, 190.0)  # the head rolls about this point

# The story


@dataclass(frozen=True)
class View:
    """Where the camera looks."""

    x: float
    """Middle of the picture, in pixels of the photograph."""
    y: float
    zoom: float
    """Pixels of the film for each pixel of the photograph."""
    roll: float = 0.0
    """Radians."""


@dataclass(frozen=True)
class Shot:
    """The camera goes from one view to another."""

    num_frames: int
    begin: View
    end: View
    has_face: bool = True
    is_other_room: bool = False
    """In front of another wall, in another light, and seen in a mirror."""


STORY = (
    Shot(92, View(254, 166, 1.36), View(236, 124, 2.15)),
    Shot(38, View(176, 372, 1.9), View(330, 380, 1.9), has_face=False),
    Shot(70, View(300, 246, 1.02), View(240, 170, 1.62), is_other_room=True),
)


def play(story: tuple[Shot, ...]) -> Iterator[tuple[Image, Points | None]]:
    """Render each frame of the story.

    Yields:
        The clean picture, shape (480, 640, 3), RGB; and the true landmarks, shape (5, 2), or None
        if no face is to be seen.
    """
    rng = np.random.default_rng(SEED)
    studio, other_room = make_scenes()
    for shot in story:
        scene = other_room if shot.is_other_room else studio
        views, poses = camera_path(shot, rng), head_path(shot, rng)
        for view, pose in zip(views, poses, strict=True):
            picture = render(scene, view, pose)
            landmarks = film_from_photo(to_pose(LANDMARKS, pose), view)
            if shot.is_other_room:
                picture, landmarks = mirror(picture, landmarks)
            yield picture, landmarks if shot.has_face else None


# The camera and the head


@dataclass(frozen=True)
class Pose:
    """How the head is held; 0 is as in the photograph."""

    yaw: float
    """Turned to the side, radians."""
    nod: float
    """Turned down, radians."""
    roll: float
    """Inclined, radians."""
    sway: tuple[float, float]
    """Moved, pixels of the photograph."""


def camera_path(shot: Shot, rng: np.random.Generator) -> list[View]:
    """Go smoothly from view to view, with the slow drift and the small tremble of a hand."""
    progress = np.linspace(0, 1, shot.num_frames)
    eased = progress * progress * (3 - 2 * progress)
    hand = [
        wander(shot.num_frames, 2.2, (2.9, 1.7), rng)
        + wander(shot.num_frames, 0.35, (0.41, 0.23), rng)
        for _ in "xy"
    ]
    roll = wander(shot.num_frames, 0.008, (3.3, 1.9, 0.37), rng)
    a, b = shot.begin, shot.end
    zoom = a.zoom * (b.zoom / a.zoom) ** eased
    # the middle follows the zoom, so that the picture does not swing aside on the way
    part = eased if a.zoom == b.zoom else (1 / zoom - 1 / a.zoom) / (1 / b.zoom - 1 / a.zoom)
    x, y = a.x + (b.x - a.x) * part + hand[0], a.y + (b.y - a.y) * part + hand[1]
    return [View(*map(float, values)) for values in zip(x, y, zoom, roll, strict=True)]


def head_path(shot: Shot, rng: np.random.Generator) -> list[Pose]:
    """Move the head as someone does who is being filmed and knows it."""
    count = shot.num_frames
    yaw = wander(count, 0.24, (2.6, 1.3), rng)
    nod = wander(count, 0.10, (1.9, 0.9), rng)
    roll = wander(count, 0.07, (3.1, 1.5), rng)
    sway = wander(count, 7.0, (2.8, 1.6), rng), wander(count, 2.5, (1.4, 0.8), rng)
    return [
        Pose(float(yaw[i]), float(nod[i]), float(roll[i]), (float(sway[0][i]), float(sway[1][i])))
        for i in range(count)
    ]


def wander(
    count: int, reach: float, periods: tuple[float, ...], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Add sines of the given periods (seconds) with random phases, to at most about ``reach``."""
    seconds = np.arange(count) / FPS
    waves = [np.sin(2 * np.pi * (seconds / period + rng.random())) for period in periods]
    return reach * np.asarray(waves).mean(axis=0)


def from_pose(points: Points, pose: Pose) -> Points:
    """Say where in the photograph that is which the pose brings to ``points``.

    The head is taken for half an ellipsoid. Turning it moves what is near the middle, and most of
    all the tip of the nose, further than the rim; beyond the rim nothing moves.
    """
    from_centre = (points - np.float32(HEAD_CENTRE)) / np.float32(HEAD_REACH)
    inside = np.clip(1 - (from_centre**2).sum(-1, keepdims=True), 0, 1)
    from_nose = points - LANDMARKS[2]
    depth = 52 * inside**2 + 9 * np.exp(-(from_nose**2).sum(-1, keepdims=True) / (2 * 13.0**2))
    turn = depth * np.float32((np.sin(pose.yaw), np.sin(pose.nod)))
    x, y = np.moveaxis(points - np.float32(NECK), -1, 0)
    held = 1 - (1 - inside) ** 3
    roll = held * np.float32(np.sin(pose.roll)) * np.stack((-y, x), axis=-1)
    sway = (0.35 + 0.65 * held) * np.float32(pose.sway)
    return np.asarray(points - turn - roll - sway, dtype=np.float32)


def to_pose(points: Points, pose: Pose) -> Points:
    """Invert ``from_pose`` by iterating; each round leaves less than half of the error."""
    posed = points
    for _ in range(40):
        posed = posed + points - from_pose(posed, pose)
    return posed


def photo_from_film(points: Points, view: View) -> Points:
    """Take pixels of the film to pixels of the photograph."""
    from_middle = (points - FILM_MIDDLE) @ rotation(-view.roll) / np.float32(view.zoom)
    return from_middle + np.float32((view.x, view.y))


def film_from_photo(points: Points, view: View) -> Points:
    """Take pixels of the photograph to pixels of the film."""
    from_middle = (points - np.float32((view.x, view.y))) * np.float32(view.zoom)
    return from_middle @ rotation(view.roll) + FILM_MIDDLE


def rotation(angle: float) -> Image:
    """Return the matrix that turns row vectors, shape (2, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, s), (-s, c)), np.float32)


# The pictures

DETAIL = 2  # the layers have so many pixels for each of the photograph, both ways
MARGIN = 90  # and go on beyond its edges by so many of its pixels

# Outlines in the photograph: what is the person for certain, what may be, and a gap at the jaw.
SURELY = (
    (45, 512), (48, 350), (80, 265), (125, 230), (135, 185), (190, 170), (180, 112), (165, 85),
    (198, 30), (250, 30), (290, 80), (272, 128), (256, 166), (290, 215), (335, 270), (352, 345),
    (440, 352), (480, 390), (492, 440), (480, 512),
)  # fmt: skip
PERHAPS = (
    (22, 512), (16, 440), (24, 330), (45, 270), (90, 222), (108, 195), (116, 165), (150, 146),
    (148, 60), (185, 12), (235, 8), (285, 28), (308, 90), (298, 130), (278, 138), (310, 215),
    (348, 250), (366, 330), (372, 344), (440, 338), (485, 375), (512, 440), (512, 512),
)  # fmt: skip
GAP = ((278, 138), (263, 150), (261, 166), (272, 178), (292, 200), (320, 200), (310, 140))


@dataclass(frozen=True)
class Scene:
    """Two layers, each shape ((512 + 2·MARGIN)·DETAIL, the same, channels)."""

    backdrop: Image
    person: Image
    """With opacity 0..1 as the fourth channel."""


def make_scenes() -> tuple[Scene, Scene]:
    """Cut the person out of the photograph and stand her in the studio and in another room."""
    photo = astronaut()
    large = cv2.resize(photo, None, fx=DETAIL, fy=DETAIL, interpolation=cv2.INTER_LANCZOS4)
    opacity = cut_out(large)
    colours = large.astype(np.float32)
    crisp = np.clip(colours + 0.5 * (colours - cv2.GaussianBlur(colours, (0, 0), 1.6)), 0, 255)
    person = extend(np.dstack((crisp, opacity)), cv2.BORDER_CONSTANT)
    studio = extend(without_person(crisp, opacity), cv2.BORDER_REFLECT)
    return Scene(studio, person), in_other_room(person)


def cut_out(photo: npt.NDArray[np.uint8]) -> Image:
    """Tell the person from the background (GrabCut), with edges as soft as the lens made them."""
    hints = np.full(photo.shape[:2], cv2.GC_BGD, np.uint8)
    for outline, what in ((PERHAPS, cv2.GC_PR_FGD), (SURELY, cv2.GC_FGD), (GAP, cv2.GC_BGD)):
        cv2.fillPoly(hints, [np.array(outline) * DETAIL], what)
    cv2.setRNGSeed(SEED)
    cv2.grabCut(
        photo[..., ::-1].copy(), hints, None, np.zeros((1, 65)), np.zeros((1, 65)), 5,
        cv2.GC_INIT_WITH_MASK,
    )  # fmt: skip
    is_person = np.isin(hints, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    is_person = cv2.morphologyEx(is_person, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return cv2.GaussianBlur(is_person.astype(np.float32), (0, 0), 1.6)


def without_person(picture: Image, opacity: Image) -> Image:
    """Smear the surroundings over the person, as far as the moving head may uncover them."""
    head = opacity.copy()
    head[int(NECK[1]) * DETAIL :] = 0
    hole = np.maximum(
        cv2.dilate(opacity, np.ones((9, 9), np.uint8)),
        cv2.dilate(head, np.ones((61, 61), np.uint8)),
    )
    seen = (1 - hole)[..., None]
    smeared = cv2.GaussianBlur(picture * seen, (0, 0), 24)
    smeared /= cv2.GaussianBlur(1 - hole, (0, 0), 24)[..., None] + 1e-4
    return np.where(seen > 0, picture, smeared)


def extend(layer: Image, border: int) -> Image:
    """Continue a layer beyond the photograph's edges."""
    return cv2.copyMakeBorder(layer, *(4 * [MARGIN * DETAIL]), border)


def in_other_room(person: Image) -> Scene:
    """Put the person before a wall with a curtain, in the light of a lamp from one side."""
    rng = np.random.default_rng(SEED)
    height, width = person.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32) / width
    plaster = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 30)
    wall = np.float32((178, 190, 186)) + 260 * plaster[..., None]
    folds = 0.72 + 0.2 * np.sin(80 * x + 2.2 * np.sin(9 * x)) + 0.06 * np.sin(190 * x)
    curtain = np.float32((122, 74, 60)) * folds[..., None]
    hangs = 1 / (1 + np.exp(((x - 0.2 - 0.01 * np.sin(7 * y)) * 250).clip(-50, 50)))[..., None]
    room = wall * (1 - hangs) + curtain * hangs
    light = (1.12 - 0.42 * x - 0.12 * y)[..., None] * np.float32((1.1, 0.98, 0.8))
    lit = np.dstack((person[..., :3] * (0.12 + 0.9 * light), person[..., 3]))
    return Scene(np.clip(room * light, 0, 255), np.clip(lit, 0, 255))


def render(scene: Scene, view: View, pose: Pose) -> Image:
    """Take the picture: shape (480, 640, 3), RGB, float32."""
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    place = photo_from_film(np.stack((x, y), axis=-1), view)
    backdrop = look_up(scene.backdrop, place)
    person = look_up(scene.person, from_pose(place, pose))
    opacity = np.clip(person[..., 3:], 0, 1)
    return np.clip(backdrop + opacity * (person[..., :3] - backdrop), 0, 255)


def look_up(layer: Image, place: Points) -> Image:
    """Sample a layer at places given in pixels of the photograph."""
    at = (place + 0.5 + MARGIN) * DETAIL - 0.5
    return cv2.remap(layer, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def mirror(picture: Image, landmarks: Points) -> tuple[Image, Points]:
    """Swap left and right, of the picture and of the names of the landmarks."""
    across = np.stack((WIDTH - 1 - landmarks[:, 0], landmarks[:, 1]), axis=-1)
    return picture[:, ::-1].copy(), across[[1, 0, 2, 4, 3]]
