import cv2
import numpy as np
import pytest

from tests.e2e.conftest import SAMPLE
from vidrestore import SettingsError, restore_crops
from vidrestore.core.geometry import similarity_transform
from vidrestore.core.warping import crop_from_planes
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.read import VideoReader
from vidrestore.models.registry import Template, landmark_template
from vidrestore.settings import DetectSettings, ModelSettings


@pytest.fixture(scope="module")
def crop():
    """The face of the sample's first frame, aligned for the program's own model."""
    settings = ModelSettings()
    with (
        VideoReader(SAMPLE) as reader,
        loaded_detector(choose_models(settings), settings, DetectSettings()) as (detector, _, _),
    ):
        frame = next(iter(reader.frames()))
        ((face, *_),) = detector.detect([frame.render_rgb(640, 480)])
        matrix = similarity_transform(face.landmarks, landmark_template(Template.FFHQ, 256))
        return crop_from_planes(frame, matrix, 256)


def test_a_crop_is_restored_and_stays_the_same_face(crop):
    (restored,) = restore_crops([crop])
    assert restored.shape == (256, 256, 3)
    assert restored.dtype == np.uint8
    difference = np.abs(restored.astype(int) - crop)
    assert 1 < difference[64:192, 64:192].mean() < 15
    assert roughness(restored) < 0.6 * roughness(crop)  # the tape's noise is gone


def roughness(picture):
    """Spread of what is finer than about ten pixels on the bare wall beside the head."""
    fine = picture.astype(np.float32) - cv2.GaussianBlur(picture, (0, 0), 5).astype(np.float32)
    return fine[2:30, 2:40].std()


def test_each_crop_comes_back_in_its_place_and_independent_of_the_others(crop):
    mirrored = np.ascontiguousarray(crop[:, ::-1])
    alone = [restore_crops([c])[0] for c in (crop, mirrored)]
    together = restore_crops([crop, mirrored, crop, crop, mirrored])
    for got, want in zip(together, [alone[k] for k in (0, 1, 0, 0, 1)], strict=True):
        np.testing.assert_array_equal(got, want)


def test_crops_of_other_sizes_come_back_in_their_size(crop):
    small, large = cv2.resize(crop, (100, 120)), cv2.resize(crop, (400, 400))
    restored = restore_crops([small, large])
    assert [r.shape for r in restored] == [(120, 100, 3), (400, 400, 3)]


def test_no_crops_are_no_crops():
    assert restore_crops([]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((256, 256), np.uint8),
        np.zeros((256, 256, 4), np.uint8),
        np.zeros((256, 256, 3), np.float32),
        np.zeros((0, 256, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_refused(wrong):
    with pytest.raises(SettingsError, match="crop 0"):
        restore_crops([wrong])


def test_an_unknown_model_is_refused(crop):
    with pytest.raises(SettingsError, match="vidrestore-lite-256"):
        restore_crops([crop], model="no-such-model")
