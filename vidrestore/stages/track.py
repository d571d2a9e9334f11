"""DetectedFrame → TrackedFrame: identities, and landmarks smoothed over past and future.

Frames are described in blocks that lie on a fixed grid of ticks, each with ``lookahead`` ticks of
future known; so the same frame is described from the same detections wherever decoding began.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby

from vidrestore.contracts import DetectedFrame, FaceEmbedder, FaceTrack, TrackedFrame
from vidrestore.core.cuts import LOOKAHEAD_TICKS
from vidrestore.core.tracking import FaceTracker, Shot, memory_ticks
from vidrestore.core.views import is_same_picture
from vidrestore.settings import DetectSettings, TrackSettings

_LEAST_GAP = 12
"""Ticks that a face may be hidden and keep its identity, however short the look-ahead."""


def warmup_ticks(detect: DetectSettings, track: TrackSettings) -> tuple[int, int]:
    """Return how many ticks before and after a range influence the frames inside it."""
    horizon, gap = _horizon(detect, track), _max_gap(detect, track)
    block = max(1, track.lookahead)
    # who is who is told by where a face went and by how it looked, each as long as it is remembered
    before = 2 * memory_ticks(gap) + 3 * block + 2 * gap + track.fade_frames
    # whether a frame is searched is told by looks at frames that far before and behind it
    near = detect.watch_every
    return before + 2 * near, block + horizon + 2 * near + LOOKAHEAD_TICKS


def track_faces(
    frames: Iterator[DetectedFrame],
    detect: DetectSettings,
    track: TrackSettings,
    embedder: FaceEmbedder | None = None,
) -> Iterator[TrackedFrame]:
    """Follow faces from frame to frame.

    Holds back at most two blocks of ``track.lookahead`` ticks.

    Args:
        frames: With what the detector saw.
        detect: How it searched.
        track: How faces are followed.
        embedder: Tells people apart where their faces cross, if one is installed.

    Yields:
        One item for each frame, in order.
    """
    horizon = _horizon(detect, track)
    block = max(1, track.lookahead)
    tracker = FaceTracker(horizon, _max_gap(detect, track), track.fade_frames, block, embedder)
    held: list[tuple[DetectedFrame, Shot]] = []
    for item in frames:
        shot = tracker.cut() if item.is_cut else tracker.shot
        if item.was_searched:
            tracker.search(item.frame.tick, item.frame.seconds, item.observations)
        held.append((item, shot))
        while held and item.frame.tick >= _block_end(held[0][0], block) - 1 + horizon:
            end = _block_end(held[0][0], block)
            count = sum(1 for h, _ in held if h.frame.tick < end)
            yield from _describe(held[:count], tracker)
            del held[:count]
            tracker.forget(end)
    for _, group in groupby(held, key=lambda pair: _block_end(pair[0], block)):
        yield from _describe(list(group), tracker)


def _horizon(detect: DetectSettings, track: TrackSettings) -> int:
    return max(track.lookahead, detect.every) if track.lookahead else 0


def _max_gap(detect: DetectSettings, track: TrackSettings) -> int:
    # the last sight before and the first after an occlusion are up to a search further away
    return max(_horizon(detect, track), _LEAST_GAP) + detect.every


def _block_end(item: DetectedFrame, block: int) -> int:
    return (item.frame.tick // block + 1) * block


def _describe(
    held: Sequence[tuple[DetectedFrame, Shot]], tracker: FaceTracker
) -> Iterator[TrackedFrame]:
    for _, group in groupby(held, key=lambda pair: id(pair[1])):
        pairs = list(group)
        items = [item for item, _ in pairs]
        described = tracker.describe(
            pairs[0][1], [i.frame.tick for i in items], [i.frame.seconds for i in items]
        )
        previous: TrackedFrame | None = None
        for item, tracks in zip(items, described, strict=True):
            if previous is not None and tracks and is_same_picture(previous.frame, item.frame):
                tracks = _where_they_were(tracks, previous.tracks)
            previous = TrackedFrame(frame=item.frame, tracks=tracks, is_cut=item.is_cut)
            yield previous


def _where_they_were(
    tracks: Sequence[FaceTrack], before: Sequence[FaceTrack]
) -> tuple[FaceTrack, ...]:
    """Give faces the landmarks that they had before: in a repeated picture nothing has moved.

    Their crops are then the same too, and are restored once.
    """
    known = {track.track_id: track.landmarks for track in before}
    return tuple(
        dataclasses.replace(track, landmarks=known.get(track.track_id, track.landmarks))
        for track in tracks
    )
