from __future__ import annotations

from fractions import Fraction

import pytest

from tests.support.fakes import frame_at
from tests.support.synthetic import Clip, drawn_number, make_clip
from vidrestore.media.read import VideoReader
from vidrestore.stages.decode import decode_frames


class FakeInfo:
    origin = Fraction(2, 25)


class FakeReader:
    """Frames at 0, 1, 2, ... 25ths of a second after its origin; counts what it decodes."""

    info = FakeInfo()

    def __init__(self):
        self.decoded = 0
        self.started_at: list[Fraction | None] = []
        self.is_closed = False

    def frames(self, start_seconds=None):
        self.started_at.append(start_seconds)
        first = 0 if start_seconds is None else -(-start_seconds * 25 // 1)
        try:
            for tick in range(first, 100):
                self.decoded += 1
                yield frame_at(tick + 2)  # container time, with the origin in it
        finally:
            self.is_closed = True


def test_everything_comes_without_a_range():
    assert len(list(decode_frames(FakeReader(), None, None))) == 100


def test_the_range_is_half_open_and_counted_from_the_origin():
    reader = FakeReader()
    found = [f.pts - 2 for f in decode_frames(reader, Fraction(10, 25), Fraction(14, 25))]
    assert found == [10, 11, 12, 13]
    assert reader.started_at == [Fraction(10, 25)]


def test_decoding_stops_at_the_end_of_the_range():
    reader = FakeReader()
    list(decode_frames(reader, None, Fraction(5, 25)))
    assert reader.decoded == 6  # the frame at the end shows that it is reached
    assert reader.is_closed


def test_abandoning_closes_the_reader():
    reader = FakeReader()
    frames = decode_frames(reader, None, None)
    next(frames)
    frames.close()
    assert reader.is_closed
    assert reader.decoded == 1


def test_an_error_of_the_consumer_closes_the_reader():
    reader = FakeReader()
    frames = decode_frames(reader, None, None)
    next(frames)
    with pytest.raises(ZeroDivisionError):
        frames.throw(ZeroDivisionError)
    assert reader.is_closed


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_exact_frames_of_a_real_film(tmp_path, name):
    path = make_clip(tmp_path / name, Clip(num_frames=30, start=Fraction(3)))
    with VideoReader(path) as reader:
        frames = list(decode_frames(reader, Fraction(10, 25), Fraction(12, 25)))
    assert [drawn_number(f.planes[0]) for f in frames] == [10, 11]
