"""The pictures beside a preview: some frames before and after, then each face before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidrestore.contracts import BlendedFrame, Frame, RestoredFace, RGBImage
from vidrestore.core.enlarging import large_from_small
from vidrestore.core.geometry import compose, display_size
from vidrestore.core.portraits import facing
from vidrestore.core.views import orient
from vidrestore.core.warping import crop_from_planes
from vidrestore.jobs.drawing import BACKGROUND, BRIGHT, SOFT, clock_time, write_text
from vidrestore.media.pixels import rgb_of
from vidrestore.report import TrackSummary

NUM_MOMENTS = 4
"""Frames that are shown of a range."""
MOST_FACES = 24
"""Faces that are shown; the largest, where there are more."""

_PICTURE_SIDE = 480
_TILE = 160
_GAP, _MARGIN, _HEADER = 4, 16, 48
_CAPTION, _FACE_CAPTION = 26, 44
_ENOUGH_PX = 160.0
_CLEARLY_BETTER = 1.1


def upright_rgb(frame: Frame, max_side: int | None = None) -> RGBImage:
    """Show a frame's planes, painted or not, upright and with square pixels.

    Args:
        frame: Any frame.
        max_side: Longest side of the result in pixels; None: as large as the film is shown.

    Returns:
        Shape (H, W, 3), uint8 RGB.
    """
    width, height = display_size(frame.geometry)
    scale = 1.0 if max_side is None else min(1.0, max_side / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    if frame.geometry.turn[0] == 0:
        width, height = height, width
    return np.ascontiguousarray(orient(rgb_of(frame, width, height), frame.geometry.turn))


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A moment, or a face at its best moment."""

    seconds: float
    before: RGBImage
    after: RGBImage
    quality: float = 0.0
    width_px: float = 0.0


class SheetGatherer:
    """Chooses what the sheet shows while the frames go by, in bounded memory.

    Args:
        start_seconds: Time of the first frame that will come.
        stop_seconds: Time that the last frame comes before.
    """

    def __init__(self, start_seconds: float, stop_seconds: float) -> None:
        length = stop_seconds - start_seconds
        self._due = [start_seconds + length * (k + 0.5) / NUM_MOMENTS for k in range(NUM_MOMENTS)]
        self._moments: list[_Pair] = []
        self._first: _Pair | None = None
        """Shown where the range is too short for any other."""
        self._faces: dict[int, _Pair] = {}

    def add(self, item: BlendedFrame) -> None:
        """Take the next finished frame."""
        if self._first is None or (self._due and item.frame.seconds >= self._due[0]):
            pair = _Pair(
                item.frame.seconds,
                upright_rgb(item.original, _PICTURE_SIDE),
                upright_rgb(item.frame, _PICTURE_SIDE),
            )
            self._first = self._first or pair
            if self._due and item.frame.seconds >= self._due[0]:
                self._due.pop(0)
                self._moments.append(pair)
        for face in item.faces:
            self._offer(item, face)

    def draw(self, title: str, tracks: Sequence[TrackSummary]) -> RGBImage:
        """Draw the sheet.

        Args:
            title: The film's name.
            tracks: From the report of the same frames.

        Returns:
            Shape (H, W, 3), uint8 RGB.
        """
        told = {track.id: track for track in tracks}
        shown = [k for k in sorted(self._faces) if k in told]
        moments = self._moments or [p for p in [self._first] if p is not None]
        cells = [_cell(p, [f"{clock_time(p.seconds)}   before, after"]) for p in moments]
        faces = [_cell(self._faces[k], _words(told[k])) for k in shown]
        rows = [*_in_rows(cells, 1), *_in_rows(faces, 3)]
        width = 2 * _MARGIN + 2 * _PICTURE_SIDE + 3 * _GAP + _MARGIN
        width = max(width, 2 * _MARGIN + max((row.shape[1] for row in rows), default=0))
        height = _HEADER + sum(row.shape[0] + _MARGIN for row in rows)
        sheet = np.full((height, width, 3), BACKGROUND, np.uint8)
        many = {0: "no faces found", 1: "1 face"}.get(len(tracks), f"{len(tracks)} faces")
        if len(shown) < len(tracks):
            many += f", {len(shown)} of them below"
        write_text(sheet, f"{title}: {many}", (_MARGIN, 32), 0.7, BRIGHT)
        top = _HEADER
        for row in rows:
            sheet[top : top + row.shape[0], _MARGIN : _MARGIN + row.shape[1]] = row
            top += row.shape[0] + _MARGIN
        return sheet

    def _offer(self, item: BlendedFrame, face: RestoredFace) -> None:
        """Keep a face if this is its best moment so far."""
        track = face.aligned.track
        width = 2 * float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
        quality = min(width, _ENOUGH_PX) * (0.1 + facing(track.landmarks)) * (0.1 + face.strength)
        kept = self._faces.get(track.track_id)
        if kept is None and len(self._faces) >= MOST_FACES:
            smallest = min(self._faces, key=lambda k: self._faces[k].width_px)
            if self._faces[smallest].width_px >= width:
                return
            del self._faces[smallest]
        if kept is None or quality > kept.quality * _CLEARLY_BETTER:
            before, after = face_tiles(item, face, _TILE)
            self._faces[track.track_id] = _Pair(item.frame.seconds, before, after, quality, width)


def face_tiles(item: BlendedFrame, face: RestoredFace, size: int) -> tuple[RGBImage, RGBImage]:
    """Cut a face out of the film and out of the finished picture.

    Args:
        item: The finished frame.
        face: One of its faces.
        size: Side of the results.

    Returns:
        Before and after, each of shape (size, size, 3), uint8 RGB.
    """
    tile_from_crop = large_from_small(face.aligned.crop.shape[:2], (size, size))
    tile_from_film = compose(tile_from_crop, face.aligned.crop_from_frame)
    film, finished = (
        (frame.geometry.width, frame.geometry.height) for frame in (item.original, item.frame)
    )
    film_from_finished = large_from_small(finished, film)
    return (
        crop_from_planes(item.original, tile_from_film, size),
        crop_from_planes(item.frame, compose(tile_from_film, film_from_finished), size),
    )


def _words(track: TrackSummary) -> list[str]:
    """Describe a face in two lines."""
    number = f"face {track.id}" if track.face_id is None else f"face {track.face_id} (numbered)"
    lines = [f"{number}   {track.mean_width_px:.0f} px   shown at {track.mean_strength:.0%}"]
    if track.held_back:
        reason = max(track.held_back, key=lambda key: track.held_back[key])
        lines.append(f"{reason}: {track.held_back[reason]} of {track.num_frames} frames")
    return lines


def _cell(pair: _Pair, words: Sequence[str]) -> RGBImage:
    """Put before and after beside each other, with some lines above."""
    before, after = pair.before, pair.after
    caption = _CAPTION if len(words) == 1 and before.shape[0] > _TILE else _FACE_CAPTION
    height = max(before.shape[0], after.shape[0])
    width = before.shape[1] + _GAP + after.shape[1]
    cell = np.full((caption + height, width, 3), BACKGROUND, np.uint8)
    for k, line in enumerate(words):
        write_text(cell, line, (0, 16 + 18 * k), 0.45, SOFT if k else BRIGHT)
    cell[caption : caption + before.shape[0], : before.shape[1]] = before
    cell[caption : caption + after.shape[0], before.shape[1] + _GAP :] = after
    return cell


def _in_rows(cells: Sequence[RGBImage], least: int) -> list[RGBImage]:
    """Lay cells out in rows of at most ``least``, or as many as two pictures are wide."""
    if not cells:
        return []
    width = max(cell.shape[1] for cell in cells)
    height = max(cell.shape[0] for cell in cells)
    across = max(least, (2 * _PICTURE_SIDE + _MARGIN) // (width + _MARGIN))
    rows = []
    for begin in range(0, len(cells), across):
        part = cells[begin : begin + across]
        row = np.full((height, len(part) * (width + _MARGIN) - _MARGIN, 3), BACKGROUND, np.uint8)
        for k, cell in enumerate(part):
            left = k * (width + _MARGIN)
            row[: cell.shape[0], left : left + cell.shape[1]] = cell
        rows.append(row)
    return rows
