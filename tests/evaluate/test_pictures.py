import cv2
import numpy as np
import pytest

from vidrestore.errors import OutputError, SettingsError
from vidrestore.evaluate.baselines import BASELINES
from vidrestore.evaluate.pictures import load_pictures, read_picture
from vidrestore.evaluate.sheet import contact_sheet, write_png


@pytest.fixture
def folder(tmp_path):
    for k in range(6):
        picture = np.full((64, 64, 3), 20 + 30 * k, np.uint8)
        cv2.imwrite(str(tmp_path / f"{k}.png"), picture)
    return tmp_path


def tag(image, seed):
    """A degradation that leaves its seed in the picture."""
    worse = image.copy()
    worse[0, 0] = np.frombuffer(np.uint32(seed).tobytes(), np.uint8)[:3]
    return worse


def test_the_same_seed_draws_the_same_pictures_and_another_one_others(folder):
    one, same, other = (load_pictures(folder, tag, 3, seed) for seed in (5, 5, 6))
    assert [p.name for p in one.pairs] == [p.name for p in same.pairs]
    for a, b in zip(one.pairs, same.pairs, strict=True):
        assert np.array_equal(a.degraded, b.degraded)
    assert [p.name for p in one.pairs] != [p.name for p in other.pairs]
    seeds = {tuple(p.degraded[0, 0]) for p in (*one.pairs, *other.pairs)}
    assert len(seeds) == 6


def test_more_pictures_begin_with_the_fewer_ones(folder):
    few, many = load_pictures(folder, tag, 2, 1), load_pictures(folder, tag, 5, 1)
    for a, b in zip(few.pairs, many.pairs[:2], strict=True):
        assert a.name == b.name
        assert np.array_equal(a.degraded, b.degraded)


def test_what_cannot_be_used_is_skipped_and_counted(folder):
    (folder / "broken.png").write_bytes(b"this is no picture")
    (folder / "empty.png").touch()
    cv2.imwrite(str(folder / "wide.png"), np.zeros((64, 80, 3), np.uint8))
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((32, 32, 3), np.uint8))
    (folder / "notes.txt").write_text("not counted")
    found = load_pictures(folder, tag, 100, 0)
    assert len(found.pairs) == 6
    assert found.num_skipped == 4


def test_a_folder_without_pictures_is_one_clear_line(tmp_path):
    with pytest.raises(SettingsError, match="holds no square picture"):
        load_pictures(tmp_path, tag, 3, 0)
    with pytest.raises(SettingsError, match="does not exist"):
        load_pictures(tmp_path / "nowhere", tag, 3, 0)


def test_pictures_are_read_as_rgb(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "röt.png"), red[..., ::-1])
    assert np.array_equal(read_picture(tmp_path / "röt.png"), red)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_take_noise_away_and_keep_the_colours_in_order(name):
    clean = np.zeros((96, 96, 3))
    clean += np.array([200, 150, 120]) + np.linspace(0, 30, 96)[:, None]
    noise = np.random.default_rng(0).standard_normal(clean.shape) * 8
    worse = np.clip(clean + noise, 0, 255).astype(np.uint8)
    worse.setflags(write=False)
    better = BASELINES[name](worse)
    assert better.shape == clean.shape
    assert better.dtype == np.uint8
    assert np.abs(better - clean).mean() < 0.7 * np.abs(worse - clean).mean()


def test_the_sheet_shows_every_picture_in_its_place(tmp_path):
    def flat(level):
        return np.full((64, 64, 3), level, np.uint8)

    columns = [("in", [flat(10 * k) for k in range(20)]), ("out", [flat(200) for _ in range(20)])]
    sheet = contact_sheet(columns)
    levels = {int(v) for v in np.unique(sheet[60::192])}
    assert {10 * k for k in range(20)} | {200} <= levels
    write_png(tmp_path / "sheet.png", sheet)
    assert np.array_equal(read_picture(tmp_path / "sheet.png"), sheet)
    with pytest.raises(OutputError, match="cannot write"):
        write_png(tmp_path / "nowhere" / "sheet.png", sheet)


def test_the_sheet_shows_at_most_64_faces():
    images = [np.zeros((64, 64, 3), np.uint8)] * 90
    assert contact_sheet([("a", images)]).shape == contact_sheet([("a", images[:64])]).shape
