"""Noise taken off a copy of the pictures: how much, at cuts, and the same from any start."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.support.interlaced import Tape, moments, weave, write_tape
from vidrestore.media.deinterlace import ShownPicture
from vidrestore.media.denoise import REACH, Denoiser
from vidrestore.media.read import VideoReader
from vidrestore.settings import ReadSettings

STRONG = ReadSettings(denoise=1.0)


def shown(number, luma, name="gray"):
    picture = VideoFrame.from_ndarray(np.clip(np.rint(luma), 0, 255).astype(np.uint8), "gray")
    picture = picture if name == "gray" else picture.reformat(format=name)
    picture.pts = number
    return ShownPicture(number, picture, 1, False, False)


def noisy(scene, number, sigma=5.0):
    return scene + np.random.default_rng(number).normal(0, sigma, scene.shape)


def denoised(pictures, amount=1.0):
    denoiser = Denoiser(amount, Fraction(1, 25))
    items = [item for picture in pictures for item in denoiser.push(picture)]
    return items + list(denoiser.finish())


def luma(picture):
    rows = np.frombuffer(memoryview(picture.planes[0]), np.uint8)
    return rows.reshape(picture.height, -1)[:, : picture.width].astype(float)


SCENE = 60 + 100 * (np.indices((48, 64)).sum(axis=0) // 16 % 2)


def errors(items, scenes):
    return [np.abs(luma(i.cleaned) - s).mean() for i, s in zip(items, scenes, strict=True)]


def test_noise_on_what_stands_still_goes_the_more_the_stronger():
    pictures = [shown(k, noisy(SCENE, k)) for k in range(12)]
    before = np.mean([np.abs(luma(p.picture) - SCENE).mean() for p in pictures])
    left = [np.mean(errors(denoised(pictures, a), [SCENE] * 12)) for a in (0.33, 0.67, 1.0)]
    assert before > left[0] > left[1] > left[2]
    assert left[2] < before / 2


def test_every_picture_comes_out_once_with_its_own_facts():
    pictures = [shown(3 * k, noisy(SCENE, k)) for k in range(7)]
    items = denoised(pictures)
    assert [item.shown for item in items] == pictures
    assert denoised([]) == []


def test_nothing_bleeds_across_a_cut():
    scenes = [SCENE] * 8 + [220 - SCENE] * 8
    pictures = [shown(k, noisy(s, k)) for k, s in enumerate(scenes)]
    left = errors(denoised(pictures), scenes)
    before = [np.abs(luma(p.picture) - s).mean() for p, s in zip(pictures, scenes, strict=True)]
    assert all(a < b for a, b in zip(left, before, strict=True))


def test_what_moves_is_left_as_it_is():
    scenes = [np.roll(SCENE, 8 * k, axis=1) for k in range(10)]
    for item, scene in zip(
        denoised([shown(k, s) for k, s in enumerate(scenes)]), scenes, strict=True
    ):
        np.testing.assert_array_equal(luma(item.cleaned), scene)


def test_the_filter_begins_anew_where_the_format_changes():
    pictures = [shown(k, SCENE, "yuv420p" if k < 5 else "yuv422p") for k in range(10)]
    items = denoised(pictures)
    assert [i.cleaned.format.name for i in items] == [p.picture.format.name for p in pictures]


def test_a_plane_of_alpha_makes_no_colour_of_grey():
    picture = VideoFrame(64, 48, "ya8")
    picture.pts = 0
    (item,) = denoised([ShownPicture(0, picture, 1, False, False)])
    assert item.cleaned.format.name == "gray"


@pytest.fixture(scope="module", params=["progressive", "interlaced", "intra"])
def film(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / f"{request.param}.mkv"
    random = np.random.default_rng(0)
    seen = [
        np.clip(m + random.normal(0, 6, m.shape), 0, 255).astype(np.uint8)
        for m in moments(100, 128)
    ]
    if request.param == "interlaced":
        tape = Tape("mpeg2video", "top", options={"g": "6", "bf": "2"}, quantiser=3)
        return write_tape(path.with_suffix(".mpg"), weave(seen, "top"), tape)
    keys = "1" if request.param == "intra" else "6"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": keys, "preset": "ultrafast"})
        stream.height, stream.width = seen[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in seen[::2]:
            out.mux(
                stream.encode(VideoFrame.from_ndarray(picture, "gray").reformat(format="yuv420p"))
            )
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("fields", [False, True])
def test_a_range_is_denoised_as_the_whole_film_is(film, fields):
    settings = replace(STRONG, fields=fields)
    with VideoReader(film, settings) as reader:
        whole = {f.pts: f for f in reader.frames()}
        changed = [np.abs(f.cleaned[0].astype(int) - f.planes[0]).max() for f in whole.values()]
        assert min(changed) > 3
        for start in ("0.02", "0.3", "1.1", "1.5", "1.9"):
            part = list(reader.frames(Fraction(start)))
            assert 1 <= len(part) < len(whole)
            assert part[0].seconds >= float(Fraction(start))
            assert part[-1].pts == max(whole)
            for frame in part:
                for a, b in zip(frame.cleaned, whole[frame.pts].cleaned, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_the_film_itself_and_its_times_stay_as_they_are(film):
    with VideoReader(film) as plain, VideoReader(film, STRONG) as reader:
        for a, b in zip(plain.frames(), reader.frames(), strict=True):
            assert a.cleaned is None
            assert (a.pts, a.duration, a.is_key, a.layout) == (
                b.pts,
                b.duration,
                b.is_key,
                b.layout,
            )
            for x, y in zip(a.planes, b.planes, strict=True):
                np.testing.assert_array_equal(x, y)


def test_the_reach_is_that_of_the_filter():
    """A picture further away than ``REACH`` has no part in one."""
    pictures = [shown(k, noisy(SCENE, k)) for k in range(2 * REACH + 3)]
    other = [*pictures[:-1], shown(len(pictures) - 1, noisy(SCENE, 99))]
    same = [
        np.array_equal(luma(a.cleaned), luma(b.cleaned))
        for a, b in zip(denoised(pictures), denoised(other), strict=True)
    ]
    assert same == [True] * (len(pictures) - 1 - REACH) + [False] * (REACH + 1)
