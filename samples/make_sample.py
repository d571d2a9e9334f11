"""Makes the sample film: a clean original, a worn copy of it, and where the face truly is.

::

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

Image = npt.NDArray[Any]
"""Shape (H, W) or (H, W, channels), float32; colours 0..255."""
Points = npt.NDArray[Any]
"""Shape (..., 2), float32: x, y in pixels, integers at pixel centres."""
Series = npt.NDArray[Any]
"""Shape (n,), float64: a number for each frame, line or sample."""

WIDTH, HEIGHT, FPS = 640, 480, 25
SAMPLE_RATE = 48_000
SEED = 1995
FILM_MIDDLE = np.array(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), np.float32)

# In the photograph, in pixels: left eye, right eye, nose, left and right corner of the mouth.
LANDMARKS = np.array(
    [(203.2, 100.6), (246.7, 103.0), (224.3, 127.8), (203.4, 140.3), (245.6, 140.7)], np.float32
)
HEAD_CENTRE = np.array((226, 100), np.float32)
HEAD_REACH = np.array((108, 122), np.float32)  # half axes of what moves with the head
NECK = np.array((226, 190), np.float32)  # the head rolls about this point

# The story


@dataclass(frozen=True)
class View:
    """Where the camera looks."""

    x: float
    """Middle of the film's picture, in pixels of the photograph; so is ``y``."""
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
    has_person: bool = True
    is_other_room: bool = False
    """In front of another wall, in another light, and seen in a mirror."""


STORY = (
    Shot(92, View(244, 166, 1.36), View(204, 126, 1.95)),
    Shot(38, View(172, 112, 2.0), View(352, 122, 2.0), has_person=False),
    Shot(70, View(284, 118, 1.03), View(240, 130, 1.62), is_other_room=True),
)


def play(story: tuple[Shot, ...]) -> Iterator[tuple[Image, Points | None]]:
    """Render each frame of the story.

    Yields:
        The clean picture, shape (480, 640, 3), RGB; and the true landmarks, shape (5, 2), or None
        if nobody is there.
    """
    rng = np.random.default_rng(SEED)
    studio, other_room = make_scenes()
    for shot in story:
        scene = other_room if shot.is_other_room else studio
        views, poses = camera_path(shot, rng), head_path(shot, rng)
        for view, pose in zip(views, poses, strict=True):
            picture = render(scene, view, pose if shot.has_person else None)
            landmarks = film_from_photo(to_pose(LANDMARKS, pose), view)
            if shot.is_other_room:
                picture, landmarks = mirror(picture, landmarks)
            yield picture, landmarks if shot.has_person else None


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
    sway_x: float
    """Moved to the right, pixels of the photograph; ``sway_y``: down."""
    sway_y: float


def camera_path(shot: Shot, rng: np.random.Generator) -> list[View]:
    """Go smoothly from view to view, held in a hand."""
    count, a, b = shot.num_frames, shot.begin, shot.end
    progress = np.linspace(0, 1, count)
    eased = progress * progress * (3 - 2 * progress)
    zoom = a.zoom * (b.zoom / a.zoom) ** eased
    # the middle follows the zoom, so that the picture does not swing aside on the way
    part = eased if a.zoom == b.zoom else (1 / zoom - 1 / a.zoom) / (1 / b.zoom - 1 / a.zoom)
    motions = (
        a.x + (b.x - a.x) * part + hand_held(count, 2.2, rng),
        a.y + (b.y - a.y) * part + hand_held(count, 2.2, rng),
        zoom,
        hand_held(count, 0.008, rng),
    )
    return [View(*map(float, values)) for values in zip(*motions, strict=True)]


def hand_held(count: int, reach: float, rng: np.random.Generator) -> Series:
    """Drift slowly and tremble a little: what a hand adds to one coordinate."""
    drift = wander(count, reach, (2.9, 1.7), rng)
    return drift + wander(count, 0.15 * reach, (0.41, 0.23), rng)


def head_path(shot: Shot, rng: np.random.Generator) -> list[Pose]:
    """Move the head as someone does who is being filmed and knows it."""
    motions = (
        wander(shot.num_frames, 0.30, (2.6, 1.3), rng),
        wander(shot.num_frames, 0.10, (1.9, 0.9), rng),
        wander(shot.num_frames, 0.07, (3.1, 1.5), rng),
        wander(shot.num_frames, 7.0, (2.8, 1.6), rng),
        wander(shot.num_frames, 2.5, (1.4, 0.8), rng),
    )
    return [Pose(*map(float, values)) for values in zip(*motions, strict=True)]


def wander(
    count: int, reach: float, periods: tuple[float, ...], rng: np.random.Generator
) -> Series:
    """Add sines of the given periods (seconds) with random phases, to at most about ``reach``."""
    seconds = np.arange(count) / FPS
    waves = [np.sin(2 * np.pi * (seconds / period + rng.random())) for period in periods]
    return np.asarray(reach * np.mean(waves, axis=0))


def from_pose(points: Points, pose: Pose) -> Points:
    """Say where in the photograph that is which the pose brings to ``points``.

    The head is taken for half an ellipsoid. Turning it moves what is near the middle, and most of
    all the tip of the nose, further than the rim; beyond the rim nothing moves.
    """
    from_centre = (points - HEAD_CENTRE) / HEAD_REACH
    inside = np.clip(1 - (from_centre**2).sum(-1, keepdims=True), 0, 1)
    from_nose = points - LANDMARKS[2]
    depth = 52 * inside**2 + 16 * np.exp(-(from_nose**2).sum(-1, keepdims=True) / (2 * 13.0**2))
    turn = depth * pair(np.sin(pose.yaw), np.sin(pose.nod))
    x, y = np.moveaxis(points - NECK, -1, 0)
    held = 1 - (1 - inside) ** 3
    roll = held * np.float32(np.sin(pose.roll)) * np.stack((-y, x), axis=-1)
    sway = (0.35 + 0.65 * held) * pair(pose.sway_x, pose.sway_y)
    return np.asarray(points - turn - roll - sway)


def to_pose(points: Points, pose: Pose) -> Points:
    """Invert ``from_pose`` by iterating; each round leaves less than half of the error."""
    posed = points
    for _ in range(40):
        posed = posed + points - from_pose(posed, pose)
    return posed


def photo_from_film(points: Points, view: View) -> Points:
    """Take pixels of the film to pixels of the photograph."""
    from_middle = (points - FILM_MIDDLE) @ rotation(-view.roll) / np.float32(view.zoom)
    return from_middle + pair(view.x, view.y)


def film_from_photo(points: Points, view: View) -> Points:
    """Take pixels of the photograph to pixels of the film."""
    from_middle = (points - pair(view.x, view.y)) * np.float32(view.zoom)
    return from_middle @ rotation(view.roll) + FILM_MIDDLE


def pair(x: float, y: float) -> Points:
    """Return x, y as an array."""
    return np.array((x, y), np.float32)


def rotation(angle: float) -> Points:
    """Return the matrix that turns row vectors, shape (2, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, s), (-s, c)), np.float32)


# The pictures

DETAIL = 2  # the layers have so many pixels for each of the photograph, both ways
MARGIN = 140  # and go on beyond its edges by so many of its pixels

# Outlines in the photograph: what is the person for certain, what may be, and a gap at the jaw.
SURELY = (
    (45, 512), (48, 350), (80, 265), (118, 220), (113, 203), (112, 185), (119, 184), (134, 164),
    (152, 153), (190, 152), (180, 112), (165, 85), (198, 30), (250, 30), (290, 80), (272, 128),
    (256, 166), (290, 215), (335, 270), (352, 345), (440, 352), (480, 390), (492, 440), (480, 512),
)  # fmt: skip
PERHAPS = (
    (22, 512), (16, 440), (24, 330), (45, 270), (90, 222), (106, 203), (107, 180), (118, 178),
    (130, 158), (150, 145), (148, 60), (185, 12), (235, 8), (285, 28), (308, 90), (298, 130),
    (278, 138), (310, 215), (348, 250), (366, 330), (372, 344), (440, 338), (485, 375), (512, 440),
    (512, 512),
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
    photo: Image = astronaut()  # type: ignore[no-untyped-call] # scikit-image has no types
    large = cv2.resize(photo, None, fx=DETAIL, fy=DETAIL, interpolation=cv2.INTER_LANCZOS4)
    opacity = cut_out(large)
    colours = large.astype(np.float32)
    crisp = np.clip(colours + 0.25 * (colours - cv2.GaussianBlur(colours, (0, 0), 1.6)), 0, 255)
    person = extend(np.dstack((crisp, opacity)), cv2.BORDER_CONSTANT)
    studio = extend(without_person(crisp, opacity), cv2.BORDER_REFLECT)
    return Scene(studio, person), in_other_room(person)


def cut_out(photo: Image) -> Image:
    """Tell the person from the background (GrabCut), with edges as soft as the lens made them."""
    hints = np.full(photo.shape[:2], cv2.GC_BGD, np.uint8)
    for outline, what in ((PERHAPS, cv2.GC_PR_FGD), (SURELY, cv2.GC_FGD), (GAP, cv2.GC_BGD)):
        cv2.fillPoly(hints, [np.array(outline) * DETAIL], what)
    cv2.setRNGSeed(SEED)
    colours = np.zeros((2, 1, 65))  # GrabCut's own memory, of the background and of the person
    mode = cv2.GC_INIT_WITH_MASK
    cv2.grabCut(photo[..., ::-1].copy(), hints, (0, 0, 0, 0), colours[0], colours[1], 5, mode)
    is_person = np.isin(hints, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    without_crumbs = cv2.morphologyEx(is_person, cv2.MORPH_OPEN, np.ones((5, 5)))
    return cv2.GaussianBlur(without_crumbs, (0, 0), 1.6)


def without_person(picture: Image, opacity: Image) -> Image:
    """Smear the surroundings over the person, as far as the moving head may uncover them."""
    person = (opacity > 0.01).astype(np.float32)
    head = person.copy()
    head[170 * DETAIL :] = 0
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (89, 89))
    hole = np.maximum(cv2.dilate(person, np.ones((7, 7))), cv2.dilate(head, reach))
    known = (1 - hole)[..., None]
    total, weight = np.full_like(picture, 1e-9), np.full_like(known, 1e-9)
    for sigma, trust in ((6, 1.0), (20, 1e-2), (60, 1e-4)):  # near beats far
        total += trust * cv2.GaussianBlur(picture * known, (0, 0), sigma)
        weight += trust * cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    seam = cv2.GaussianBlur(hole, (0, 0), 3)[..., None]
    return np.asarray(picture + seam * (total / weight - picture))


def extend(layer: Image, border: int) -> Image:
    """Continue a layer beyond the photograph's edges."""
    margin = MARGIN * DETAIL
    return cv2.copyMakeBorder(layer, margin, margin, margin, margin, border)


def in_other_room(person: Image) -> Scene:
    """Put the person before a wall with a curtain, in the light of a lamp from one side."""
    rng = np.random.default_rng(SEED)
    height, width = person.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32) / width
    plaster = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 30)
    wall = np.array((178, 190, 186), np.float32) + 260 * plaster[..., None]
    folds = 0.72 + 0.2 * np.sin(80 * x + 2.2 * np.sin(9 * x)) + 0.06 * np.sin(190 * x)
    curtain = np.array((122, 74, 60), np.float32) * folds[..., None]
    hangs = 1 / (1 + np.exp(((x - 0.2 - 0.01 * np.sin(7 * y)) * 250).clip(-50, 50)))[..., None]
    room = wall * (1 - hangs) + curtain * hangs
    light = (1.12 - 0.42 * x - 0.12 * y)[..., None] * np.array((1.1, 0.98, 0.8), np.float32)
    lit = np.dstack((person[..., :3] * (0.12 + 0.9 * light), person[..., 3]))
    return Scene(np.clip(room * light, 0, 255), np.clip(lit, 0, 255))


def render(scene: Scene, view: View, pose: Pose | None) -> Image:
    """Take the picture: shape (480, 640, 3), RGB, float32; without a pose there is nobody."""
    place = photo_from_film(np.dstack(pixels()), view)
    backdrop = look_up(scene.backdrop, place)
    if pose is None:
        return np.clip(backdrop, 0, 255)
    person = look_up(scene.person, from_pose(place, pose))
    opacity = np.clip(person[..., 3:], 0, 1)
    return np.asarray(np.clip(backdrop + opacity * (person[..., :3] - backdrop), 0, 255))


def pixels() -> tuple[Image, Image]:
    """Return the x and the y of every pixel of the film."""
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    return x, y


def look_up(layer: Image, place: Points) -> Image:
    """Sample a layer at places given in pixels of the photograph."""
    at = (place + 0.5 + MARGIN) * DETAIL - 0.5
    return sample(layer, at[..., 0], at[..., 1])


def sample(picture: Image, x: Image, y: Image) -> Image:
    """Read a picture at places between its pixels."""
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def mirror(picture: Image, landmarks: Points) -> tuple[Image, Points]:
    """Swap left and right, of the picture and of the names of the landmarks."""
    across = np.stack((WIDTH - 1 - landmarks[:, 0], landmarks[:, 1]), axis=-1)
    return picture[:, ::-1].copy(), across[[1, 0, 2, 4, 3]]


# The tape


def to_ycbcr(picture: Image) -> Image:
    """Convert RGB to what a video signal is: luma 16..235, chroma 16..240 (ITU-R BT.601)."""
    red, green, blue = np.moveaxis(picture / 255, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blue_difference, red_difference = (blue - luma) / 1.772, (red - luma) / 1.402
    return np.dstack((16 + 219 * luma, 128 + 224 * blue_difference, 128 + 224 * red_difference))


def record_on_tape(signal: Image, rng: np.random.Generator) -> Image:
    """Send Y, Cb, Cr, shape (480, 640, 3), through a camcorder's lens and a VHS recorder."""
    luma = cv2.GaussianBlur(signal[..., 0], (0, 0), 1.9)  # the lens
    luma = along_lines(luma, 1.5)  # VHS keeps 3 MHz of luma, worn heads keep less
    late = shift(along_lines(luma, 2.5), 1.5, 0)  # its sharpness circuit overshoots and rings
    luma = luma + 0.4 * (luma - late) + noise(6.5, (1.1, 0.6), rng)
    chroma = along_lines(signal[..., 1:] - 128, 5.0)  # and 0.5 MHz of chroma,
    chroma = shift(cv2.blur(chroma, (1, 3)), 2.5, 1)  # late by some pixels and one line,
    chroma = 0.94 * chroma + np.dstack((noise(3.5, (6, 1.5), rng), noise(3.5, (6, 1.5), rng)))
    return drop_out(wobble(np.dstack((luma, chroma + 128)), rng), rng)


def along_lines(signal: Image, sigma: float) -> Image:
    """Blur horizontally only."""
    return cv2.GaussianBlur(signal, (2 * round(3 * sigma) + 1, 1), sigma)


def shift(signal: Image, right: float, down: float) -> Image:
    """Move a picture by a part of a pixel."""
    by = np.array(((1, 0, right), (0, 1, down)), np.float32)
    return cv2.warpAffine(signal, by, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def noise(strength: float, grain: tuple[float, float], rng: np.random.Generator) -> Image:
    """Make noise with that standard deviation and grain size (sigma in x and y)."""
    white = rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    grainy = cv2.GaussianBlur(white, (0, 0), sigmaX=grain[0], sigmaY=grain[1])
    return np.asarray(grainy * (strength / grainy.std()), np.float32)


def wobble(signal: Image, rng: np.random.Generator) -> Image:
    """Displace each line a little, and the last ones a lot: there the recorder changes heads."""
    slow = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, 1)), (1, 91), 15.0)[:, 0]
    offset = 0.35 * slow / slow.std() + rng.normal(0, 0.12, HEIGHT)
    offset[-7:] += np.linspace(6, 22, 7) + rng.normal(0, 2, 7)
    x, y = pixels()
    return sample(signal, x + offset.astype(np.float32)[:, None], y)


def drop_out(signal: Image, rng: np.random.Generator) -> Image:
    """Lose the signal for a moment here and there: short bright streaks, one in some frames."""
    for _ in range(rng.poisson(0.15)):
        line, start = rng.integers(20, HEIGHT - 20), rng.integers(0, WIDTH - 40)
        streak = 90 * np.exp(-np.arange(WIDTH - start) / rng.uniform(8, 30))
        signal[line, start:, 0] += streak.astype(np.float32)
    return signal


# The sound

TUNE = (57, 60, 64, 67, 64, 60, 62, 65, 69, 65, 62, 59, 55, 59, 62, 67)  # MIDI notes


def play_tune(num_samples: int) -> Image:
    """Play a tune that walks between the loudspeakers over a quiet hum.

    Returns:
        Shape (2, num_samples), float32, -1..1.
    """
    seconds = np.arange(num_samples) / SAMPLE_RATE
    left, right = np.zeros(num_samples), np.zeros(num_samples)
    beat = num_samples / SAMPLE_RATE / len(TUNE)
    for number, note in enumerate(TUNE):
        since = np.clip(seconds - number * beat, 0, None)
        envelope = np.minimum(since / 0.01, 1) * np.exp(-3.5 * since)
        phase = 2 * np.pi * 440 * 2 ** ((note - 69) / 12) * since
        tone = envelope * (np.sin(phase) + 0.35 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase))
        pan = np.pi / 4 * (1 + 0.9 * np.sin(2 * np.pi * number / 8))
        left += 0.22 * np.cos(pan) * tone
        right += 0.22 * np.sin(pan) * tone
    hum = 0.006 * np.sin(2 * np.pi * 50 * seconds) + 0.003 * np.sin(2 * np.pi * 150 * seconds)
    hiss = np.random.default_rng(SEED).normal(0, 0.002, (2, num_samples))
    return (np.stack((left, right)) + hum + hiss).astype(np.float32)


# The files


def to_video_frame(signal: Image, number: int) -> av.VideoFrame:
    """Round to 8 bits; chroma to half the size, its samples at every other column (MPEG-2 way)."""
    chroma = cv2.sepFilter2D(signal[..., 1:], -1, np.array((1, 2, 1)) / 4, np.ones(1))
    chroma = (chroma[0::2, 0::2] + chroma[1::2, 0::2]) / 2
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    pictures = (signal[..., 0], chroma[..., 0], chroma[..., 1])
    for plane, values in zip(frame.planes, pictures, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = np.clip(np.rint(values), 1, 254)
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


def write_film(path: Path, frames: list[av.VideoFrame], sound: Image, crf: int) -> None:
    """Encode pictures and sound, on one thread so that the same bytes come out every time."""
    with av.open(path, "w", container_options={"movflags": "+faststart"}) as film:
        video = film.add_stream("libx264", FPS, options={"crf": str(crf), "preset": "medium"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context: Any = video.codec_context
        context.time_base, context.thread_count = Fraction(1, FPS), 1
        context.flags |= int(Flags.frame_duration)
        context.color_range, context.colorspace = 1, 5  # limited, BT.601 as in a PAL country
        context.color_primaries, context.color_trc = 5, 6
        audio = film.add_stream("aac", SAMPLE_RATE, layout="stereo", bit_rate=96_000)
        for start in range(0, sound.shape[1], 1024):
            piece = np.ascontiguousarray(sound[:, start : start + 1024])
            samples = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            samples.sample_rate, samples.pts = SAMPLE_RATE, start
            film.mux(audio.encode(samples))
        film.mux(audio.encode(None))
        for frame in frames:
            film.mux(video.encode(frame))
        film.mux(video.encode(None))


def main(folder: Path) -> None:
    """Make the three files."""
    rng = np.random.default_rng(SEED)
    clean, worn, landmarks = [], [], []
    for number, (picture, face) in enumerate(play(STORY)):
        signal = to_ycbcr(picture)
        clean.append(to_video_frame(signal, number))
        worn.append(to_video_frame(record_on_tape(signal, rng), number))
        landmarks.append(None if face is None else face.astype(float).round(2).tolist())
    sound = play_tune(len(clean) * SAMPLE_RATE // FPS)
    write_film(folder / "home-video-original.mp4", clean, sound, crf=20)
    write_film(folder / "home-video.mp4", worn, sound, crf=28)
    truth = {
        "film": "home-video.mp4",
        "order": ["left eye", "right eye", "nose", "left mouth corner", "right mouth corner"],
        "landmarks": landmarks,
    }
    text = json.dumps(truth).replace("[[", "\n[[").replace(", null", ",\nnull")
    (folder / "home-video-landmarks.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
