from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest

from vidrestore.media.clock import PacketClock, PictureClock, SoundClock

MILLISECOND = Fraction(1, 1000)


@dataclass
class Picture:
    pts: int | None
    dts: int | None
    duration: int = 0


@dataclass
class Piece:
    """A packet or a decoded frame of sound."""

    pts: int | None
    dts: int | None = None
    duration: int = 0
    time_base: Fraction = MILLISECOND
    samples: int = 480
    sample_rate: int = 48000


def times(pictures) -> list[int]:
    clock = PictureClock(Fraction(25), MILLISECOND)
    return [clock.time_of(picture) for picture in pictures]


def test_presentation_times_are_believed():
    assert times([Picture(0, -80), Picture(40, -40), Picture(85, 0)]) == [0, 40, 85]


def test_without_presentation_times_decoding_times_are_taken():
    assert times([Picture(None, 80), Picture(None, 120)]) == [80, 120]


def test_without_any_times_pictures_follow_the_rate():
    assert times([Picture(None, None)] * 3) == [0, 40, 80]


def test_presentation_times_in_the_order_of_decoding_are_spread_out():
    # as some programs write them: 0 2 3 1 where 0 1 2 3 is meant
    found = times([Picture(40 * n, 40 * n, 40) for n in (0, 2, 3, 1, 5, 6, 4)])
    assert found == [0, 80, 120, 140, 200, 240, 260]


def test_times_always_grow():
    assert times([Picture(100, 0), Picture(100, 1), Picture(99, 2)]) == [100, 120, 140]


def test_one_fault_does_not_change_what_is_believed_later():
    pictures = [Picture(40 * n + 80, 40 * n) for n in range(20)]
    pictures[5] = Picture(200, 200)
    assert times(pictures)[6:] == [40 * n + 80 for n in range(6, 20)]


def test_the_last_picture_without_time_follows_at_the_usual_distance():
    assert times([Picture(0, 0, 20), Picture(None, None)]) == [0, 20]


def test_pictures_go_on_where_the_clock_starts_anew():
    clock = PictureClock(Fraction(25), MILLISECOND)
    pictures = [Picture(t, t, 40) for t in (5000, 5040, 0, 40, 80)]
    assert [clock.time_of(p) for p in pictures] == [5000, 5040, 5080, 5120, 5160]
    assert clock.num_restarts == 1


def test_gaps_are_kept():
    assert times([Picture(0, 0), Picture(40, 40), Picture(60_000, 60_000)])[-1] == 60_000


@pytest.mark.parametrize("is_sound", [True, False])
def test_packets_without_length(is_sound):
    clock = PacketClock(Fraction(1), is_sound=is_sound)
    found = [clock.when(Piece(pts)) for pts in (1000, 1020, 1040)]
    assert [begin for begin, _ in found] == [0, Fraction(1, 50), Fraction(1, 25)]
    assert found[-1][1] == (Fraction(1, 50) if is_sound else 0)


def test_packets_without_time_follow_the_one_before():
    clock = PacketClock(Fraction(0), is_sound=True)
    clock.when(Piece(100, duration=20))
    assert clock.when(Piece(None)) == (Fraction(12, 100), Fraction(2, 100))


def test_packets_go_on_where_the_clock_starts_anew():
    clock = PacketClock(Fraction(0), is_sound=True)
    found = [clock.when(Piece(t, duration=20))[0] for t in (5000, 5020, 0, 20)]
    assert [float(t) for t in found] == [5.0, 5.02, 5.04, 5.06]


def test_decoded_sound_goes_on_where_the_clock_starts_anew():
    clock = SoundClock(Fraction(1))
    found = [clock.when(Piece(t)) for t in (6000, 6010, 0, 10, None)]
    assert [float(b) for b, _ in found] == [5.0, 5.01, 5.02, 5.03, 5.04]
    assert float(found[-1][1]) == 5.05


def test_small_overlaps_are_left_to_the_encoder():
    clock = SoundClock(Fraction(0))
    clock.when(Piece(1000))
    assert float(clock.when(Piece(950))[0]) == 0.95
