"""The options of the command line, and the settings they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from vidrestore.errors import SettingsError
from vidrestore.settings import (
    BackgroundColour,
    BackgroundSettings,
    BlendSettings,
    Deinterlace,
    DetectSettings,
    EncodeSettings,
    FaceChoice,
    IdPhotoSettings,
    IdPhotoSize,
    ModelSettings,
    Moment,
    Precision,
    ReadSettings,
    RestoreSettings,
    Runtime,
    TimeSpan,
    TrackChoice,
    TrackSettings,
    VideoCodec,
    parse_denoise,
    parse_faces,
    parse_upscale,
)

_DEFAULT = RestoreSettings()

MAIN = Group("Options", sort_key=1)
OUTPUT = Group("Output", sort_key=2)
EXPERT = Group("Expert", sort_key=3)

WeightsDir = Annotated[
    Path | None, Parameter(group=EXPERT, help="Folder to look for weights first.")
]
AllowUnverified = Annotated[
    bool,
    Parameter(
        group=EXPERT, negative="", show_default=False, help="Load weights of unknown SHA-256."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RangeOptions:
    """Which part of the film."""

    start: Annotated[
        str | None, Parameter(group=MAIN, help="First moment: 90, 1:30, 0:01:30.5 or @FRAME.")
    ] = None
    end: Annotated[
        str | None, Parameter(group=MAIN, help="Moment to stop before, written likewise.")
    ] = None

    def span(self) -> TimeSpan:
        """Return the part of the film that the options ask for."""
        return TimeSpan(
            None if self.start is None else Moment.parse(self.start),
            None if self.end is None else Moment.parse(self.end),
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which networks, and where they run."""

    model: Annotated[
        str, Parameter(group=MAIN, help="Name in `weights list`, or a weights file.")
    ] = _DEFAULT.model.name
    detector: Annotated[str, Parameter(group=EXPERT, help="Face detector, or auto.")] = (
        _DEFAULT.model.detector
    )
    weights_dir: WeightsDir = None
    allow_unverified: AllowUnverified = _DEFAULT.model.allow_unverified
    device: Annotated[str, Parameter(group=EXPERT, help="auto, cpu, cuda, cuda:N or mps.")] = (
        _DEFAULT.model.device
    )
    runtime: Annotated[
        Runtime,
        Parameter(
            group=EXPERT,
            show_choices=False,
            show_default=False,
            help="auto, torch, torch-compile, openvino or tensorrt.",
        ),
    ] = _DEFAULT.model.runtime
    precision: Annotated[Precision, Parameter(group=EXPERT, help="Numbers.")] = (
        _DEFAULT.model.precision
    )

    def settings(self) -> ModelSettings:
        """Return the settings that the options ask for."""
        return ModelSettings(
            name=self.model,
            detector=self.detector,
            weights_dir=self.weights_dir,
            allow_unverified=self.allow_unverified,
            device=self.device,
            runtime=self.runtime,
            precision=self.precision,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How faces are found, followed and shown, and how the film is written."""

    denoise: Annotated[
        str,
        Parameter(group=MAIN, help="Take off noise: light, medium, strong, or 0 to 1."),
    ] = f"{_DEFAULT.read.denoise:g}"
    background: Annotated[
        Path | None,
        Parameter(group=MAIN, help="Model file for the whole picture (Real-ESRGAN ...)."),
    ] = _DEFAULT.background.model
    upscale: Annotated[str, Parameter(group=MAIN, help="Size of the output: 1, 1.5, 2 or 4.")] = (
        str(_DEFAULT.background.upscale)
    )
    strength: Annotated[
        float, Parameter(group=MAIN, help="0 changes nothing, 1 restores fully.")
    ] = _DEFAULT.blend.strength
    faces: Annotated[
        str, Parameter(group=MAIN, help="Whom to restore: all, largest, or numbers (2,5).")
    ] = str(_DEFAULT.blend.faces)
    faces_file: Annotated[
        Path | None, Parameter(group=MAIN, help="Numbers the faces; `inspect` writes it.")
    ] = _DEFAULT.blend.faces_file
    overwrite: Annotated[
        bool,
        Parameter(
            group=OUTPUT, negative="", show_default=False, help="Replace an existing output."
        ),
    ] = _DEFAULT.encode.overwrite
    codec: Annotated[VideoCodec, Parameter(group=OUTPUT, help="Video codec.")] = (
        _DEFAULT.encode.codec
    )
    crf: Annotated[
        int | None, Parameter(group=OUTPUT, help="Quality, lower is better (h264: 18).")
    ] = _DEFAULT.encode.crf
    preset: Annotated[str | None, Parameter(group=OUTPUT, help="Encoder speed (h264: medium).")] = (
        _DEFAULT.encode.preset
    )
    audio: Annotated[TrackChoice, Parameter(group=OUTPUT, help="Sound.")] = _DEFAULT.encode.audio
    subtitles: Annotated[TrackChoice, Parameter(group=EXPERT, help="Subtitles.")] = (
        _DEFAULT.encode.subtitles
    )
    attachments: Annotated[TrackChoice, Parameter(group=EXPERT, help="Fonts ...")] = (
        _DEFAULT.encode.attachments
    )
    deinterlace: Annotated[Deinterlace, Parameter(group=EXPERT, help="Tapes.")] = (
        _DEFAULT.read.deinterlace
    )
    fields: Annotated[
        bool,
        Parameter(
            group=EXPERT, negative="", show_default=False, help="One picture for each field."
        ),
    ] = _DEFAULT.read.fields
    nvdec: Annotated[
        bool,
        Parameter(group=EXPERT, negative="", show_default=False, help="Decode on an NVIDIA card."),
    ] = _DEFAULT.read.nvdec
    nvenc: Annotated[
        bool,
        Parameter(group=EXPERT, negative="", show_default=False, help="Encode on an NVIDIA card."),
    ] = _DEFAULT.encode.nvenc
    resume: Annotated[
        bool,
        Parameter(
            group=OUTPUT,
            negative="--fresh",
            show_default=False,
            help="Go on with an unfinished run (default), or start over.",
        ),
    ] = _DEFAULT.resume
    report: Annotated[Path | None, Parameter(group=OUTPUT, help="Write a JSON report.")] = None
    report_landmarks: Annotated[
        bool,
        Parameter(
            group=EXPERT,
            negative="",
            show_default=False,
            help="Landmarks of every frame in the report.",
        ),
    ] = _DEFAULT.record_landmarks
    detect_every: Annotated[int, Parameter(group=EXPERT, help="Search every n-th frame.")] = (
        _DEFAULT.detect.every
    )
    detect_threshold: Annotated[float, Parameter(group=EXPERT, help="Least confidence, 0..1.")] = (
        _DEFAULT.detect.threshold
    )
    lookahead: Annotated[
        int, Parameter(group=EXPERT, help="Frames that smoothing looks ahead; 0: causal.")
    ] = _DEFAULT.track.lookahead
    temporal: Annotated[
        float, Parameter(group=EXPERT, help="Average texture over frames: 0 none, 1 full.")
    ] = _DEFAULT.blend.temporal
    gates: Annotated[
        bool,
        Parameter(
            group=EXPERT,
            show_default=False,
            help="Hold back faces that are sharp, covered ...",
        ),
    ] = _DEFAULT.blend.gates
    overlap: Annotated[bool, Parameter(group=EXPERT, help="Stages on threads of their own.")] = (
        _DEFAULT.overlap
    )

    def settings(self, span: TimeSpan, model: ModelSettings) -> RestoreSettings:
        """Return the settings of a run that the options ask for.

        Raises:
            SettingsError: An option is out of its range.
        """
        return RestoreSettings(
            span=span,
            read=ReadSettings(
                deinterlace=self.deinterlace,
                fields=self.fields,
                denoise=parse_denoise(self.denoise),
                nvdec=self.nvdec,
            ),
            background=BackgroundSettings(self.background, parse_upscale(self.upscale)),
            model=model,
            detect=DetectSettings(every=self.detect_every, threshold=self.detect_threshold),
            track=TrackSettings(lookahead=self.lookahead),
            blend=BlendSettings(
                strength=self.strength,
                faces=parse_faces(self.faces),
                faces_file=self.faces_file,
                temporal=self.temporal,
                gates=self.gates,
            ),
            encode=EncodeSettings(
                codec=self.codec,
                crf=self.crf,
                preset=self.preset,
                nvenc=self.nvenc,
                overwrite=self.overwrite,
                audio=self.audio,
                subtitles=self.subtitles,
                attachments=self.attachments,
            ),
            resume=self.resume,
            overlap=self.overlap,
            record_landmarks=self.report_landmarks,
            record_history=self.report is not None,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """How the faces of a photograph are found and shown, and what is made of it."""

    strength: Annotated[
        float, Parameter(group=MAIN, help="0 changes nothing, 1 restores fully.")
    ] = _DEFAULT.blend.strength
    faces: Annotated[FaceChoice, Parameter(group=MAIN, help="Whom to restore.")] = FaceChoice.ALL
    aligned: Annotated[
        bool,
        Parameter(
            group=MAIN, negative="", show_default=False, help="IN is a face in the model's pose."
        ),
    ] = False
    id_photo: Annotated[
        Literal["1in", "2in", "35x45"] | None,
        Parameter(group=MAIN, help="Make an ID photo of that size."),
    ] = None
    background_colour: Annotated[
        BackgroundColour | None, Parameter(group=MAIN, help="Of the ID photo (white).")
    ] = None
    crops: Annotated[
        Path | None, Parameter(group=OUTPUT, help="Folder for the faces before and after.")
    ] = None
    overwrite: Annotated[
        bool,
        Parameter(
            group=OUTPUT, negative="", show_default=False, help="Replace an existing output."
        ),
    ] = _DEFAULT.encode.overwrite
    matting: Annotated[
        Path | None, Parameter(group=EXPERT, help="MODNet's weights, for the ID photo.")
    ] = None
    detect_threshold: Annotated[float, Parameter(group=EXPERT, help="Least confidence, 0..1.")] = (
        _DEFAULT.detect.threshold
    )
    gates: Annotated[
        bool,
        Parameter(
            group=EXPERT, show_default=False, help="Hold back faces that are sharp, covered ..."
        ),
    ] = _DEFAULT.blend.gates

    def settings(self, model: ModelSettings) -> RestoreSettings:
        """Return the settings that photographs share with films.

        Raises:
            SettingsError: An option is out of its range.
        """
        return RestoreSettings(
            model=model,
            detect=DetectSettings(threshold=self.detect_threshold),
            blend=BlendSettings(strength=self.strength, faces=self.faces, gates=self.gates),
            encode=EncodeSettings(overwrite=self.overwrite),
        )

    def id_photo_settings(self) -> IdPhotoSettings | None:
        """Return what an ID photo is to be like; None if none is asked for.

        Raises:
            SettingsError: Options contradict each other.
        """
        if self.id_photo is None:
            if self.background_colour is not None or self.matting is not None:
                raise SettingsError(
                    "--background-colour and --matting are for ID photos: add --id-photo 1in, "
                    "2in or 35x45"
                )
            return None
        if self.aligned or self.crops is not None:
            raise SettingsError("--id-photo cannot go with --aligned or --crops")
        colour = self.background_colour or BackgroundColour.WHITE
        return IdPhotoSettings(IdPhotoSize(self.id_photo), colour, self.matting)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class NumberOptions:
    """Whether the faces of the film are numbered, and how they are found."""

    faces_file: Annotated[
        Path | None,
        Parameter(group=MAIN, help="Number all faces (X.toml) and show them (X.png)."),
    ] = None
    overwrite: Annotated[
        bool,
        Parameter(
            group=OUTPUT, negative="", show_default=False, help="Replace existing such files."
        ),
    ] = _DEFAULT.encode.overwrite
    detect_every: Annotated[int, Parameter(group=EXPERT, help="Search every n-th frame.")] = (
        _DEFAULT.detect.every
    )
    detect_threshold: Annotated[float, Parameter(group=EXPERT, help="Least confidence, 0..1.")] = (
        _DEFAULT.detect.threshold
    )

    def settings(self, model: ModelSettings) -> RestoreSettings:
        """Return the settings under which faces are looked for.

        Raises:
            SettingsError: An option is out of its range.
        """
        return RestoreSettings(
            model=model,
            detect=DetectSettings(every=self.detect_every, threshold=self.detect_threshold),
            encode=EncodeSettings(overwrite=self.overwrite),
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TalkOptions:
    """How much is said."""

    quiet: Annotated[
        bool,
        Parameter(group=OUTPUT, negative="", show_default=False, help="Say nothing but errors."),
    ] = False
    debug: Annotated[
        bool,
        Parameter(
            group=EXPERT,
            negative="",
            show_default=False,
            help="Log everything; tracebacks of errors.",
        ),
    ] = False
