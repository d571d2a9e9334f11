import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.images import textured_picture
from vidrestore.errors import MediaOpenError, OutputError
from vidrestore.media import images
from vidrestore.media.exif import orientation_of, upright_exif
from vidrestore.media.image_files import check_target, write_photograph
from vidrestore.media.images import Photograph, is_photograph, read_photograph

RGB = textured_picture(60, 40, seed=1)
ICC = b"\0\0\0\x80" + bytes(124)


def deep(channels):
    rng = np.random.default_rng(channels)
    return rng.integers(0, 65536, (40, 60, channels)).astype(np.uint16)


def exif(orientation):
    """A camera's block: maker, orientation, an inner directory with notes of its own."""
    made = Image.Exif()
    made[0x010F] = "Camera"
    made[0x0112] = orientation
    made.get_ifd(0x8769)[0x927C] = b"maker's notes"
    return made.tobytes()


SHALLOW = [RGB, RGB[..., :1], np.dstack([RGB, RGB[..., 0]]), RGB[..., :2]]
DEEP = [deep(1), deep(3), deep(4)]


@pytest.mark.parametrize("samples", SHALLOW + DEEP, ids=lambda s: f"{s.dtype}-{s.shape[2]}")
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_files_give_every_sample_back_with_depth_grey_and_alpha(tmp_path, samples, suffix):
    samples = np.ascontiguousarray(samples)
    photo = Photograph(samples, images.PhotoFormat.PNG, exif(1), ICC, (300.0, 150.0))
    write_photograph(tmp_path / f"a{suffix}", photo)
    again = read_photograph(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.samples, samples)
    assert again.samples.dtype == samples.dtype
    assert again.icc_profile == ICC
    assert again.dpi == pytest.approx((300, 150), abs=0.05)
    kept = Image.Exif()
    kept.load(again.exif)
    assert kept[0x010F] == "Camera"
    assert kept.get_ifd(0x8769)[0x927C] == b"maker's notes"


def test_a_deep_tiff_is_read_by_others(tmp_path):
    samples = deep(3)
    write_photograph(tmp_path / "a.tif", Photograph(samples, images.PhotoFormat.TIFF))
    read = cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., ::-1], samples)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_picture_is_turned_upright_once_and_says_so(tmp_path, orientation, suffix):
    """Pillow's own transposition is the witness."""
    stored = Image.fromarray(RGB)
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    stored.save(path, exif=exif(orientation), **options)
    upright = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_270], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_90],
    }  # fmt: skip
    decoded = Image.open(path).convert("RGB") if suffix == ".jpg" else stored
    for step in upright.get(orientation, []):
        decoded = decoded.transpose(step)
    photo = read_photograph(path)
    np.testing.assert_array_equal(photo.samples, np.asarray(decoded))
    write_photograph(tmp_path / "out.png", photo)
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif().get(0x0112, 1) == 1
        assert out.size == decoded.size


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_deep_tiff_is_turned_upright_too(tmp_path, orientation):
    samples = deep(3)
    photo = Photograph(samples, images.PhotoFormat.TIFF, exif(orientation))
    write_photograph(tmp_path / "a.tif", photo)
    expected = np.rot90(samples, -1) if orientation == 6 else samples
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.tif").samples, expected)


def test_the_preview_in_the_exif_goes_and_all_else_stays_byte_for_byte(tmp_path):
    block = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    block += struct.pack(">I", 26) + b"preview directory"
    upright = upright_exif(b"Exif\0\0" + block)
    assert orientation_of(b"Exif\0\0" + block) == 6
    assert upright[:6] == b"Exif\0\0"
    changed = [k for k, (a, b) in enumerate(zip(upright[6:], block, strict=True)) if a != b]
    assert changed == [8 + 2 + 9, 8 + 2 + 12 + 3]
    assert orientation_of(upright) == 1


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_an_exif_block_that_is_none_is_left_out(block):
    assert orientation_of(block) == 1
    assert upright_exif(block) is None


def test_a_jpeg_keeps_sampling_and_is_close(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95, subsampling=2, progressive=True)
    photo = read_photograph(tmp_path / "a.jpg")
    assert (photo.sampling, photo.is_progressive, photo.is_lossless) == (2, True, False)
    write_photograph(tmp_path / "b.jpg", photo)
    again = read_photograph(tmp_path / "b.jpg")
    assert (again.sampling, again.is_progressive) == (2, True)
    assert np.abs(again.samples.astype(int) - photo.samples).mean() < 1.5


@pytest.mark.parametrize("lossless", [True, False])
def test_a_lossless_webp_stays_lossless(tmp_path, lossless):
    Image.fromarray(RGB).save(tmp_path / "a.webp", lossless=lossless, exif=exif(1))
    photo = read_photograph(tmp_path / "a.webp")
    assert photo.is_lossless is lossless
    write_photograph(tmp_path / "b.webp", photo)
    again = read_photograph(tmp_path / "b.webp")
    assert again.is_lossless is lossless
    assert np.array_equal(again.samples, photo.samples) is lossless


def test_a_palette_becomes_colours_and_its_transparency_alpha(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "a.png", transparency=0)
    assert read_photograph(tmp_path / "a.png").samples.shape == (40, 60, 4)


def test_the_profile_of_grey_does_not_go_with_colours(tmp_path):
    profile = bytes(16) + b"GRAY" + bytes(108)
    for samples, kept in ((deep(1), profile), (np.dstack([deep(1)] * 2), None)):
        write_photograph(
            tmp_path / "a.png", Photograph(samples, images.PhotoFormat.PNG, icc_profile=profile)
        )
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.info.get("icc_profile") == kept


def test_what_a_format_cannot_hold_is_said_or_refused(tmp_path):
    alpha = Photograph(np.dstack([RGB, RGB[..., 0]]), images.PhotoFormat.PNG)
    with pytest.raises(OutputError, match="transparency"):
        check_target(tmp_path / "a.jpg", alpha)
    with pytest.raises(OutputError, match=r"name it \.jpg"):
        check_target(tmp_path / "a.gif", alpha)
    (note,) = check_target(tmp_path / "a.jpg", Photograph(deep(3), images.PhotoFormat.PNG))
    assert "16 bits" in note
    coloured = Photograph(RGB, images.PhotoFormat.JPEG, icc_profile=b"profile")
    (note,) = check_target(tmp_path / "a.bmp", coloured)
    assert "colour profiles" in note
    assert check_target(tmp_path / "a.bmp", Photograph(RGB, images.PhotoFormat.JPEG)) == []
    write_photograph(tmp_path / "a.bmp", Photograph(deep(3), images.PhotoFormat.PNG))
    again = read_photograph(tmp_path / "a.bmp").samples
    np.testing.assert_array_equal(again, np.rint(deep(3) / 257).astype(np.uint8))


def bad(tmp_path, name):
    path = tmp_path / name
    picture = Image.fromarray(RGB)
    if name == "animated.webp":
        picture.save(path, save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    elif name == "pages.tif":
        picture.save(path, save_all=True, append_images=[picture])
    elif name == "print.jpg":
        picture.convert("CMYK").save(path)
    elif name == "float.tif":
        picture.convert("F").save(path)
    elif name == "moving.gif":
        picture.save(path)
    elif name == "text.jpg":
        path.write_text("no picture")
    elif name == "empty.png":
        path.touch()
    elif name == "folder.jpg":
        path.mkdir()
    elif name in ("cut.jpg", "cut.png", "cut.webp", "cut.tif", "cut.bmp"):
        picture.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == "deep-cut.png":
        write_photograph(path, Photograph(deep(3), images.PhotoFormat.PNG))
        path.write_bytes(path.read_bytes()[:60])
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("animated.webp", "2 pictures"), ("pages.tif", "2 pages"), ("print.jpg", "convert it"),
        ("float.tif", "convert it"), ("moving.gif", "not a photograph"),
        ("text.jpg", "not a photograph"), ("empty.png", "not a photograph"),
        ("folder.jpg", "is a folder"), ("missing.jpg", "No such file"), ("cut.jpg", "damaged"),
        ("cut.png", "damaged"), ("cut.webp", "damaged"), ("cut.tif", "damaged"),
        ("cut.bmp", "damaged"), ("deep-cut.png", "damaged"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(tmp_path, name, says):
    with pytest.raises(MediaOpenError, match=says) as caught:
        read_photograph(bad(tmp_path, name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    coded = io.BytesIO()
    Image.fromarray(RGB).save(coded, "PNG")
    data = bytearray(coded.getvalue())
    struct.pack_into(">II", data, 16, 40_000, 30_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    (tmp_path / "huge.png").write_bytes(data)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(MediaOpenError, match="40000x30000 pixels: make it smaller"):
        read_photograph(tmp_path / "huge.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_photographs_are_told_by_their_content(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    (tmp_path / "b.jpg").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    assert is_photograph(tmp_path / "a.mp4")
    assert not is_photograph(tmp_path / "b.jpg")
    assert not is_photograph(tmp_path / "missing.jpg")
    assert not is_photograph(tmp_path)


def test_an_output_that_fails_leaves_nothing_and_spares_what_was_there(tmp_path):
    (tmp_path / "a.webp").write_bytes(b"before")
    wide = Photograph(np.zeros((1, 17000, 3), np.uint8), images.PhotoFormat.PNG)
    with pytest.raises(OutputError, match="cannot write"):
        write_photograph(tmp_path / "a.webp", wide)
    assert [p.name for p in tmp_path.iterdir()] == ["a.webp"]
    assert (tmp_path / "a.webp").read_bytes() == b"before"
