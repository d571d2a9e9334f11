"""What the page can ask for: each task runs in the work process and leaves files and facts."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vidrestore.jobs.drawing import as_clock
from vidrestore.jobs.progress import OnProgress
from vidrestore.settings import Moment, RestoreSettings

if TYPE_CHECKING:  # PyTorch takes seconds, and the page itself needs none of it
    from vidrestore.contracts import RGBImage
    from vidrestore.jobs.inspection import Inspection
    from vidrestore.jobs.photo_results import PhotoResult
    from vidrestore.jobs.restore import OnHang
    from vidrestore.report import RestoreReport


_SCREEN_PX = 1600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task leaves behind."""

    files: Mapping[str, Path] = field(default_factory=dict)
    """What the page may show or hand out, by the name in the address."""
    notes: tuple[str, ...] = ()
    """Sentences for people."""


class Task(Protocol):
    """Something to be done in the work process; it is sent there, so it is plain data."""

    @property
    def kind(self) -> str:
        """What it is, for the page: each film shows the latest of each kind."""
        ...

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Outcome:
        """Do it.

        Raises:
            VidrestoreError: It cannot be done; the text is for people.
        """
        ...


@dataclass(frozen=True, slots=True)
class FilmFacts(Outcome):
    """What a film holds, as far as the page says it."""

    seconds: float | None = None
    """Length; None where the file does not tell."""
    width: int = 0
    height: int = 0
    """As seen on the screen, but for the shape of the pixels."""
    frames_a_second: float = 0.0
    is_interlaced: bool = False
    num_audio: int = 0
    most_faces: int = 0
    """Most faces seen at one of the moments looked at."""
    face_width_px: float = 0.0
    """Median width of the faces seen."""
    output_bytes: tuple[int, int] = (0, 0)
    """Least and most that the restored film will take; 0, 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class InspectFilm:
    """Find out what a film holds."""

    source: Path
    kind: str = "facts"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> FilmFacts:
        """Do it; see ``Task``."""
        from vidrestore.jobs.inspection import inspect_video

        return film_facts(inspect_video(self.source))


def film_facts(inspection: Inspection) -> FilmFacts:
    """Pick from an inspection what the page says."""
    source, video = inspection.source, inspection.source.video
    widths = [width for sample in inspection.samples for width in sample.widths_px]
    is_turned = video.turn[0] == 0
    height, width = (video.width, video.height) if is_turned else (video.height, video.width)
    seconds = source.duration_seconds
    return FilmFacts(
        notes=inspection.plan[".mp4"],
        seconds=None if seconds is None else float(seconds),
        width=width,
        height=height,
        frames_a_second=float(video.nominal_rate),
        is_interlaced=inspection.fields is not None and inspection.fields.kind == "interlaced",
        num_audio=len(source.audio),
        most_faces=max((len(sample.widths_px) for sample in inspection.samples), default=0),
        face_width_px=statistics.median(widths) if widths else 0.0,
        output_bytes=inspection.output_bytes,
    )


@dataclass(frozen=True, slots=True)
class FoundPeople(Outcome):
    """The numbered faces of a film; ``files`` holds a portrait of each under its number."""

    captions: Mapping[int, str] = field(default_factory=dict)
    """For each number, when the face is seen first."""


@dataclass(frozen=True, slots=True)
class NumberFaces:
    """Find and number all faces of a film."""

    source: Path
    faces_file: Path
    kind: str = "people"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> FoundPeople:
        """Do it; see ``Task``."""
        from vidrestore.jobs.faces import number_faces

        settings = _overwriting(RestoreSettings())
        numbered = number_faces(self.source, self.faces_file, settings, on_progress, on_hang)
        files, captions = {}, {}
        for face in numbered.found.faces:
            number = face.known.face_id
            captions[number] = f"{number}: from {as_clock(float(face.known.seen[0, 0]))}"
            if face.portraits:
                best = max(face.portraits, key=lambda portrait: portrait.quality)
                path = self.faces_file.with_name(f"face-{number}.jpg")
                path.write_bytes(best.jpeg)
                files[f"{number}.jpg"] = path
        return FoundPeople(files=files, captions=captions)


@dataclass(frozen=True, slots=True)
class CompareFrame:
    """Show one picture of a film before and after."""

    source: Path
    at: Moment
    folder: Path
    """Gets ``before.png`` and ``after.png``."""
    settings: RestoreSettings
    kind: str = "frame"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Outcome:
        """Do it; see ``Task``."""
        from vidrestore.jobs.preview_frame import frame_before_after

        before, after, faces = frame_before_after(self.source, self.at, self.settings)
        notes = () if faces else ("No face was found in this picture: try another moment.",)
        return Outcome(_pair(self.folder, before, after), notes)


@dataclass(frozen=True, slots=True)
class Clip(Outcome):
    """A preview, ``preview.mp4``."""

    seconds_for_film: float | None = None
    """How long the whole film would take."""
    bytes_for_film: int | None = None
    """Likewise its size."""
    basis: str = ""
    """What both rest on."""


@dataclass(frozen=True, slots=True)
class MakePreview:
    """Make a short clip, before and after side by side."""

    source: Path
    target: Path
    settings: RestoreSettings
    kind: str = "preview"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Clip:
        """Do it; see ``Task``."""
        from vidrestore.jobs.preview import preview_video

        settings = _overwriting(self.settings)
        made = preview_video(self.source, self.target, settings, on_progress, on_hang)
        basis = "" if made.estimate is None else made.estimate.basis
        return Clip(
            {"preview.mp4": made.path},
            _said(made.report),
            made.seconds_for_film,
            made.bytes_for_film,
            basis,
        )


@dataclass(frozen=True, slots=True)
class RestoreFilm:
    """Restore a film; what an earlier, stopped run has finished is kept."""

    source: Path
    target: Path
    settings: RestoreSettings
    kind: str = "film"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Outcome:
        """Do it; see ``Task``."""
        from vidrestore.jobs.restore import restore_video

        settings = _overwriting(self.settings)
        report = restore_video(self.source, self.target, settings, on_progress, on_hang)
        return Outcome({self.target.name: self.target}, _said(report))


@dataclass(frozen=True, slots=True)
class RestorePhoto:
    """Restore a photo."""

    source: Path
    target: Path
    folder: Path
    """Gets ``before.png`` and ``after.png``, of the size of a screen."""
    settings: RestoreSettings
    kind: str = "photo"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> PhotoPair:
        """Do it; see ``Task``."""
        from vidrestore.jobs.photo import restore_photo

        made = restore_photo(self.source, self.target, _overwriting(self.settings))
        notes = (_said_of(made), *made.notes)
        shown = _pair(self.folder, _as_shown(self.source), _as_shown(self.target))
        return PhotoPair({self.target.name: self.target}, notes, shown)


@dataclass(frozen=True, slots=True)
class PhotoPair(Outcome):
    """A restored photo, to be handed out, and what the page shows."""

    shown: Mapping[str, Path] = field(default_factory=dict)


def _said_of(made: PhotoResult) -> str:
    count = len(made.faces)
    if not count:
        return "No face was found."
    text = "One face was found" if count == 1 else f"{count} faces were found"
    held = sorted({face.held_back for face in made.faces if face.held_back})
    return f"{text}; left alone, wholly or in part: {', '.join(held)}." if held else f"{text}."


def _as_shown(path: Path) -> RGBImage:
    """Read a photo as a screen shows it: 8 bits, no larger than that."""
    import numpy as np
    from PIL import Image

    from vidrestore.core.photo import eight_bit_rgb
    from vidrestore.media.images import read_photograph

    image = Image.fromarray(np.ascontiguousarray(eight_bit_rgb(read_photograph(path).samples)))
    image.thumbnail((_SCREEN_PX, _SCREEN_PX))
    return np.asarray(image)


def _overwriting(settings: RestoreSettings) -> RestoreSettings:
    """Replace what the page itself has made before."""
    return dataclasses.replace(
        settings, encode=dataclasses.replace(settings.encode, overwrite=True)
    )


def _said(report: RestoreReport) -> tuple[str, ...]:
    frames = report.frames
    faces = f"Faces were restored in {frames['painted']} of {frames['written']} pictures."
    if not frames["faces"]:
        faces = "No faces were found."
    elif not frames["painted"]:
        faces = "The faces found are sharp already, or too small or blurred, and were left alone."
    return (faces, *report.warnings)


def _pair(folder: Path, before: RGBImage, after: RGBImage) -> dict[str, Path]:
    from PIL import Image

    files = {}
    for name, image in (("before.png", before), ("after.png", after)):
        files[name] = folder / name
        draft = folder / f"new-{name}"  # the page may be reading the earlier one
        Image.fromarray(image).save(draft, compress_level=1)
        draft.replace(files[name])
    return files
