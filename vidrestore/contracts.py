"""What the stages hand to each other: one type for each arrow of the pipeline.

::

    file → decode → detect → track → align → restore → blend → encode → file
             Frame  Detected Tracked Aligned Restored  Blended
                    Frame    Frame   Frame   Frame     Frame

Three coordinate systems occur, all in pixels with integer coordinates at pixel centres:

* *frame*: the samples as they are stored in the luma plane (what the codec coded);
* *display*: the picture as a player shows it, rotated upright and with square pixels. Detection
  and tracking live here, so that a face is a face whatever the tape or the phone did;
* *crop*: the square picture that the restoring network sees.

A matrix named ``crop_from_frame`` takes frame coordinates to crop coordinates; it is 2×3 float64.
Everything here is immutable; arrays inside are read-only by contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

RGBImage = npt.NDArray[np.uint8]
"""Picture, shape (H, W, 3), uint8, channel order R, G, B."""

Plane = npt.NDArray[Any]
"""One plane of a YUV picture, shape (h, w), uint8 for 8 bit and uint16 for more."""

Points = npt.NDArray[np.float32]
"""Landmarks, shape (5, 2), float32, x and y in pixels: left eye, right eye, nose, left mouth
corner, right mouth corner, as seen in the picture."""

Embedding = npt.NDArray[np.float64]
"""Who a face belongs to, shape (128,): distances are small between pictures of one person."""

Matrix = npt.NDArray[np.float64]
"""Affine transform, shape (2, 3), float64."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the numbers in the planes are to be read."""

    name: str
    """FFmpeg's name of the planar format, e.g. ``yuv420p`` or ``yuv422p10le``."""
    bits: int
    """Bits a sample: 8 to 16."""
    chroma_shift_x: int
    """log2 of luma columns for each chroma column: 0, 1 or 2."""
    chroma_shift_y: int
    """log2 of luma rows for each chroma row: 0 or 1."""
    is_full_range: bool
    """True for 0..max, False for 16..235 (luma) and 16..240 (chroma), scaled to the depth."""
    kr: float
    """Weight of red in luma (ITU-R BT.601: 0.299, BT.709: 0.2126)."""
    kb: float
    """Weight of blue in luma (BT.601: 0.114, BT.709: 0.0722)."""


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """How stored samples become the picture on the screen."""

    width: int
    """Columns of the luma plane."""
    height: int
    """Rows of the luma plane."""
    turn: tuple[int, int, int, int] = (1, 0, 0, 1)
    """Signs (a, b, c, d) of the display matrix: x' = a·x + c·y, y' = b·x + d·y; identity when the
    picture is stored upright. Right angles and flips only."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a stored sample over its height (SAR)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture, as the decoder's own planes."""

    planes: tuple[Plane, Plane, Plane]
    """Y, U, V; read-only views of the decoder's buffers, or the blended copies."""
    pts: int
    """Presentation time in units of ``time_base``, as the source gave it."""
    time_base: Fraction
    """Seconds for each unit of ``pts``."""
    duration: int
    """How long it is shown, in units of ``time_base``; 0 if the source does not say."""
    seconds: float
    """Presentation time from the start of the film (earliest audio or video), for people."""
    tick: int
    """Number of the picture on the grid of the film's nominal rate, counted from the start of the
    film: a function of its time alone, the same wherever decoding began. Only differences and
    remainders are used, to pace the detector and to place smoothing blocks."""
    layout: PixelLayout
    geometry: FrameGeometry
    render_rgb: Callable[[int, int], RGBImage]
    """``render_rgb(width, height)``: the whole picture in RGB at that size, stored orientation,
    scaled by the media layer. To be called from one thread at a time."""
    is_corrupt: bool = False
    """The decoder flagged damage."""
    is_key: bool = False
    """Decoding can begin here."""
    cleaned: tuple[Plane, Plane, Plane] | None = None
    """The same picture with noise taken off, if that was asked for: what faces are put into. They
    are found in ``planes``, and restored from those."""

    def __post_init__(self) -> None:
        luma = self.planes[0]
        if luma.shape != (self.geometry.height, self.geometry.width):
            raise ValueError(f"luma plane of {luma.shape} in a frame of {self.geometry}")

    def __repr__(self) -> str:
        g = self.geometry
        return f"Frame(pts={self.pts}, {g.width}x{g.height} {self.layout.name}, tick={self.tick})"


@dataclass(frozen=True, slots=True, eq=False)
class FaceObservation:
    """A face that the detector measured in one picture."""

    box_xyxy: npt.NDArray[np.float32]
    """Shape (4,), float32: left, top, right, bottom in display pixels; may reach outside."""
    landmarks: Points
    """In display pixels."""
    score: float
    """The detector's confidence, 0..1."""
    chip: RGBImage | None = None
    """The face as a ``FaceEmbedder`` wants it; None where none is installed."""

    def __post_init__(self) -> None:
        if self.box_xyxy.shape != (4,) or self.landmarks.shape != (5, 2):
            raise ValueError(f"got {self.box_xyxy.shape = }, {self.landmarks.shape = }")


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFrame:
    """A frame, and what the detector saw if it looked."""

    frame: Frame
    was_searched: bool
    """The detector ran on this frame. When False, ``observations`` is empty and means nothing."""
    observations: tuple[FaceObservation, ...]
    is_cut: bool
    """A new shot begins with this frame."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """What is believed of one person's face in one frame, after smoothing."""

    track_id: int
    """The same for one person through one shot; counted from 1 in order of appearance."""
    landmarks: Points
    """Smoothed, in display pixels."""
    measured: Points | None
    """What the detector said in this frame, None where it did not look or did not see."""
    score: float
    """Confidence of the nearest measurement, 0..1."""
    strength: float
    """How much of the restored face is to be shown, 0..1; falls towards the ends of a track."""
    face_id: int | None = None
    """The face's number in the faces file, the same in every run; None where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """A frame and the faces believed to be in it."""

    frame: Frame
    tracks: tuple[FaceTrack, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face in the pose that the network expects."""

    track: FaceTrack
    crop: RGBImage
    """Shape (S, S, 3): the face as it is in the film."""
    crop_from_frame: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFrame:
    """A frame and the crops of its faces."""

    frame: Frame
    faces: tuple[AlignedFace, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFace:
    """A face before and after the network."""

    aligned: AlignedFace
    crop: RGBImage
    """Shape (S, S, 3): the restored face, same pose as ``aligned.crop``."""
    strength: float
    """How much of it is to be shown, 0..1: the track's, until the face has been judged."""
    held_back: str | None = None
    """Why it is not shown fully, if it was judged so: ``already sharp``."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFrame:
    """A frame and its restored faces, not yet put back."""

    frame: Frame
    faces: tuple[RestoredFace, ...]
    is_cut: bool
    background: Frame | None = None
    """The picture that the faces are put into, which may be larger; None: the frame itself."""


@dataclass(frozen=True, slots=True)
class PaintedRegion:
    """Where a face was put back."""

    left: int
    top: int
    right: int
    bottom: int
    """Half-open box [left, right) × [top, bottom) in pixels of the finished frame (luma samples);
    no sample of any plane outside it was touched."""


@dataclass(frozen=True, slots=True, eq=False)
class BlendedFrame:
    """The finished picture, with what it was made of."""

    frame: Frame
    original: Frame
    """The picture as decoded; the same object as ``frame`` when no face was painted and the
    background was left alone. Smaller than ``frame`` if that was enlarged."""
    faces: tuple[RestoredFace, ...]
    regions: tuple[PaintedRegion | None, ...]
    """For each of ``faces`` the region it was painted to; None where nothing was painted."""
    is_cut: bool


class FaceDetector(Protocol):
    """Finds faces in pictures."""

    batch_size: int
    """How many pictures one call takes at most; the best number for this device."""
    description: str
    """Model, runtime and precision, for the report."""

    def detect(self, images: Sequence[RGBImage]) -> list[tuple[FaceObservation, ...]]:
        """Find the faces of each picture, in the pixels of that picture, best score first.

        Args:
            images: 1 to ``batch_size`` RGB pictures, all of the same shape (H, W, 3), uint8.

        Returns:
            For each picture its observations; an empty tuple where there is no face.
        """
        ...

    def close(self) -> None:
        """Free the device."""
        ...


class FaceEmbedder(Protocol):
    """Tells people apart."""

    @property
    def size(self) -> int:
        """Side of the chips, the pictures that it looks at, in pixels."""
        ...

    @property
    def template(self) -> Points:
        """Where the five landmarks lie in a chip."""
        ...

    @property
    def description(self) -> str:
        """Its name, for the report."""
        ...

    def describe(self, chip: RGBImage) -> Embedding:
        """Return the numbers of a face; less than about 0.6 apart for one person.

        Args:
            chip: Shape (size, size, 3), uint8 RGB.
        """
        ...


class PictureModel(Protocol):
    """Enhances whole pictures, one at a time."""

    @property
    def scale(self) -> int:
        """How many times as wide and high its results are: 1, 2, 4 ..."""
        ...

    @property
    def description(self) -> str:
        """Model, runtime and precision, for the report."""
        ...

    @property
    def notes(self) -> list[str]:
        """What happened that the user should know, one sentence each; grows during a run."""
        ...

    @property
    def num_parts(self) -> int:
        """Parts of pictures worked on so far: a picture can take longer than a codec may hang."""
        ...

    def enhance(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Enhance a picture.

        Args:
            picture: Shape (H, W, 3), float32 RGB in [0, 1].

        Returns:
            Shape (scale·H, scale·W, 3), float32 RGB in [0, 1].
        """
        ...

    def close(self) -> None:
        """Free the device."""
        ...


class PendingCrops(Protocol):
    """Crops under way on a device."""

    def result(self) -> list[RGBImage]:
        """Wait, and return the restored crops in the order they were submitted."""
        ...


class FaceRestorer(Protocol):
    """Restores aligned crops."""

    size: int
    """Side S of the crops in pixels."""
    template: Points
    """Where the five landmarks lie in a crop of that size, shape (5, 2)."""
    batch_size: int
    """How many crops one call takes at most; the best number for this device."""
    description: str
    """Model, runtime and precision, for the report."""

    @property
    def notes(self) -> list[str]:
        """What happened that the user should know, one sentence each; grows during a run."""
        ...

    def submit(self, crops: Sequence[RGBImage]) -> PendingCrops:
        """Start restoring 1 to ``batch_size`` crops of shape (S, S, 3), uint8 RGB."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...
