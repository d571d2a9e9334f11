"""Short clips before and after, their pictures, and what the whole film would take."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrestore.contracts import BlendedFrame
from vidrestore.jobs.compare import Comparer
from vidrestore.jobs.contact_sheet import SheetGatherer
from vidrestore.jobs.drawing import clock_time, save_png
from vidrestore.jobs.estimating import Density, Estimate, PartCost, cost_of, estimate
from vidrestore.jobs.moments import NUM_PLACES, Look, look_through
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.jobs.preview_parts import Part, asked_part, telling_parts
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.jobs.restore import OnHang, num_frames_in, run_job
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.media.target import claim_target
from vidrestore.media.trial import TrialEncoder, sound_rate, stored_bytes
from vidrestore.media.write import VideoWriter
from vidrestore.pipeline import Span
from vidrestore.report import RestoreReport
from vidrestore.settings import Compare, FaceChoice, RestoreSettings, TimeSpan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreviewClip:
    """One clip and its sheet of pictures."""

    path: Path
    sheet: Path
    report: RestoreReport
    why: str | None
    """Why this moment was chosen; None where the user chose."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview leaves behind."""

    clips: tuple[PreviewClip, ...]
    """At least one."""
    estimate: Estimate | None
    """What the whole film would take; None where its length is not known."""

    @property
    def path(self) -> Path:
        """The first clip."""
        return self.clips[0].path

    @property
    def sheet(self) -> Path:
        """Its pictures: PNG."""
        return self.clips[0].sheet

    @property
    def report(self) -> RestoreReport:
        """Its report."""
        return self.clips[0].report

    @property
    def seconds_for_film(self) -> float | None:
        """Estimated time for the whole film on this machine."""
        return None if self.estimate is None else self.estimate.seconds

    @property
    def bytes_for_film(self) -> int | None:
        """Estimated size of the whole film."""
        return None if self.estimate is None else self.estimate.num_bytes


def preview_video(
    source: str | Path,
    target: str | Path | None = None,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
    *,
    compare: Compare = Compare.SIDE,
) -> Preview:
    """Restore a range and show it before and after, with sound, and as a sheet of pictures.

    The restored frames are those that a full run would give to its encoder: the frames around the
    range that influence them are decoded and followed too.

    Without a range the film is searched here and there, in bounded time, for up to three telling
    moments: faces large, many, and hard to make out; each becomes a clip. Of a film in which no
    face was seen 6 seconds from the first third are shown.

    Args:
        source: Any film that FFmpeg reads.
        target: None: ``NAME-preview-START.mp4`` beside the source. The sheet has the same name
            and ends in ``.png``. Of chosen moments it is ``NAME-preview-1-large.mp4`` and so on,
            or the target's name with ``-1-large``.
        settings: As for ``restore_video``.
        on_progress: Called after each frame that was written.
        on_hang: As for ``restore_video``.
        compare: How before and after are shown.

    Raises:
        VidrestoreError: As for ``restore_video``.
    """
    source, settings = Path(source), settings or RestoreSettings()
    target = None if target is None else Path(target)
    with VideoReader(source, settings.read) as reader:
        info, num_frames = reader.info, num_frames_in(reader, Span())
        look = _look(reader, settings) if settings.span == TimeSpan() else None
        parts = [] if look is None else telling_parts(look, info, target)
        if not parts:
            parts = [asked_part(reader, settings.span, target)]
    for part in parts:
        for path in (part.path, part.sheet):
            claim_target(path, source, overwrite=settings.encode.overwrite)
    clips, costs = [], []
    progress = _Progress(on_progress, parts, info.video.nominal_rate)
    for part in parts:
        logger.info(
            "preview from %s to %s", clock_time(float(part.start)), clock_time(float(part.stop))
        )
        clip, cost = _make(source, part, info, settings, progress.take, on_hang, compare)
        clips.append(clip)
        costs.append(cost)
        progress.next_part()
    density, basis = _density(look, settings)
    return Preview(tuple(clips), estimate(costs, info, num_frames, density, basis))


def _look(reader: VideoReader, settings: RestoreSettings) -> Look | None:
    """Search the film for faces; None where its length is not known."""
    if not reader.info.duration_seconds:
        return None
    chosen = choose_models(settings.model)
    logger.info("looking for faces at up to %d places of the film", NUM_PLACES)
    with loaded_detector(chosen, settings.model, settings.detect) as (detector, _, _):
        look = look_through(reader, detector, settings.detect)
    seen = sum(bool(place.widths_px) for place in look.places)
    logger.info(
        "faces at %d of %d places%s",
        seen,
        len(look.places),
        "" if seen else ": the preview shows the first third of the film",
    )
    if look.is_cut_short:
        logger.info("seeking is slow here: no more places were looked at")
    return look


def _make(
    source: Path,
    part: Part,
    info: SourceInfo,
    settings: RestoreSettings,
    on_progress: OnProgress,
    on_hang: OnHang | None,
    compare: Compare,
) -> tuple[PreviewClip, PartCost]:
    """Make one clip and its sheet."""
    start, stop = float(part.start), float(part.stop)
    comparer, sheet = Comparer(compare, start, stop - start), SheetGatherer(start, stop)
    cpu_seconds = 0.0
    with TrialEncoder(info, settings.encode, part.path) as trial:

        def encode(frames: Iterator[BlendedFrame], writer: VideoWriter) -> Iterator[BlendedFrame]:
            nonlocal cpu_seconds
            begun = time.process_time()
            for item in frames:
                writer.write(comparer.combine(item.original, item.frame))
                sheet.add(item)
                trial.write(item.frame)
                yield item
            cpu_seconds = time.process_time() - begun

        result = run_job(
            source,
            part.path,
            dataclasses.replace(settings, span=part.span),
            on_progress,
            encode=encode,
            is_kept=False,
            on_hang=on_hang,
        )
    save_png(part.sheet, sheet.draw(source.name, result.report.tracks))
    stored = stored_bytes(info, part.start, part.stop)
    cost = cost_of(result, cpu_seconds, trial, stored, sound_rate(part.path))
    return PreviewClip(part.path, part.sheet, result.report, part.why), cost


def _density(look: Look | None, settings: RestoreSettings) -> tuple[Density | None, str]:
    """Return how many faces are restored in a picture of the film, and what that rests on."""
    choice = settings.blend.faces
    if look is None or not look.places or isinstance(choice, tuple):
        return None, "if all of it is like this part"
    faces = look.faces_per_frame(1 if choice is FaceChoice.LARGEST else None)
    basis = f"{faces:.1f} faces in a picture, by a look at {len(look.places)} places"
    return Density(faces, look.faces_per_frame(1)), basis


class _Progress:
    """Makes one progress of those of several clips."""

    def __init__(
        self, on_progress: OnProgress | None, parts: Sequence[Part], rate: Fraction
    ) -> None:
        self._tell = on_progress
        self._expected = sum(max(1, round((p.stop - p.start) * rate)) for p in parts)
        self._before = self._done = 0

    def take(self, progress: Progress) -> None:
        """Pass on what one clip says, counted from the first frame of the first clip."""
        self._done = self._before + progress.num_frames_done
        if self._tell is not None:
            self._tell(
                dataclasses.replace(
                    progress, num_frames_done=self._done, num_frames_expected=self._expected
                )
            )

    def next_part(self) -> None:
        """Take note that a clip is finished."""
        self._before = self._done
