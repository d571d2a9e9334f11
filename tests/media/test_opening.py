from __future__ import annotations

import av
import pytest

from tests.support.synthetic import Clip
from vidrestore.errors import MediaError
from vidrestore.media.opening import Packets, film_stream, open_source, reading

B_FRAMES = {"preset": "medium", "crf": "10"}


class Ailing:
    """A container that fails at some packets."""

    def __init__(self, container, failures):
        self._packets, self._failures = None, failures
        self._container, self._number = container, 0

    def demux(self, streams):
        if self._packets is None:
            self._packets = self._container.demux(streams)
        while True:
            self._number += 1
            if self._number in self._failures:
                raise self._failures[self._number]
            packet = next(self._packets, None)
            if packet is None:
                return
            yield packet


@pytest.fixture
def film(clip):
    with open_source(clip("film.mp4", Clip(num_frames=30, options=B_FRAMES))) as container:
        yield container, film_stream(container)


def num_pictures(packets) -> int:
    return sum(len(packet.decode()) for packet in packets)


def test_a_container_that_asks_to_be_tried_again_is(film):
    container, stream = film
    again = av.BlockingIOError(11, "again")
    packets = Packets(Ailing(container, {5: again, 6: again, 20: again}), [stream])
    assert num_pictures(packets) == 30
    assert not packets.is_broken


def test_a_container_that_always_asks_is_given_up(film):
    container, stream = film
    failures = {n: av.BlockingIOError(11, "again") for n in range(5, 5000)}
    packets = Packets(Ailing(container, failures), [stream])
    assert num_pictures(packets) == 4
    assert packets.is_broken


def test_what_the_decoder_holds_is_shown_when_a_container_breaks_off(film):
    container, stream = film
    packets = Packets(Ailing(container, {21: av.InvalidDataError(1, "broken")}), [stream])
    assert num_pictures(packets) == 20
    assert packets.is_broken


def test_a_failing_disk_is_an_error_with_the_path(film):
    container, stream = film
    packets = Packets(Ailing(container, {21: av.OSError(5, "Input/output error")}), [stream])
    message = r"reading film\.mp4 failed: Input/output error"
    with pytest.raises(MediaError, match=message), reading("film.mp4"):
        num_pictures(packets)
