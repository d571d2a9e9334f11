"""Films for measuring speed: a photograph of a face, once or several times, before a moving wall.

They are made of scikit-image's astronaut, so that every machine has the same. Faces sway, the
camera pans, the picture has grain: the encoder has work to do, and no two frames are equal. The
motion ends as it began, so a film can be repeated without a cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from vidrestore.contracts import RGBImage

RATE = 25
_FACE_IN_PHOTOGRAPH = (slice(0, 300), slice(70, 370))
"""Head and shoulders; the face is about 0.37 of it wide."""
_NUM_GRAINS = 4
_GRAIN_SIGMA = 3.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A recipe."""

    width: int = 720
    height: int = 576
    num_faces: int = 1
    seconds: float = 10.0
    portrait_share: float = 0.55
    """Side of the portrait over the height of the picture; the face is 0.37 of it wide."""

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return round(self.seconds * RATE)


def make_film(scene: Scene, target: Path) -> Path:
    """Write a film in H.264, hardly compressed, with a key frame each second."""
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "14"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.gop_size = RATE
        for k, image in enumerate(frames_of(scene)):
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture.pts, picture.time_base = k, Fraction(1, RATE)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return target


def frames_of(scene: Scene) -> Iterator[RGBImage]:
    """Yield the frames."""
    rng = np.random.default_rng(0)
    wall = _wall(rng, scene.width, scene.height)
    grains = [
        cv2.merge([g] * 3)
        for g in rng.normal(0, _GRAIN_SIGMA, (_NUM_GRAINS, *wall.shape[:2])).astype(np.float32)
    ]
    portrait, alpha = _portrait(round(scene.portrait_share * scene.height))
    margin = wall.shape[1] - scene.width
    for k in range(scene.num_frames):
        turn = 2 * np.pi * k / scene.num_frames
        x0, y0 = (round(margin * (0.5 + 0.5 * f(turn))) for f in (np.sin, np.cos))
        picture = wall[y0 : y0 + scene.height, x0 : x0 + scene.width].copy()
        for x, y in _places(scene, turn):
            _paste(picture, portrait, alpha, x, y)
        dx, dy = rng.integers(0, margin, 2)
        picture += grains[k % _NUM_GRAINS][dy : dy + scene.height, dx : dx + scene.width]
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def repeated(clip: Path, seconds: float, target: Path) -> Path:
    """Copy a clip's packets end to end until it is long enough."""
    with av.open(str(clip)) as film, av.open(str(target), "w") as out:
        streams = {s.index: s for s in (film.streams.video[0], *film.streams.audio[:1])}
        copies = {i: out.add_stream_from_template(s, opaque=True) for i, s in streams.items()}
        video = film.streams.video[0]
        length = _length_of(film, video)
        latest = dict.fromkeys(streams, float("-inf"))  # decoding may begin before 0
        for k in range(-(-Fraction(seconds) // length)):
            film.seek(0)
            for packet in film.demux(*streams.values()):
                if packet.size and packet.dts is not None and packet.pts is not None:
                    shift = round(k * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    index = packet.stream.index
                    if packet.dts > latest[index]:  # sound is a little longer than the pictures
                        latest[index] = packet.dts
                        packet.stream = copies[index]
                        out.mux(packet)
    return target


def _length_of(film: InputContainer, video: VideoStream) -> Fraction:
    """Return the seconds that the pictures last; of a file that does not tell, the whole's."""
    if video.duration is not None and video.time_base is not None:
        return video.duration * video.time_base
    assert film.duration is not None
    return Fraction(film.duration, av.time_base)


def _places(scene: Scene, turn: float) -> Iterator[tuple[float, float]]:
    """Yield the upper left corner of each portrait; each sways in a cell of its own."""
    side = scene.portrait_share * scene.height
    columns = round(np.ceil(np.sqrt(scene.num_faces * scene.width / scene.height)))
    columns = max(1, min(columns, scene.num_faces))
    rows = max(1, -(-scene.num_faces // columns))
    cell_x, cell_y = scene.width / columns, scene.height / rows
    cycles = max(1, round(scene.seconds / 2.5))
    for k in range(scene.num_faces):
        row, column = divmod(k, columns)
        x = (column + 0.5) * cell_x + 0.06 * side * np.sin(cycles * turn + k)
        y = (row + 0.5) * cell_y + 0.03 * side * np.sin(2 * cycles * turn + 2 * k)
        yield x - side / 2, y - side / 2


def _paste(picture: Floats, portrait: Floats, alpha: Floats, x: float, y: float) -> None:
    """Lay the portrait over the picture, at fractions of a pixel, where it is inside."""
    height, width = picture.shape[:2]
    side = len(alpha) + 2
    left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
    right, bottom = min(width, left + side), min(height, top + side)
    shift = np.array([[1, 0, x - left], [0, 1, y - top]], np.float64)
    size = (right - left, bottom - top)
    share = cv2.warpAffine(alpha, shift, size)[..., None]
    place = picture[top:bottom, left:right]
    place += share * (cv2.warpAffine(portrait, shift, size) - place)


def _portrait(side: int) -> tuple[Floats, Floats]:
    """Return the portrait and how much of it covers the wall, 0..1."""
    from skimage.data import astronaut

    photograph = np.asarray(astronaut())[_FACE_IN_PHOTOGRAPH]  # type: ignore[no-untyped-call]
    kind = cv2.INTER_AREA if side < len(photograph) else cv2.INTER_CUBIC
    portrait = cv2.resize(photograph, (side, side), interpolation=kind)
    ramp = np.minimum(1, np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.12 * side))
    alpha = np.outer(ramp, ramp)
    return portrait.astype(np.float32), alpha.astype(np.float32)


def _wall(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Make a wall that is a little larger than the picture: blotches of several sizes."""
    margin = max(8, height // 24)
    shape = (height + margin, width + margin)
    wall = np.full((*shape, 3), 110, np.float32)
    for share, depth in ((0.12, 30.0), (0.03, 14.0), (0.006, 7.0)):
        small = (max(4, round(2 / share * shape[1] / shape[0])), max(4, round(2 / share)))
        grey = rng.standard_normal((small[1], small[0], 1))
        blotches = (grey + 0.2 * rng.standard_normal((small[1], small[0], 3))).astype(np.float32)
        wall += depth * cv2.resize(blotches, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(wall, 8, 245)
