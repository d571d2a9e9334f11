"""Every choice a user can make, as data that checks itself; the defaults live only here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import floor
from pathlib import Path
from types import MappingProxyType

from vidrestore.errors import SettingsError


class FaceChoice(StrEnum):
    """Which faces are restored."""

    ALL = "all"
    LARGEST = "largest"


def parse_faces(text: str) -> FaceChoice | tuple[int, ...]:
    """Read ``all``, ``largest``, or numbers of faces as in ``2,5``.

    >>> parse_faces("2, 5")
    (2, 5)
    """
    if text in list(FaceChoice):
        return FaceChoice(text)
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        raise SettingsError(
            f"cannot read '{text}' as a choice of faces: use all, largest, or numbers of the "
            "faces file (2,5)"
        )
    return tuple(sorted({int(number) for number in text.split(",")}))


class VideoCodec(StrEnum):
    """What the restored film is coded with."""

    H264 = "h264"
    H265 = "h265"
    AV1 = "av1"
    FFV1 = "ffv1"


class Deinterlace(StrEnum):
    """What becomes of pictures that hold two moments: one in the even rows, one in the odd."""

    AUTO = "auto"
    """Measured; they are made whole pictures, others are left alone."""
    ON = "on"
    OFF = "off"


DENOISE_LEVELS: Mapping[str, float] = MappingProxyType(
    {"light": 0.33, "medium": 0.67, "strong": 1.0}
)
"""Names for how much of the noise is taken off."""

UPSCALES = (Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4))
"""How many times as wide and high as the film the output may be."""


def parse_denoise(text: str) -> float:
    """Read ``light``, ``medium``, ``strong``, or a number from 0 to 1.

    >>> parse_denoise("strong"), parse_denoise("0.5")
    (1.0, 0.5)
    """
    if text in DENOISE_LEVELS:
        return DENOISE_LEVELS[text]
    if not re.fullmatch(r"\d*\.?\d+", text):
        raise SettingsError(
            f"cannot read '{text}' as an amount of denoising: use {', '.join(DENOISE_LEVELS)}, or "
            "0 to 1"
        )
    return float(text)


def parse_upscale(text: str) -> Fraction:
    """Read a factor of enlargement: ``1``, ``1.5``, ``2`` or ``4``."""
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise SettingsError(f"cannot read '{text}' as a factor: use 1, 1.5, 2 or 4")
    return Fraction(text)


class TrackChoice(StrEnum):
    """What becomes of the tracks of one kind that travel beside the pictures."""

    AUTO = "auto"
    """Copied; what the output cannot hold is converted, or left out, and said."""
    COPY = "copy"
    """Copied; what the output cannot hold is an error."""
    NONE = "none"
    """Left out."""


class Compare(StrEnum):
    """How a preview shows before and after."""

    SIDE = "side"
    """Beside each other, before on the left; both as they are, sample for sample."""
    SPLIT = "split"
    """One picture, its left half before and its right half after."""
    WIPE = "wipe"
    """The same, but the join runs across the picture and back."""
    FLIP = "flip"
    """The whole picture, before and after in turns."""


class Runtime(StrEnum):
    """What computes the networks."""

    AUTO = "auto"
    """OpenVINO on a CPU, PyTorch elsewhere."""
    TORCH = "torch"
    TORCH_COMPILE = "torch-compile"
    """The restoring network compiled, which takes minutes once."""
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    """Likewise, by NVIDIA's compiler; needs the extra ``tensorrt``."""


class Precision(StrEnum):
    """The number format of the restoring network's convolutions."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of the film: a time, or a frame number counted from 0."""

    seconds: Fraction | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        _require((self.seconds is None) != (self.frame is None), "a moment is a time or a frame")
        value = self.seconds if self.seconds is not None else self.frame
        _require(value is not None and value >= 0, "a time or frame number cannot be negative")

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read ``90``, ``1:30``, ``0:01:30.250`` (time) or ``@2250`` (frame number).

        >>> Moment.parse("1:30.5").seconds
        Fraction(181, 2)
        >>> Moment.parse("@25").frame
        25
        """
        if re.fullmatch(r"@\d+", text):
            return cls(frame=int(text[1:]))
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
            raise SettingsError(
                f"cannot read '{text}' as a time: write seconds (90), 1:30, 0:01:30.250, "
                "or a frame number (@2250)"
            )
        seconds = Fraction(0)
        for part in text.split(":"):
            seconds = seconds * 60 + Fraction(part)
        return cls(seconds=seconds)

    def __str__(self) -> str:
        if self.seconds is None:
            return f"@{self.frame}"
        return f"{float(self.seconds):g}s"


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Part of the film, half-open: [start, end)."""

    start: Moment | None = None
    """None: from the first frame."""
    end: Moment | None = None
    """None: to the last frame."""

    def __post_init__(self) -> None:
        s, e = self.start, self.end
        if s is None or e is None:
            return
        if s.seconds is not None and e.seconds is not None:
            _require(s.seconds < e.seconds, f"the range starts at {s} but ends at {e}")
        if s.frame is not None and e.frame is not None:
            _require(s.frame < e.frame, f"the range starts at {s} but ends at {e}")


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How the film is read."""

    deinterlace: Deinterlace = Deinterlace.AUTO
    fields: bool = False
    """Each field of an interlaced film becomes a picture of its own: twice as many a second."""
    denoise: float = 0.0
    """How much of the noise around the faces is taken off, 0..1; 0 leaves every sample alone."""
    nvdec: bool = False
    """Decode on an NVIDIA card."""

    def __post_init__(self) -> None:
        _require(0 <= self.denoise <= 1, f"denoise is {self.denoise}: use 0 to 1")
        _require(
            not self.fields or self.deinterlace is not Deinterlace.OFF,
            "--fields says how to deinterlace: it cannot go with --deinterlace off",
        )


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which networks, and where they run."""

    name: str = "auto"
    """Restoring model: a name of ``vidrestore weights list``, a weights file, or ``auto``."""
    detector: str = "auto"
    """Detector: a name of ``vidrestore weights list`` or ``auto``."""
    weights_dir: Path | None = None
    """Folder searched for weights before the usual places."""
    allow_unverified: bool = False
    """Load weights whose SHA-256 the registry does not know."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    runtime: Runtime = Runtime.AUTO
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        _require(
            re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device) is not None,
            f"unknown device '{self.device}': use auto, cpu, cuda, cuda:N or mps",
        )


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """How faces are searched."""

    every: int = 3
    """The detector searches every n-th frame, and the first of each shot, if anybody is about."""
    threshold: float = 0.6
    """Least confidence, 0..1, for a face to be believed."""
    max_side: int = 1000
    """The detector sees the picture shrunk to at most this many pixels on its longer side."""
    min_face_px: float = 24.0
    """Faces less wide than this (display pixels) are left alone."""

    def __post_init__(self) -> None:
        _require(1 <= self.every <= 30, f"detect-every is {self.every}: use 1 to 30")
        _require(0 < self.threshold < 1, f"detection threshold is {self.threshold}: use 0 to 1")
        _require(self.max_side >= 64, f"max-side is {self.max_side}: use at least 64")

    @property
    def watch_every(self) -> int:
        """Ticks after which a film without faces is looked at again; a multiple of ``every``."""
        return self.every * max(1, 12 // self.every)

    @property
    def doubtful(self) -> float:
        """Confidence from which on a place is searched more closely."""
        return self.threshold / 2


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How faces are followed."""

    lookahead: int = 12
    """Frames that smoothing may look ahead; also the longest gap that is bridged."""
    fade_frames: int = 5
    """Frames over which a face fades in and out at the ends of its track."""

    def __post_init__(self) -> None:
        _require(0 <= self.lookahead <= 120, f"lookahead is {self.lookahead}: use 0 to 120")
        _require(0 <= self.fade_frames <= 60, f"fade-frames is {self.fade_frames}: use 0 to 60")


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """What becomes of the picture around the faces."""

    model: Path | None = None
    """A super-resolution or denoising network of the user's own; None leaves the picture alone."""
    upscale: Fraction = Fraction(1)
    """How many times as wide and high as the film the output is: 1, 1.5, 2 or 4."""

    def __post_init__(self) -> None:
        _require(
            self.upscale in UPSCALES, f"upscale is {float(self.upscale):g}: use 1, 1.5, 2 or 4"
        )

    @property
    def is_off(self) -> bool:
        """The picture around the faces stays as it was decoded, or denoised."""
        return self.model is None and self.upscale == 1

    def choices(self, width: int, height: int) -> list[str]:
        """Say how the output of that size comes about, in one sentence; none if it is as it was."""
        if self.upscale == 1:
            return []
        how = "by Lanczos interpolation" if self.model is None else "with the background model"
        return [f"the pictures are enlarged to {width}x{height} {how}"]

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the output for those of the film; halves are rounded up."""
        half = Fraction(1, 2)
        return floor(width * self.upscale + half), floor(height * self.upscale + half)


@dataclass(frozen=True, slots=True)
class BlendSettings:
    """How much is shown, and of whom."""

    strength: float = 1.0
    """0 leaves every sample as it was, 1 shows the restored face fully."""
    faces: FaceChoice | tuple[int, ...] = FaceChoice.ALL
    """Everyone, the largest, or the numbers of some faces in the faces file."""
    faces_file: Path | None = None
    """What ``vidrestore inspect --faces-file`` wrote: gives each face a number."""
    temporal: float = 1.0
    """How far the texture of a face is averaged over neighbouring frames: 0 not at all, 1 fully."""
    gates: bool = True
    """Hold back faces that a restoration would harm: sharp, covered, turned away and so on."""

    def __post_init__(self) -> None:
        _require(0 <= self.strength <= 1, f"strength is {self.strength}: use 0 to 1")
        _require(0 <= self.temporal <= 1, f"temporal is {self.temporal}: use 0 to 1")
        if isinstance(self.faces, tuple):
            asked = ",".join(map(str, self.faces))
            _require(bool(self.faces), "--faces names nobody: use all, largest, or numbers")
            _require(
                self.faces_file is not None,
                f"--faces {asked} needs the faces numbered: run 'vidrestore inspect FILM "
                "--faces-file film.faces.toml', look at film.faces.png, and give the same "
                "--faces-file here",
            )


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How the film is written."""

    codec: VideoCodec = VideoCodec.H264
    crf: int | None = None
    """Constant quality, lower is better; None takes the codec's default."""
    preset: str | None = None
    """The encoder's speed preset; None takes the codec's default."""
    nvenc: bool = False
    """Code with the encoder of an NVIDIA card; quality and presets are its own then."""
    overwrite: bool = False
    """Replace an existing output."""
    audio: TrackChoice = TrackChoice.AUTO
    subtitles: TrackChoice = TrackChoice.AUTO
    attachments: TrackChoice = TrackChoice.AUTO
    """Attached files, such as fonts, and cover pictures."""

    def __post_init__(self) -> None:
        _require(self.crf is None or 0 <= self.crf <= 63, f"crf is {self.crf}: use 0 to 63")
        if self.codec is VideoCodec.FFV1:
            _require(not self.nvenc, "NVENC codes h264, h265 and av1: choose one, or no --nvenc")
            _require(
                self.crf is None and self.preset is None,
                "ffv1 is lossless: crf and preset mean nothing to it",
            )


@dataclass(frozen=True, slots=True)
class RestoreSettings:
    """Everything about one run."""

    span: TimeSpan = field(default_factory=TimeSpan)
    read: ReadSettings = field(default_factory=ReadSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)
    encode: EncodeSettings = field(default_factory=EncodeSettings)
    resume: bool = True
    """Go on with an unfinished run of the same film to the same output; False starts over."""
    patience_seconds: float = 600.0
    """When nothing has moved for so long, a codec is taken to hang."""
    overlap: bool = True
    """False runs every stage on one thread: same frames, for finding faults."""
    record_landmarks: bool = False
    """Put the landmarks of every frame into the report."""
    record_history: bool = False
    """Put into the report what its page shows beside figures: small pictures of faces before and
    after, and the courses of steadiness, speed and memory."""


@dataclass(frozen=True, slots=True)
class PhotoSettings:
    """What is asked of photographs alone."""

    aligned: bool = False
    """The picture is a square crop of a face in the model's pose: none is looked for."""
    crops: Path | None = None
    """Folder that gets each face before and after, as the model sees it; made if need be."""


class IdPhotoSize(StrEnum):
    """Kinds of ID photos."""

    ONE_INCH = "1in"
    TWO_INCH = "2in"
    PASSPORT = "35x45"


class BackgroundColour(StrEnum):
    """What an ID photo shows behind the person."""

    WHITE = "white"
    BLUE = "blue"
    RED = "red"


@dataclass(frozen=True, slots=True)
class IdPhotoSettings:
    """What an ID photo is to be like."""

    size: IdPhotoSize = IdPhotoSize.PASSPORT
    background: BackgroundColour = BackgroundColour.WHITE
    matting: Path | None = None
    """MODNet's weights; None takes those installed, else no network cuts the person out."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Which files of a folder are restored, and how many at once."""

    pattern: str | None = None
    """Takes files whose name matches it (``*.mpg``); None: all films and photographs."""
    recursive: bool = False
    """Look into the folders below, too."""
    jobs: int = 1
    """How many are restored at once, each in a process of its own."""

    def __post_init__(self) -> None:
        _require(1 <= self.jobs <= 64, f"jobs is {self.jobs}: use 1 to 64")
        _require(self.pattern != "", "the pattern is empty: use one such as *.mpg, or none")
