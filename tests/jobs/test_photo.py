import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from tests.support.fakes import FakeDetector, FakeRestorer, observation
from vidrestore.cli.app import main
from vidrestore.contracts import FaceObservation
from vidrestore.core.photo import windows_around
from vidrestore.errors import OutputError, SettingsError
from vidrestore.jobs.photo import PhotoRestorer, photo_restorer, restore_photo
from vidrestore.jobs.photo_faces import find_faces, view_sides
from vidrestore.media.images import read_photograph
from vidrestore.pipeline import Networks
from vidrestore.settings import (
    BlendSettings,
    DetectSettings,
    EncodeSettings,
    FaceChoice,
    PhotoSettings,
    RestoreSettings,
)

LANDMARKS = np.array([[205, 101], [247, 103], [224, 129], [202, 138], [244, 141]], np.float32)


def soft(picture, times=4):
    """The photograph as a poor camera saw it, at its own size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // times, height // times), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def restorer():
    with photo_restorer() as made:
        yield made


def brighter(crop):
    return np.clip(
        crop.astype(int) + np.indices(crop.shape[:2]).sum(axis=0)[..., None] % 2 * 40, 0, 255
    ).astype(np.uint8)


def with_fakes(landmarks, change=brighter, **blend):
    """A restorer that sees the given faces in every picture and changes their crops."""
    found = tuple(observation(points) for points in landmarks)
    networks = Networks(FakeDetector(lambda _: found), FakeRestorer(change))
    return PhotoRestorer(networks, RestoreSettings(blend=BlendSettings(**blend)))


def test_a_face_is_restored_and_every_sample_elsewhere_is_the_same(restorer):
    noise = np.random.default_rng(0).normal(0, 8, astronaut().shape)
    picture = np.clip(np.rint(soft(astronaut()) + noise), 0, 255).astype(np.uint8)
    made = restorer.restore_pixels(picture)
    (face,) = made.faces
    assert 70 < face.width < 100
    assert (face.strength, face.held_back) == (1.0, None)
    changed = (made.samples != picture).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 0.02 < changed.mean() < 0.1
    assert rows.min() > 20
    assert rows.max() < 215
    assert columns.min() > 130
    assert columns.max() < 320
    inner = np.s_[80:160, 190:260]
    before, after = (
        np.abs(p[inner].astype(int) - astronaut()[inner]).mean() for p in (picture, made.samples)
    )
    assert after < before  # nearer to the photograph as it was


def test_a_sharp_face_is_held_back_and_says_why(restorer):
    large = cv2.resize(astronaut()[:300, 100:400], (900, 900), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 1, (900, 900, 1))
    pores = cv2.GaussianBlur(noise, (0, 0), 1.0)[..., None]
    detailed = np.clip(
        large + 90 * pores * (np.indices((900, 900)).sum(axis=0) // 24 % 3 == 0)[..., None], 0, 255
    )
    (face,) = restorer.restore_pixels(detailed.astype(np.uint8)).faces
    assert face.held_back == "already sharp"
    assert face.strength < 0.5


def test_without_gates_a_sharp_face_is_shown_all_the_same():
    settings = RestoreSettings(blend=BlendSettings(gates=False, strength=0.7))
    with photo_restorer(settings) as ungated:
        (face,) = ungated.restore_pixels(astronaut()).faces
    assert (face.strength, face.held_back) == (0.7, None)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_grey_and_alpha_stay_what_they_are(channels, dtype):
    rng = np.random.default_rng(5)
    samples = rng.integers(0, np.iinfo(dtype).max + 1, (300, 400, channels)).astype(dtype)
    made = with_fakes([LANDMARKS], gates=False).restore_pixels(samples)
    assert made.samples.dtype == dtype
    colours = 1 if channels < 3 else 3
    assert np.array_equal(made.samples[..., colours:], samples[..., colours:])
    changed = (made.samples != samples).any(axis=2)
    assert 0.02 < changed.mean() < 0.5
    assert not changed[:, 330:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_network_that_changes_nothing_changes_at_most_what_the_crops_cannot_hold(dtype):
    levels = np.linspace(40, 200, 400)[None, :, None] * (257 if dtype == np.uint16 else 1)
    samples = np.broadcast_to(levels, (300, 400, 3)).astype(dtype)
    made = with_fakes([LANDMARKS], lambda crop: crop, gates=False).restore_pixels(samples)
    error = np.abs(made.samples.astype(int) - samples)
    assert error.max() <= (1 if dtype == np.uint8 else 300)  # crops have 8 bits


def test_faces_side_by_side_are_all_painted_and_told_from_the_left():
    samples = np.full((300, 900, 3), 120, np.uint8)
    places = [LANDMARKS + np.float32((dx, 0)) for dx in (520, 60, 0)]
    made = with_fakes(places, gates=False).restore_pixels(samples)
    lefts = [face.box_xyxy[0] for face in made.faces]
    assert len(lefts) == 3
    assert lefts == sorted(lefts)
    changed = (made.samples != samples).any(axis=2)
    for points in places:
        x, y = points[2].astype(int)
        assert changed[y - 5 : y + 5, x - 5 : x + 5].any()


def test_only_the_largest_face_is_restored_when_that_is_asked_for():
    samples = np.full((300, 900, 3), 120, np.uint8)
    small = (LANDMARKS - LANDMARKS[2]) * 0.7 + (700, 130)
    made = with_fakes([small, LANDMARKS], faces=FaceChoice.LARGEST).restore_pixels(samples)
    assert [face.width > 80 for face in made.faces] == [True]
    assert not (made.samples != samples)[:, 600:].any()


def test_an_aligned_picture_is_taken_as_it_is():
    samples = np.full((128, 128, 3), 120, np.uint8)
    restorer = with_fakes([], gates=False)
    assert not restorer.restore_pixels(samples).faces
    made = restorer.restore_pixels(samples, is_aligned=True)
    assert len(made.faces) == 1
    assert (made.samples[60:70, 60:70] != samples[60:70, 60:70]).any()


def test_windows_hold_their_crops_and_join_where_they_meet():
    def at(x, scale=1.0):
        return np.array([[scale, 0, -x * scale], [0, scale, -50 * scale]])

    groups = windows_around([at(100), at(150), at(600), at(-500)], 64, (400, 800, 3))
    assert sorted(members for _, members in groups) == [[0, 1], [2]]
    (left, top, right, bottom), _ = next(g for g in groups if g[1] == [0, 1])
    assert left < 100
    assert right > 150 + 64
    assert top < 50
    assert bottom > 50 + 64
    ((box, _),) = windows_around([at(-10, 0.25)], 64, (400, 800, 3))
    assert box[0] == 0
    assert box[2] > 246


def test_small_faces_are_found_in_larger_views_and_large_ones_once():
    """The stand-in sees faces that are 20 to 400 pixels wide in the view it is shown."""
    faces = [(1000.0, 1000.0, 40.0), (3000.0, 1500.0, 700.0)]

    def look(view):
        scale = view.shape[1] / 5000
        seen = []
        for x, y, width in faces:
            if 20 <= width * scale <= 400:
                box = (np.array([x, y, x + width, y + 1.2 * width]) + 0.5) * scale - 0.5
                points = (LANDMARKS - LANDMARKS.min(axis=0)) * width * scale / 45 / 2 + box[:2]
                seen.append(FaceObservation(box.astype(np.float32), points.astype(np.float32), 0.9))
        if scale > 0.3:  # part of the large face
            part = (np.array([3100, 1700, 3400, 2100]) * scale).astype(np.float32)
            points = (LANDMARKS - LANDMARKS.min(axis=0)).astype(np.float32) * 2 + part[:2]
            seen.append(FaceObservation(part, points.astype(np.float32), 0.7))
        return tuple(seen)

    picture = np.zeros((4000, 5000, 3), np.uint8)
    found = find_faces(picture, FakeDetector(look), DetectSettings())
    centres = sorted((f.box_xyxy[0], f.box_xyxy[2] - f.box_xyxy[0]) for f in found)
    np.testing.assert_allclose(centres, [(1000, 40), (3000, 700)], atol=0.6)
    assert view_sides(5000, 1000) == [1000, 2500]


def test_a_phones_photograph_comes_out_upright_with_its_exif(restorer, tmp_path):
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Phone"
    sideways = Image.fromarray(soft(astronaut())).transpose(Image.Transpose.ROTATE_90)
    sideways.save(source, exif=exif, quality=95, dpi=(240, 240))
    before = source.read_bytes()
    result = restorer.restore(source, target, PhotoSettings(crops=tmp_path / "faces"))
    assert source.read_bytes() == before
    upright = read_photograph(source).samples
    made = read_photograph(target)
    changed = (made.samples != upright).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 20 < rows.min() < rows.max() < 215
    assert 130 < columns.min() < columns.max() < 320
    with Image.open(target) as out:
        assert (out.getexif()[0x0110], out.getexif()[0x0112]) == ("Phone", 1)
        assert out.info["dpi"] == pytest.approx((240, 240), abs=0.1)
    assert [p.name for p in sorted((tmp_path / "faces").iterdir())] == [
        "in-face-1-after.png",
        "in-face-1-before.png",
    ]
    kept = read_photograph(tmp_path / "faces" / "in-face-1-after.png").samples
    np.testing.assert_array_equal(kept, result.faces[0].after)


def test_a_photograph_without_faces_passes_through(restorer, tmp_path):
    plain = np.full((200, 300, 3), 99, np.uint8)
    Image.fromarray(plain).save(tmp_path / "in.png")
    result = restorer.restore(tmp_path / "in.png", tmp_path / "out.png")
    assert result.faces == ()
    np.testing.assert_array_equal(read_photograph(tmp_path / "out.png").samples, plain)


def test_what_would_do_harm_is_refused_before_the_networks_are_loaded(tmp_path):
    source = tmp_path / "in.png"
    Image.fromarray(astronaut()).save(source)
    (tmp_path / "old.png").write_bytes(b"old")
    overwriting = RestoreSettings(encode=EncodeSettings(overwrite=True))
    for target, settings, says in (
        (source, overwriting, "is the input itself"),
        (tmp_path / "old.png", None, "use --overwrite"),
        (tmp_path / "none" / "a.png", None, "create it first"),
        (tmp_path / "a.gif", None, "name it .jpg"),
    ):
        with pytest.raises(OutputError, match=says):
            restore_photo(source, target, settings)
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_a_crop_that_is_not_square_and_numbers_of_faces_are_refused(tmp_path):
    Image.fromarray(astronaut()[:300]).save(tmp_path / "in.png")
    with pytest.raises(SettingsError, match="512x300: --aligned takes square"):
        with_fakes([]).restore(tmp_path / "in.png", tmp_path / "a.png", PhotoSettings(aligned=True))
    with pytest.raises(SettingsError, match="faces have numbers in films only"):
        with_fakes([], faces=(1,), faces_file=tmp_path / "f.toml")


@pytest.mark.parametrize(
    "samples", [np.zeros((5, 5)), np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 3))]
)
def test_what_is_no_picture_is_refused(samples):
    with pytest.raises(SettingsError, match="use uint8 RGB"):
        with_fakes([]).restore_pixels(samples)


def test_the_command_and_the_main_one_do_the_same(tmp_path, capsys):
    source = tmp_path / "in.jpg"
    Image.fromarray(soft(astronaut())).save(source, quality=95)
    assert main(["photo", str(source), str(tmp_path / "a.png")]) == 0
    assert "1 of 1 faces restored" in capsys.readouterr().out
    odd = source.rename(tmp_path / "in.mp4")
    assert main([str(odd), str(tmp_path / "b.png"), "--quiet"]) == 0
    a, b = (read_photograph(tmp_path / name).samples for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(a, b)
    assert main([str(odd), str(tmp_path / "c.png"), "--start", "1"]) == 2
    assert "is a photograph: --start is for films" in capsys.readouterr().err
    assert main([str(odd), str(tmp_path / "c.png"), "--denoise", "light", "--crf", "20"]) == 2
    assert "is a photograph: --denoise, --crf are for films" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["missing.jpg", "out.jpg"], 3, "No such file"),
        (["in.png", "nowhere/out.jpg"], 6, "create it first"),
        (["in.png", "out.jpg", "--strength", "2"], 2, "strength is 2"),
        (["in.png", "out.jpg", "--background-colour", "red"], 2, "add --id-photo"),
        (["in.png", "out.jpg", "--id-photo", "1in", "--aligned"], 2, "cannot go with"),
        (["in.png", "out.jpg", "--model", "none-such"], 2, "unknown model"),
        (["text.jpg", "out.jpg"], 3, "not a photograph"),
    ],
)
def test_errors_are_one_line_and_have_their_exit_code(
    tmp_path, capsys, monkeypatch, words, code, says
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()).save("in.png")
    (tmp_path / "text.jpg").write_text("text")
    assert main(["photo", *words]) == code
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert says in said[0]
    assert not (tmp_path / "out.jpg").exists()


def test_a_mistyped_command_is_recognised(capsys):
    assert main(["phot", "in.jpg"]) == 2
    assert "did you mean 'vidrestore photo'" in capsys.readouterr().err
