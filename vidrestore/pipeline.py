"""READ THIS FIRST: the nine stages, wired in order.

::

    file → decode → detect → track → align → restore → steady → background → blend → encode → file
                                                                                       ↑
                                    original audio, subtitles, chapters, tags (packets, copied by
                                    the writer)

Each stage is a function from an iterator to an iterator: one item in, one item out, in order. What
passes along each arrow is a dataclass of ``contracts.py``. The last iterator is pulled by the
caller; each ``ahead`` puts what stands before it on a thread of its own, a few items ahead, so that
decoding, the networks and encoding overlap. Nothing is kept but what is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from vidrestore.contracts import (
    BlendedFrame,
    DetectedFrame,
    FaceDetector,
    FaceEmbedder,
    FaceRestorer,
    PictureModel,
    RestoredFrame,
    TrackedFrame,
)
from vidrestore.core.face_choice import FaceChooser
from vidrestore.runtime.executor import buffered
from vidrestore.runtime.timing import StageClock
from vidrestore.settings import RestoreSettings
from vidrestore.stages.align import align_faces
from vidrestore.stages.background import enhance_backgrounds
from vidrestore.stages.blend import blend_faces
from vidrestore.stages.decode import decode_frames
from vidrestore.stages.detect import detect_faces
from vidrestore.stages.restore import restore_faces
from vidrestore.stages.steady import steady_faces
from vidrestore.stages.steady import warmup_ticks as steady_ticks
from vidrestore.stages.track import track_faces
from vidrestore.stages.track import warmup_ticks as track_ticks

if TYPE_CHECKING:
    from vidrestore.media.read import VideoReader

Item = TypeVar("Item")

_DEPTH = 4
"""Items that each thread may be ahead of the next; 0 means the next one's thread."""
_DEPTH_OF_LARGE = 1
"""The same for finished pictures that are larger than the film's: 40 MB each at 4K and 10 bits."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of the film that is wanted, in seconds from its start, half-open [start, stop)."""

    start: Fraction | None = None
    stop: Fraction | None = None

    def holds(self, seconds: float) -> bool:
        """Say whether a frame of that time is wanted."""
        after_start = self.start is None or seconds >= float(self.start)
        return after_start and (self.stop is None or seconds < float(self.stop))

    def widened(self, ticks: tuple[int, int], rate: Fraction) -> Span:
        """Widen by some ticks before and after (``rate``: of them a second)."""
        before, after = ticks
        return Span(
            None if self.start is None else max(Fraction(0), self.start - before / rate),
            None if self.stop is None else self.stop + after / rate,
        )

    def cut_from(self, frames: Iterator[RestoredFrame]) -> Iterator[RestoredFrame]:
        """Pass on the frames inside, and ask for none behind the first that is beyond."""
        for item in frames:
            if self.holds(item.frame.seconds):
                yield item
            elif self.stop is not None and item.frame.seconds >= float(self.stop):
                return


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a run."""

    detector: FaceDetector
    restorer: FaceRestorer
    embedder: FaceEmbedder | None = None
    """None where none is installed."""
    background: PictureModel | None = None
    """None unless the user names one."""

    def notes(self) -> list[str]:
        """Return what happened on the device that the user should know, one sentence each."""
        return [*self.restorer.notes, *(self.background.notes if self.background else ())]


@contextmanager
def restoring(
    reader: VideoReader,
    networks: Networks,
    encode: Callable[[Iterator[BlendedFrame]], Iterator[BlendedFrame]],
    span: Span,
    settings: RestoreSettings,
    clock: StageClock,
    chooser: FaceChooser,
) -> Iterator[Iterator[BlendedFrame]]:
    """Wire the stages; pulling the iterator that this context manager gives runs them.

    Args:
        reader: The open film.
        networks: Find and restore faces, and tell people apart.
        encode: The last stage: writes what passes through it.
        span: The frames that are wanted; those around it that influence them pass through the
            stages too, as far as they must.
        settings: Everything else.
        clock: Measures each stage.
        chooser: Says which of the faces that were followed are restored.

    Yields:
        The finished frames of the span, each after it was given to the encoder.
    """
    detector, restorer, embedder = networks.detector, networks.restorer, networks.embedder
    with ExitStack() as stack:

        def ahead(items: Iterator[Item], name: str, depth: int = _DEPTH) -> Iterator[Item]:
            return stack.enter_context(buffered(items, depth if settings.overlap else 0, name))

        rate = reader.info.video.nominal_rate
        near = span.widened(steady_ticks(with_identity=embedder is not None), rate)
        wide = near.widened(track_ticks(settings.detect, settings.track), rate)
        detect = partial(
            detect_faces, detector=detector, settings=settings.detect, embedder=embedder
        )

        def track(frames: Iterator[DetectedFrame]) -> Iterator[TrackedFrame]:
            followed = track_faces(frames, settings.detect, settings.track, embedder)
            for item in followed:
                if near.holds(item.frame.seconds):
                    yield chooser.choose(item, is_wanted=span.holds(item.frame.seconds))

        align = partial(align_faces, template=restorer.template, size=restorer.size)
        restore = partial(restore_faces, restorer=restorer)
        enhance = partial(
            enhance_backgrounds, settings=settings.background, model=networks.background
        )
        blend = partial(
            blend_faces, settings=settings.blend, template=restorer.template, size=restorer.size
        )

        def steady(frames: Iterator[RestoredFrame]) -> Iterator[RestoredFrame]:
            return span.cut_from(
                steady_faces(
                    frames,
                    settings.blend,
                    restorer.template,
                    restorer.size,
                    settings.track.lookahead,
                    embedder,
                )
            )

        decoded = ahead(
            clock.source("decode", decode_frames(reader, wide.start, wide.stop)), "decode"
        )
        detected = ahead(clock.measure("detect", detect, decoded), "detect")
        tracked = clock.measure("track", track, detected)
        aligned = ahead(
            clock.measure("align", align, tracked, lambda frame: len(frame.faces)), "align"
        )
        restored = ahead(clock.measure("restore", restore, aligned), "restore")
        steadied = ahead(clock.measure("steady", steady, restored), "steady")
        if settings.background.is_off and not settings.read.denoise:
            blended = ahead(clock.measure("blend", blend, steadied), "blend")
        else:
            depth = _DEPTH if settings.background.upscale == 1 else _DEPTH_OF_LARGE
            enhanced = ahead(clock.measure("background", enhance, steadied), "background", depth)
            blended = ahead(clock.measure("blend", blend, enhanced), "blend", depth)
        yield clock.measure("encode", encode, blended)
