"""The picture around the faces as a stage: what is left alone, what grows, where faces go."""

import numpy as np
import pytest

from tests.stages.test_blend import SIZE, TEMPLATE, face_at
from tests.support.images import assert_images_close, make_frame, pixel_layout, textured_picture
from vidrestore.contracts import RestoredFrame
from vidrestore.settings import BackgroundSettings, BlendSettings
from vidrestore.stages.background import enhance_backgrounds
from vidrestore.stages.blend import blend_faces


class Repeating:
    """A network that repeats pixels, and makes them darker."""

    description = "fake"
    notes = ()

    def __init__(self, scale, gain=1.0):
        self.scale, self.gain = scale, gain
        self.seen = []

    def enhance(self, picture):
        self.seen.append(picture)
        return self.gain * picture.repeat(self.scale, 0).repeat(self.scale, 1)

    def close(self):
        pass


def enhance(item, upscale="1", model=None):
    from fractions import Fraction

    settings = BackgroundSettings(upscale=Fraction(upscale))
    (made,) = enhance_backgrounds(iter([item]), settings, model)
    return made


def blend(item):
    (made,) = blend_faces(iter([item]), BlendSettings(), TEMPLATE, SIZE)
    return made


def cleaned(frame, level=77):
    from dataclasses import replace

    y, u, v = (np.full_like(plane, level) for plane in frame.planes)
    return replace(frame, cleaned=(y, u, v))


def test_where_nothing_is_asked_the_item_passes_as_the_same_object():
    item = RestoredFrame(make_frame(textured_picture(96, 80)), (), False)
    assert enhance(item) is item


def test_the_denoised_picture_becomes_the_background_and_the_film_stays_the_original():
    frame = cleaned(make_frame(textured_picture(96, 80)))
    made = blend(enhance(RestoredFrame(frame, (), False)))
    assert all((plane == 77).all() for plane in made.frame.planes)
    assert made.original is frame
    assert made.frame.pts == frame.pts


@pytest.mark.parametrize(
    ("upscale", "size"), [("1.5", (144, 120)), ("2", (192, 160)), ("4", (384, 320))]
)
@pytest.mark.parametrize("model", [None, Repeating(1), Repeating(2), Repeating(4)])
def test_the_result_has_the_size_asked_for_whatever_the_model(upscale, size, model):
    frame = make_frame(textured_picture(96, 80), pixel_layout("420", 10), turn=(0, 1, -1, 0))
    background = enhance(RestoredFrame(frame, (), False), upscale, model).background
    assert (background.geometry.width, background.geometry.height) == size
    assert background.geometry.turn == frame.geometry.turn
    assert background.planes[1].shape == (size[1] // 2, size[0] // 2)
    assert background.planes[0].dtype == np.uint16
    small = background.planes[0].astype(float)
    assert abs(small.mean() - frame.planes[0].mean()) < 4
    assert background.render_rgb(60, 50).shape == (50, 60, 3)


def test_halves_of_odd_pictures_are_rounded_up():
    frame = make_frame(textured_picture(95, 81))
    background = enhance(RestoredFrame(frame, (), False), "1.5").background
    assert background.planes[0].shape == (122, 143)
    assert background.planes[1].shape == (61, 72)


def test_a_model_sees_the_denoised_picture_and_changes_all_of_it():
    frame = cleaned(make_frame(textured_picture(96, 80)), 128)
    model = Repeating(1, 0.5)
    background = enhance(RestoredFrame(frame, (), False), "1", model).background
    assert_images_close(model.seen[0], np.full((80, 96, 3), 112 / 219), max_abs=1e-5, peak=1)
    assert_images_close(background.planes[0], np.full((80, 96), 72), max_abs=1)


def painted(upscale, model=None):
    frame = make_frame(textured_picture(160, 128))
    item = RestoredFrame(frame, (face_at(frame, 84, 60),), False)
    return blend(enhance(item, upscale, model)), blend(item)


@pytest.mark.parametrize("upscale", ["1.5", "2"])
def test_a_face_goes_to_its_place_in_the_enlarged_picture(upscale):
    large, small = painted(upscale)
    factor = float(upscale)
    (region,), (expected,) = large.regions, small.regions
    for name in ("left", "top", "right", "bottom"):
        assert getattr(region, name) == pytest.approx(factor * getattr(expected, name), abs=4)
    bare = enhance(RestoredFrame(large.original, (), False), upscale).background
    change = np.abs(large.frame.planes[0].astype(float) - bare.planes[0])
    before = np.abs(small.frame.planes[0].astype(float) - small.original.planes[0])
    rows, columns = np.indices(change.shape)
    centre = [(change * k).sum() / change.sum() for k in (columns, rows)]
    rows, columns = np.indices(before.shape)
    wanted = [factor * ((before * k).sum() / before.sum() + 0.5) - 0.5 for k in (columns, rows)]
    np.testing.assert_allclose(centre, wanted, atol=1.0)
    assert large.faces == painted_faces(large)


def painted_faces(item):
    """The faces that are reported are cut out of the film, not of the enlarged picture."""
    for face in item.faces:
        assert face.aligned.crop_from_frame[0, 0] == 1.0
    return item.faces


def test_a_face_on_the_same_size_is_painted_as_without_a_background():
    same, plain = painted("1", Repeating(1))
    assert same.regions == plain.regions
    for a, b in zip(same.frame.planes[:1], plain.frame.planes[:1], strict=True):
        assert_images_close(a, b, max_abs=8, mean_abs=0.6)


def test_detail_is_added_to_the_background_and_not_the_films_noise_taken_away():
    """A face larger than its crop keeps its base; that base is the clean one."""
    from dataclasses import replace

    plain = make_frame(np.full((200, 200, 3), 120, np.uint8))
    noise = np.random.default_rng(0).normal(0, 12, (200, 200))
    noisy_luma = np.clip(plain.planes[0] + noise, 0, 255).astype(np.uint8)
    frame = replace(plain, planes=(noisy_luma, *plain.planes[1:]), cleaned=plain.planes)
    face = face_at(frame, 0, 0)
    matrix = np.array([[0.4, 0, -8.0], [0, 0.4, -8.0]])
    aligned = replace(face.aligned, crop_from_frame=matrix)
    flat = np.full((SIZE, SIZE, 3), 120, np.uint8)
    face = replace(face, aligned=aligned, crop=flat)
    made = blend(enhance(RestoredFrame(frame, (face,), False)))
    assert made.regions[0] is not None
    assert_images_close(made.frame.planes[0], plain.planes[0], max_abs=1)
