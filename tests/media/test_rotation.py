"""Turned and mirrored films: which way up they are, and that their output plays the same way up."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest

from tests.support.films import rewrite
from tests.support.synthetic import Clip, picture
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.settings import EncodeSettings, VideoCodec

ONE, W = 1 << 16, 1 << 30
TURNS = [
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
    (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
]  # fmt: skip
CLIP = Clip(num_frames=2, options={"preset": "ultrafast", "qp": "0"})


def with_matrix(source, target, matrix):
    """Copy a film and give it a display matrix (a, b, c, d)."""
    a, b, c, d = (round(number * ONE) for number in matrix)
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, W])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return target


def upright(luma, turn):
    """Turn a picture as players do: x' = a x + c y, y' = b x + d y."""
    a, b, c, d = turn
    if a == 0:
        luma, a, d = luma.T, c, b
    return luma[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("turn", TURNS)
def test_all_right_angles_and_mirrors_survive(clip, tmp_path, suffix, turn):
    source = with_matrix(clip("a.mp4", CLIP), tmp_path / f"in{suffix}", turn)
    target = tmp_path / f"out{suffix}"
    settings = EncodeSettings(crf=0, preset="ultrafast")
    rewrite(source, target, settings)
    before, after = probe(source).video, probe(target).video
    assert before.turn == after.turn == turn
    assert after.display_matrix == before.display_matrix
    with VideoReader(source) as reader, VideoReader(target) as again:
        shown, stored = next(reader.frames()), next(again.frames())
    assert shown.geometry.turn == stored.geometry.turn == turn
    a = upright(shown.planes[0].astype(int), turn)
    b = upright(stored.planes[0].astype(int), stored.geometry.turn)
    assert a.shape == b.shape == ((96, 160) if turn[0] else (160, 96))
    assert np.abs(a - b).mean() < 1


@pytest.mark.parametrize(
    ("degrees", "turn"),
    [(3, (1, 0, 0, 1)), (-44, (1, 0, 0, 1)), (87, (0, 1, -1, 0)), (178, (-1, 0, 0, -1))],
)
def test_odd_angles_are_searched_at_the_nearest_right_angle_and_kept(clip, tmp_path, degrees, turn):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = (cos, sin, -sin, cos)
    source = with_matrix(clip("a.mp4", CLIP), tmp_path / "in.mp4", matrix)
    rewrite(source, tmp_path / "out.mov")
    before, after = probe(source).video, probe(tmp_path / "out.mov").video
    assert before.turn == after.turn == turn
    assert after.display_matrix == before.display_matrix
    assert before.display_matrix[0] == round(cos * ONE)


def test_a_matrix_of_zeros_turns_nothing(clip, tmp_path):
    source = with_matrix(clip("a.mp4", CLIP), tmp_path / "in.mp4", (0, 0, 0, 0))
    assert probe(source).video.turn == (1, 0, 0, 1)


def test_turned_pictures_look_as_players_show_them(clip, tmp_path):
    # a picture stored lying on its side, with the matrix that sets it upright again
    turn = (0, 1, -1, 0)
    source = with_matrix(clip("a.mp4", CLIP), tmp_path / "in.mp4", turn)
    with VideoReader(source) as reader:
        frame = next(reader.frames())
    stored = picture(0, 160, 96).mean(axis=-1)
    clockwise = np.rot90(stored, -1)
    shown = upright(frame.planes[0].astype(float), frame.geometry.turn)
    assert shown.shape == clockwise.shape
    assert np.corrcoef(shown.ravel(), clockwise.ravel())[0, 1] > 0.95


def test_lossless_codecs_keep_the_turn_too(clip, tmp_path):
    source = with_matrix(clip("a.mp4", CLIP), tmp_path / "in.mp4", (0, 1, -1, 0))
    rewrite(source, tmp_path / "out.mkv", EncodeSettings(codec=VideoCodec.FFV1))
    assert probe(tmp_path / "out.mkv").video.turn == (0, 1, -1, 0)
