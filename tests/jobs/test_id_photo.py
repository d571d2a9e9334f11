import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from vidrestore.cli.app import main
from vidrestore.core.geometry import transform_points
from vidrestore.core.id_photo import (
    STANDARDS,
    Head,
    cut_out,
    id_photo_from_picture,
    on_background,
)
from vidrestore.errors import MediaError, WeightsError, WeightsNotFoundError
from vidrestore.jobs.id_photo import make_id_photo
from vidrestore.jobs.photo import photo_restorer
from vidrestore.models.matting import PortraitMatting, find_matting
from vidrestore.settings import (
    BackgroundColour,
    BlendSettings,
    FaceChoice,
    IdPhotoSettings,
    IdPhotoSize,
    RestoreSettings,
)

LANDMARKS = np.array([[205, 101], [247, 103], [224, 129], [202, 138], [244, 141]], np.float32)
LARGEST = RestoreSettings(blend=BlendSettings(faces=FaceChoice.LARGEST))


@pytest.fixture(scope="module")
def all_faces():
    with photo_restorer() as made:
        yield made


def saved(path, picture):
    Image.fromarray(np.ascontiguousarray(picture)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "size", "low", "high"),
    [("1in", (295, 413), 28 / 48, 33 / 48), ("2in", (413, 579), 28 / 48, 33 / 48),
     ("35x45", (413, 531), 0.70, 0.80)],
)  # fmt: skip
def test_the_standards_have_their_size_and_head(name, size, low, high):
    standard = STANDARDS[name]
    assert (standard.width, standard.height) == size
    millimetres = {"1in": (25, 35), "2in": (35, 49), "35x45": (35, 45)}[name]
    assert size == tuple(round(mm / 25.4 * 300) for mm in millimetres)
    assert low <= standard.head <= high
    head = Head.of(LANDMARKS)
    placed = transform_points(
        id_photo_from_picture(head, standard), np.stack([head.crown, head.chin])
    )
    middle = (standard.width - 1) / 2
    np.testing.assert_allclose(placed[:, 0], middle)
    assert placed[1, 1] - placed[0, 1] == pytest.approx(standard.head * standard.height)
    assert placed[0, 1] == pytest.approx(standard.top * standard.height - 0.5)


def test_a_tilted_head_comes_out_upright():
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    tilted = (LANDMARKS @ turn.T).astype(np.float32)
    matrix = id_photo_from_picture(Head.of(tilted), STANDARDS["1in"])
    eyes = transform_points(matrix, tilted[:2])
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-3)
    assert eyes[0, 0] < eyes[1, 0]


def test_the_head_reaches_from_the_hair_to_the_chin_of_a_known_face():
    head = Head.of(LANDMARKS)
    assert 8 < head.crown[1] < 35  # the top of the hair is at 1, the hairline at 55
    assert 170 < head.chin[1] < 190  # by eye: 180


def test_grabcut_keeps_the_face_and_drops_the_wall():
    rng = np.random.default_rng(0)
    picture = np.full((413, 295, 3), (90, 120, 90), np.uint8)
    truth = np.zeros((413, 295), np.uint8)
    cv2.ellipse(truth, (147, 180), (75, 115), 0, 0, 360, 1, -1)
    cv2.rectangle(truth, (20, 330), (275, 413), 1, -1)
    cv2.rectangle(truth, (115, 250), (180, 340), 1, -1)
    picture[truth == 1] = (200, 150, 120)
    picture = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    landmarks = (LANDMARKS - LANDMARKS.mean(axis=0)) * 1.6 + (147, 185)
    alpha = cut_out(picture, landmarks.astype(np.float32))
    assert alpha.dtype == np.float32
    assert ((alpha > 0.5) == truth).mean() > 0.98
    assert set(np.unique(alpha)) >= {0.0, 1.0}
    assert (alpha[100:300] * (1 - truth[100:300])).mean() < 0.02


def test_the_old_background_does_not_shine_through_half_covered_pixels():
    person, wall, colour = np.array([200, 60, 40]), np.array([20, 220, 30]), (255, 255, 255)
    ramp = np.clip((np.arange(100) - 40) / 20, 0, 1).astype(np.float32)
    alpha = np.tile(ramp, (80, 1))
    mixed = alpha[..., None] * person + (1 - alpha[..., None]) * wall
    made = on_background(np.rint(mixed).astype(np.uint8), alpha, colour).astype(float)
    ideal = alpha[..., None] * person + (1 - alpha[..., None]) * np.array(colour)
    plain = alpha[..., None] * mixed + (1 - alpha[..., None]) * np.array(colour)
    assert np.abs(made - ideal).mean() < 0.35 * np.abs(plain - ideal).mean()
    assert (made[:, :38] == 255).all()
    assert (made[:, 62:] == person).all()


def test_an_id_photo_has_size_resolution_colour_and_the_face(all_faces, tmp_path):
    source = saved(tmp_path / "in.png", astronaut())
    wanted = IdPhotoSettings(IdPhotoSize.ONE_INCH, BackgroundColour.BLUE)
    made = make_id_photo(source, tmp_path / "out.png", LARGEST, wanted, all_faces)
    assert made.matting == "GrabCut"
    assert made.size == (295, 413)
    with Image.open(tmp_path / "out.png") as out:
        assert out.size == (295, 413)
        assert out.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        picture = np.asarray(out)
    for corner in (picture[:30, :30], picture[:30, -30:]):
        assert (corner == (67, 142, 219)).all()
    left, top, right, bottom = made.face.box_xyxy
    assert abs((left + right) / 2 - 147) < 10
    assert 150 < bottom - top < 260
    skin = picture[200:230, 120:175].reshape(-1, 3).mean(axis=0)
    assert skin[0] > skin[2] + 20


def test_the_profile_of_a_grey_photograph_does_not_get_into_colours(all_faces, tmp_path):
    grey = Image.fromarray(astronaut()).convert("L")
    for kind, count in ((b"GRAY", 0), (b"RGB ", 1)):
        profile = bytes(16) + kind + bytes(108)
        grey.save(tmp_path / "in.png", icc_profile=profile)
        target = tmp_path / f"out-{count}.png"
        make_id_photo(tmp_path / "in.png", target, LARGEST, None, all_faces)
        with Image.open(target) as out:
            assert [out.info[k] for k in out.info if k == "icc_profile"] == [profile] * count


def tilted(picture):
    turn = cv2.getRotationMatrix2D((224, 129), 38, 1.0)
    return cv2.warpAffine(picture, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda a: np.full((300, 300, 3), 90, np.uint8), "no face was found"),
        (lambda a: np.hstack([a[:300, 80:380]] * 2), "2 faces were found"),
        (lambda a: cv2.resize(a, (200, 200), interpolation=cv2.INTER_AREA), "too small"),
        (lambda a: a[:185, 120:330], "ends too close"),
        (tilted, "turned away"),
    ],
    ids=["none", "two", "small", "cut", "sideways"],
)
def test_a_picture_that_gives_no_id_photo_is_one_clear_line(all_faces, tmp_path, make, says):
    source = saved(tmp_path / "in.png", make(astronaut()))
    with pytest.raises(MediaError, match=says):
        make_id_photo(source, tmp_path / "out.jpg", restorer=all_faces)
    assert not (tmp_path / "out.jpg").exists()


def test_the_command_says_what_cut_the_person_out(tmp_path, capsys):
    source = saved(tmp_path / "in.png", astronaut())
    words = [str(source), str(tmp_path / "out.jpg"), "--id-photo", "1in", "--faces", "largest"]
    assert main(["photo", *words]) == 0
    assert "295x413 pixels at 300 dpi" in (said := capsys.readouterr().out)
    assert "cut out by GrabCut" in said
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.info["dpi"] == (300, 300)


def test_modnet_gives_a_matte_and_refuses_what_is_not_its_weights(tmp_path):
    import torch
    from facexlib.matting.modnet import MODNet
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {f"module.{k}": v for k, v in MODNet(backbone_pretrained=False).state_dict().items()}
    path = tmp_path / "modnet.safetensors"
    save_file({k: v.clone() for k, v in state.items()}, path)
    torch.save(state, tmp_path / "modnet.pth")
    picture = astronaut()[:413, :295]
    alpha = PortraitMatting(path).cut_out(picture)
    assert alpha.shape == (413, 295)
    assert alpha.dtype == np.float32
    assert 0 <= alpha.min() < alpha.max() <= 1
    with pytest.raises(WeightsError, match="--allow-unverified"):
        PortraitMatting(tmp_path / "modnet.pth")
    PortraitMatting(tmp_path / "modnet.pth", allow_unverified=True)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold the weights of MODNet"):
        PortraitMatting(tmp_path / "other.safetensors")


def test_the_matting_weights_are_named_installed_or_none(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"none\.pth"):
        find_matting(tmp_path / "none.pth", None)
    assert find_matting(None, tmp_path) is None
    path = tmp_path / "matting_modnet_portrait.pth"
    path.touch()
    assert find_matting(None, tmp_path) is None  # nobody knows what it ought to be
    assert find_matting(None, tmp_path, allow_unverified=True) == path
    assert find_matting(path, None) == path
