"""Frames become pictures as the encoder takes them: all of one shape, that of the first."""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from vidrestore.contracts import Frame
from vidrestore.media.pixels import PictureConverter, picture_of
from vidrestore.media.segments import Shape


class PictureFitter:
    """Copies frames into pictures, and converts those that are not as the film began."""

    def __init__(self, shape: Shape, notes: list[str]) -> None:
        """Fit to one shape.

        Args:
            shape: Of the film's first frame.
            notes: Where to say, once for each kind of picture, that it is another.
        """
        self._shape, self._notes = shape, notes
        self._converter = PictureConverter()

    def fit(self, frame: Frame, context: VideoCodecContext) -> VideoFrame:
        """Return the frame as a picture in the size, format and colours of an open encoder."""
        shape, size, name = self._shape, (context.width, context.height), context.pix_fmt
        assert name is not None
        is_alike = Shape.of(frame) == shape
        if is_alike:
            picture = picture_of(frame, *size)
        else:
            self._note_change(frame)
            picture = picture_of(frame)
        if not is_alike or name != shape.layout.name:
            picture = self._converter.convert(picture, frame.layout, shape.layout, size, name)
        picture.colorspace, picture.color_range = context.colorspace, context.color_range
        picture.color_primaries, picture.color_trc = context.color_primaries, context.color_trc
        return picture

    def _note_change(self, frame: Frame) -> None:
        what = f"pictures of {Shape.of(frame)} are converted to {self._shape}"
        if not any(what in note for note in self._notes):
            self._notes.append(f"from {frame.seconds:.2f} s on, {what}, as which the film began")
