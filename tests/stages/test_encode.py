from __future__ import annotations

import pytest

from tests.support.fakes import frame_at
from vidrestore.contracts import BlendedFrame
from vidrestore.errors import OutputError
from vidrestore.stages.encode import encode_frames


class FakeWriter:
    def __init__(self, fails_at: int | None = None):
        self.written = []
        self._fails_at = fails_at

    def write(self, frame):
        if len(self.written) == self._fails_at:
            raise OutputError("the disk is full")
        self.written.append(frame)


def blended(number: int) -> list[BlendedFrame]:
    return [
        BlendedFrame(frame=frame_at(k), original=frame_at(k), faces=(), regions=(), is_cut=False)
        for k in range(number)
    ]


def test_each_frame_is_written_and_then_passed_on():
    items, writer = blended(3), FakeWriter()
    seen = []
    for item in encode_frames(iter(items), writer):
        seen.append(item)
        assert writer.written[-1] is item.frame
        assert len(writer.written) == len(seen)
    assert seen == items


def test_the_painted_picture_is_written_and_not_the_original():
    (item,), writer = blended(1), FakeWriter()
    list(encode_frames(iter([item]), writer))
    assert writer.written == [item.frame]
    assert writer.written[0] is not item.original


def test_nothing_is_taken_ahead():
    taken = []

    def source():
        for item in blended(5):
            taken.append(item)
            yield item

    frames = encode_frames(source(), FakeWriter())
    next(frames)
    assert len(taken) == 1


def test_an_error_while_writing_reaches_the_caller():
    with pytest.raises(OutputError, match="disk is full"):
        list(encode_frames(iter(blended(3)), FakeWriter(fails_at=1)))
