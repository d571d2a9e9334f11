import cv2
import numpy as np
import pytest

from vidrestore.cli.app import main
from vidrestore.contracts import FaceObservation
from vidrestore.errors import SettingsError
from vidrestore.models.registry import Template, landmark_template
from vidrestore.train import align
from vidrestore.train.align import align_folder, crop_face


class _Detector:
    """Sees one face, at the template's place in a square of 400 at (100, 50) of 1000 × 800."""

    batch_size = 1
    description = "fake"

    def detect(self, images):
        (image,) = images
        if image.max() == 0:
            return [()]
        factor = image.shape[1] / 1000
        points = landmark_template(Template.FFHQ, 400) + np.float32((100, 50))
        points = ((points + 0.5) * factor - 0.5).astype(np.float32)
        return [(FaceObservation(np.zeros(4, np.float32), points, 0.99),)]

    def close(self):
        pass


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(align, "build_detector", lambda *_, **__: (_Detector(), []))
    folder = tmp_path / "photographs"
    (folder / "deeper").mkdir(parents=True)
    y, x = np.mgrid[:800, :1000].astype(np.float32)
    image = np.stack((x / 5, y / 5, np.full_like(x, 90)), axis=-1)  # a ramp: place as colour
    large = cv2.resize(image, (2000, 1600), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(folder / "small.png"), image[..., ::-1])
    cv2.imwrite(str(folder / "deeper" / "large.png"), large[..., ::-1])
    cv2.imwrite(str(folder / "empty.png"), np.zeros((800, 1000, 3), np.uint8))
    (folder / "broken.jpg").write_bytes(b"no")
    return folder


def test_faces_come_out_in_the_pose_of_the_template(tmp_path, photographs):
    counts = align_folder(photographs, tmp_path / "out", size=200)
    assert (counts.images, counts.faces) == (4, 2)
    assert (counts.unreadable, counts.without_face, counts.too_small) == (1, 1, 0)
    for name in ("small-0.png", "deeper/large-0.png"):
        crop = cv2.imread(str(tmp_path / "out" / name))[..., ::-1].astype(float)
        assert crop.shape == (200, 200, 3)
        # the crop's pixel k shows place 100 + 2k + ½ across, 50 + 2k + ½ down
        assert crop[100, 50, 0] == pytest.approx((100 + 100.5) / 5, abs=1.5)
        assert crop[100, 50, 1] == pytest.approx((50 + 200.5) / 5, abs=1.5)


def test_names_that_differ_in_their_suffix_alone_stay_apart(tmp_path, photographs):
    image = cv2.imread(str(photographs / "small.png"))
    cv2.imwrite(str(photographs / "small.jpg"), image)
    counts = align_folder(photographs, tmp_path / "out", size=200)
    assert counts.faces == 3
    found = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert found == ["small.jpg-0.png", "small.png-0.png"]


def test_a_face_too_small_for_the_crop_is_left_out(tmp_path, photographs):
    counts = align_folder(photographs, tmp_path / "out", size=640)  # 400 are 0.63 of it
    assert (counts.faces, counts.too_small) == (1, 1)
    assert not (tmp_path / "out" / "small-0.png").exists()


def test_fine_stripes_become_grey_and_not_coarse_stripes():
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    template = landmark_template(Template.FFHQ, 128)
    crop = crop_face(stripes, landmark_template(Template.FFHQ, 600), template, 128)
    assert crop[16:-16, 16:-16].std() < 8


def test_landmarks_on_one_spot_give_no_face():
    template = landmark_template(Template.FFHQ, 64)
    assert (
        crop_face(np.zeros((9, 9, 3), np.uint8), np.ones((5, 2), np.float32), template, 64) is None
    )


def test_wrong_folders_are_one_clear_line(tmp_path, photographs):
    with pytest.raises(SettingsError, match="does not exist"):
        align_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(SettingsError, match="lies in"):
        align_folder(photographs, photographs / "out")
    (tmp_path / "bare").mkdir()
    with pytest.raises(SettingsError, match="holds no image"):
        align_folder(tmp_path / "bare", tmp_path / "out")


def test_the_command_says_what_became_of_the_folder(tmp_path, photographs, capsys):
    out = tmp_path / "out"
    assert main(["train", "align", str(photographs), str(out), "--size", "128", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "2 faces from 4 images" in told
    assert "1 images unreadable, 1 without a face, 0 faces too small" in told
    assert main(["train", "align", str(tmp_path / "none"), str(out)]) == 2


def test_a_wrong_config_ends_with_its_exit_code_and_one_line(tmp_path, capsys):
    path = tmp_path / "c.toml"
    path.write_text("[model]\nsizes = 3\n")
    assert main(["train", str(path)]) == 2
    told = capsys.readouterr().err
    assert "unknown key 'sizes' in [model]" in told
    assert told.count("\n") == 1
