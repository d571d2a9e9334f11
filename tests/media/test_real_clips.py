"""Real films, as cameras and old programs left them: read and written, no face touched."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.support.films import film_times, payloads, rewrite
from vidrestore.media.probe import probe

CLIPS = (
    "carphone_qcif.mp4",
    "grid_man_mpeg1.mpg",
    "home_pancake_240p.mkv",
    "rotated90_noface.mov",
    "stage_multiface_360p.mp4",
    "webcam_smallface.mkv",
)


@pytest.mark.parametrize("name", CLIPS)
def test_times_sound_colours_and_shape_survive(shared_dir, tmp_path, name):
    source, target = shared_dir / "clips" / name, tmp_path / "out.mp4"
    rewrite(source, target)
    before, after = probe(source), probe(target)
    times = film_times(source)
    assert len(times) > 2
    assert max(abs(a - b) for a, b in zip(times, film_times(target), strict=True)) <= Fraction(
        1, 180_000
    )
    assert payloads(target) == payloads(source)
    assert len(payloads(target)) == len(before.audio)
    a, b = before.video, after.video
    assert (b.width, b.height, b.pixel_aspect, b.turn) == (
        a.width,
        a.height,
        a.pixel_aspect,
        a.turn,
    )
    tags = (a.colour.matrix, a.colour.primaries, a.colour.transfer)
    assert (b.colour.matrix, b.colour.primaries, b.colour.transfer) == tags
    # H.264 without other tags does not write down that it is limited
    assert b.colour.range in (a.colour.range, 0 if a.colour.range == 1 else a.colour.range)
