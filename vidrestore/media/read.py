"""A film becomes frames: in order, each with an exact time, from any moment on.

Damage is counted and decoding goes on. Pictures of two fields are made whole, and noise is taken
off a copy if asked; else nothing is filtered, and nothing is turned.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from av.video.frame import VideoFrame

from vidrestore.contracts import Frame, FrameGeometry
from vidrestore.errors import RangeError
from vidrestore.media.decoding import Damage, Decoding
from vidrestore.media.deinterlace import NEIGHBOURS, Deinterlacer, ShownPicture, plan_fields
from vidrestore.media.denoise import REACH, DenoisedPicture, Denoiser
from vidrestore.media.fields import FieldReport, measure_fields
from vidrestore.media.opening import reading
from vidrestore.media.pixels import PictureReader
from vidrestore.media.probe import SourceInfo, probe
from vidrestore.settings import Deinterlace, ReadSettings

_KEYS_BEFORE = (2, 4, 12)
"""Key frames before the moment wanted from which decoding begins. The first after a seek need not
be what it is in a full read (open groups of pictures, intra refresh), the second is; more are tried
where there is damage."""
_CLEAN_KEYS = 2


class VideoReader:
    """Reads the pictures of one film.

    Frames own their memory: they stay valid when the reader has gone on and when it is closed.

    Example:
        with VideoReader(path) as reader:
            for frame in reader.frames(Fraction(90)):
                ...
    """

    def __init__(self, path: Path, settings: ReadSettings | None = None) -> None:
        """Look into the film, and at some of its pictures unless it is to be left interlaced.

        Raises:
            MediaOpenError: See `probe`.
            DeviceError: It is to be decoded on an NVIDIA card, and that cannot be.
        """
        settings = settings or ReadSettings()
        self._denoise, self._nvdec = settings.denoise, settings.nvdec
        self._source = probe(Path(path))
        self.fields: FieldReport | None = None
        """What was measured; None if nothing was."""
        if settings.deinterlace is not Deinterlace.OFF:
            self.fields = measure_fields(self._source)
        self._plan, self.notes = plan_fields(settings, self.fields, self._source.video)
        self.info: SourceInfo = self._source
        """The film as its frames are delivered: at twice the rate where each field is one."""
        if self._plan is not None:
            self.info = self._plan.delivered(self._source)
        self.damage = Damage()
        self.is_damaged = False
        """Set where damage is known of: then everything is decoded from the start of the film,
        because what follows damage looks otherwise to a decoder that has not been through it."""
        self._damage_at: list[tuple[float, Damage]] = [(-math.inf, Damage())]
        """Counts as they were when the picture of a time was delivered, where they changed."""
        self._open: list[Decoding] = []
        self._frame_times: list[Fraction] | None = None
        if self._nvdec:
            Decoding(self._source, Damage(), nvdec=True).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.pop().close()

    def frames(self, start_seconds: Fraction | None = None) -> Generator[Frame, None, None]:
        """Decode from a moment to the end of the film.

        Every call has its own handle on the file, so that it may run on a thread of its own.

        Args:
            start_seconds: Time of the film (counted from ``info.origin``) of the first frame
                wanted; frames before it are decoded if need be but not delivered. None: all.

        Yields:
            Frames in the order they are shown, timestamps strictly increasing. Which frames
            come, and everything in them, does not depend on ``start_seconds``.

        Raises:
            MediaError: The file could not be read on.
        """
        with reading(self.info.path):
            first = None if start_seconds is None else start_seconds + self.info.origin
            self._damage_at = [(-math.inf, self.damage.copy())]
            pictures = PictureReader()
            held: DenoisedPicture | None = None
            for item in self._cleaned(first):
                time = item.shown.time
                self._note_damage(time)
                if held is not None:
                    # containers leave lengths out, or give them in the order of decoding
                    yield self._frame(pictures, held, time - held.shown.time)
                held = item
            if held is not None:
                length = held.shown.duration or self._usual_length
                yield self._frame(pictures, held, length)

    def damage_between(self, first: int, last: int | None) -> Damage:
        """Return what was wrong with some of the frames that ``frames`` delivered the last time.

        Args:
            first: Time of the first of them, its ``pts``.
            last: Of the last; None: everything up to now.
        """
        before = max((e for e in self._damage_at if e[0] < first), key=itemgetter(0))[1]
        upto = self.damage
        if last is not None:
            upto = max((e for e in self._damage_at if e[0] <= last), key=itemgetter(0))[1]
        return upto.minus(before)

    def damaged_places(self, after: int, last: int) -> Iterator[tuple[float, str]]:
        """Yield where damage was met among the frames that ``frames`` delivered the last time.

        Args:
            after: Behind which time to begin, in units of ``pts``.
            last: Time of the last frame.

        Yields:
            Seconds of the film, and what was wrong there in a few words, by time.
        """
        base, origin = self.info.video.time_base, self.info.origin
        for (_, before), (time, counts) in pairwise(self._damage_at[:]):
            if after < time <= last:
                kinds = counts.minus(before).kinds()
                yield float(time * base - origin), ", ".join(kinds)

    def _note_damage(self, time: int) -> None:
        latest = self._damage_at[-1][1]
        if replace(self.damage, num_pictures=latest.num_pictures) != latest:
            self._damage_at.append((time, self.damage.copy()))

    @property
    def _usual_length(self) -> int:
        """Of a stored picture in units of its time base; of a field in units half as long."""
        video = self._source.video
        return max(1, round(1 / (video.nominal_rate * video.time_base)))

    def _cleaned(self, first: Fraction | None) -> Iterator[DenoisedPicture]:
        """Yield whole pictures from ``first`` on, denoised if asked."""
        if not self._denoise:
            for shown in self._shown(first, 0):
                yield DenoisedPicture(shown, None)
            return
        base = self.info.video.time_base
        denoiser = Denoiser(self._denoise, base)
        for shown in self._shown(first, REACH):
            for item in denoiser.push(shown):
                if first is None or item.shown.time * base >= first:
                    yield item
        for item in denoiser.finish():
            if first is None or item.shown.time * base >= first:
                yield item

    def _shown(self, first: Fraction | None, num_before: int) -> Iterator[ShownPicture]:
        """Yield whole pictures from ``first`` on, and at least ``num_before`` from before it.

        Only those that come from ``num_before`` stored pictures are as in a full read.
        """
        if self._plan is None:
            for time, picture in self._from(first, num_before):
                facts = (picture.duration or 0, picture.key_frame, picture.is_corrupt)
                yield ShownPicture(time, picture, *facts)
            return
        base = self.info.video.time_base
        deinterlacer = Deinterlacer(self._plan, self._source.video.time_base, self._usual_length)
        for time, picture in self._from(first, NEIGHBOURS + num_before):
            for shown in deinterlacer.push(time, picture):
                if num_before or first is None or shown.time * base >= first:
                    yield shown
        for shown in deinterlacer.finish():
            if num_before or first is None or shown.time * base >= first:
                yield shown

    def _from(self, first: Fraction | None, num_before: int) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the stored pictures from ``first`` on, and some before it."""
        can_seek = self.info.timeline.can_seek and not self.is_damaged
        if first is not None and can_seek and first > self.info.origin + 1:
            for num_keys in _KEYS_BEFORE:
                found = yield from self._try_from(first, num_keys + (num_before > 0), num_before)
                if found:
                    return
        yield from self._all_from(first, num_before)  # near the start that is as quick

    def _try_from(
        self, first: Fraction, num_keys: int, num_before: int
    ) -> Generator[tuple[int, VideoFrame], None, bool]:
        """Do as `_from` after seeking; False, and nothing, if it might not be exact.

        What is shown before the first key frame refers to pictures that were not decoded, and
        damage is concealed with what came before it: both must be over.
        """
        base = self._source.video.time_base
        earlier = self.damage.copy()
        before: deque[tuple[int, VideoFrame]] = deque(maxlen=num_before)
        num_clean, has_frames = 0, False
        with closing(self._decoding()) as decoding:
            if not decoding.seek(first, num_keys):
                return False
            trouble = self._trouble()
            for time, picture in decoding.pictures():
                seconds = time * base
                if not has_frames:
                    if seconds < first and self._trouble() != trouble:
                        trouble, num_clean = self._trouble(), 0
                        before.clear()
                    elif picture.key_frame and seconds <= first:
                        num_clean += 1
                    if seconds < first:
                        if num_clean >= _CLEAN_KEYS:
                            before.append((time, picture))
                        continue
                    self.damage.forget_since(earlier)
                    if num_clean < _CLEAN_KEYS or len(before) < num_before:
                        return False
                    self.damage.corrupt_frames += picture.is_corrupt
                    has_frames = True
                    yield from before
                yield time, picture
        return has_frames

    def _trouble(self) -> int:
        return self.damage.bad_packets + self.damage.corrupt_frames + self.damage.mended_times

    def _all_from(
        self, first: Fraction | None, num_before: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        base = self._source.video.time_base
        before: deque[tuple[int, VideoFrame]] = deque(maxlen=num_before)
        earlier, is_before = self.damage.copy(), first is not None
        with closing(self._decoding()) as decoding:
            for time, picture in decoding.pictures():
                if first is not None and is_before:
                    if time * base < first:
                        before.append((time, picture))
                        continue
                    is_before = False
                    self.damage.forget_since(earlier)
                    self.damage.corrupt_frames += picture.is_corrupt
                    yield from before
                yield time, picture
        if is_before:
            yield from before  # the second field of the last picture may be wanted

    def _decoding(self) -> Decoding:
        self._open = [decoding for decoding in self._open if decoding.is_open]
        self._open.append(Decoding(self._source, self.damage, nvdec=self._nvdec))
        return self._open[-1]

    def _frame(self, pictures: PictureReader, item: DenoisedPicture, duration: int) -> Frame:
        shown = item.shown
        video, time, picture = self.info.video, shown.time, shown.picture
        planes, layout, render_rgb = pictures.read(picture)
        seconds = time * video.time_base - self.info.origin
        return Frame(
            planes=planes,
            pts=time,
            time_base=video.time_base,
            duration=duration,
            seconds=float(seconds),
            # from the first picture: half a frame between sound and picture would make ticks rock
            tick=math.floor((seconds - video.start_seconds) * video.nominal_rate + Fraction(1, 2)),
            layout=layout,
            geometry=FrameGeometry(
                width=picture.width,
                height=picture.height,
                turn=video.turn,
                pixel_aspect=video.pixel_aspect,
            ),
            render_rgb=render_rgb,
            is_corrupt=shown.is_corrupt,
            is_key=shown.is_key,
            cleaned=None if item.cleaned is None else pictures.read(item.cleaned)[0],
        )

    def time_of_frame(self, number: int) -> Fraction:
        """Return when a picture is shown, in seconds of the film.

        The first call reads the whole file without decoding it, or decodes it where the container
        does not say when pictures are shown.

        Args:
            number: Counted from 0 in the order of showing.

        Raises:
            RangeError: The film has no such frame.
        """
        if self._frame_times is None:
            with reading(self.info.path):
                self._frame_times = self._read_frame_times()
        if not 0 <= number < len(self._frame_times):
            raise RangeError(
                f"there is no frame @{number}: {self.info.path} has {len(self._frame_times)} "
                f"frames, @0 to @{len(self._frame_times) - 1}"
            )
        return self._frame_times[number]

    def _read_frame_times(self) -> list[Fraction]:
        base, origin = self.info.video.time_base, self.info.origin
        with closing(Decoding(self._source, Damage())) as decoding:
            times = decoding.shown_times()
        with closing(Decoding(self._source, Damage())) as decoding:
            if times is None:
                times = [time for time, _ in decoding.pictures()]
            else:
                # pictures before the first decodable one are never shown
                first = next(time for time, _ in decoding.pictures())
                times = sorted({time for time in times if time >= first})
        if self._plan is not None:
            times = self._plan.times(times, self._usual_length)
        return [time * base - origin for time in times]
