import dataclasses
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from tests.support.disks import mounted_disk
from tests.support.fakes import FakeDetector
from tests.support.films import beeps
from tests.support.job_runner import (
    CHOSEN,
    EIGHT_SECONDS,
    FACTS,
    fake_networks,
    run_faked,
    trembling_face,
)
from tests.support.synthetic import Clip, make_clip
from tests.support.witness import planes_of, video_times
from vidrestore.errors import OutputError, RangeError
from vidrestore.jobs.drawing import clock_time, save_png
from vidrestore.jobs.preview import preview_video
from vidrestore.jobs.preview_parts import default_range
from vidrestore.media.probe import probe
from vidrestore.settings import (
    Compare,
    EncodeSettings,
    Moment,
    RestoreSettings,
    TimeSpan,
    VideoCodec,
)

LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))
RANGE = TimeSpan(Moment.parse("2"), Moment.parse("4"))


@contextmanager
def faked(find=trembling_face):
    """Stand-ins for the networks, also for the look through the film."""

    @contextmanager
    def loaded(*_):
        yield FakeDetector(find), FACTS["detector"], []

    with ExitStack() as stack:
        stack.enter_context(fake_networks(find))
        for target, value in (("choose_models", lambda _: CHOSEN), ("loaded_detector", loaded)):
            stack.enter_context(patch(f"vidrestore.jobs.preview.{target}", value))
        yield


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", EIGHT_SECONDS)


@pytest.fixture(scope="module")
def whole(film, tmp_path_factory):
    """The planes of the film restored as a whole, by milliseconds."""
    path = tmp_path_factory.mktemp("whole") / "out.mkv"
    run_faked(film, path, LOSSLESS)
    return by_time(path)


def by_time(path):
    return dict(zip([round(t * 1000) for t in video_times(path)], planes_of(path), strict=True))


def span_of(asked):
    return dataclasses.replace(LOSSLESS, span=asked)


def assert_shows(planes, before, after, compare, seconds):
    """Check one picture of a clip of two seconds against the two films."""
    for shown, old, new in zip(planes, before, after, strict=True):
        if compare is Compare.SIDE:
            np.testing.assert_array_equal(shown, np.hstack([old, new]))
            continue
        upper, width = old.shape[0] * 2 // 3, old.shape[1]  # words stand in the lower corners
        if compare is Compare.FLIP:
            expected = new if seconds >= 1 else old
            np.testing.assert_array_equal(shown[:upper], expected[:upper])
            continue
        share = 0.5 if compare is Compare.SPLIT else abs(1 - seconds)
        join = round(share * 80) * width // 80
        line = 0 if join in (0, width) else width // 80
        np.testing.assert_array_equal(shown[:upper, :join], old[:upper, :join])
        np.testing.assert_array_equal(shown[:upper, join + line :], new[:upper, join + line :])


@pytest.mark.parametrize("compare", Compare)
def test_the_restored_side_is_that_of_the_full_run_and_the_other_the_film(
    film, whole, tmp_path, compare
):
    path = tmp_path / "preview.mkv"
    with faked():
        made = preview_video(film, path, span_of(RANGE), compare=compare)
    source, frames = by_time(film), by_time(path)
    assert len(frames) == 50
    num_changed = 0
    for time, planes in frames.items():
        before, after = source[time + 2000], whole[time + 2000]
        num_changed += any((a != b).any() for a, b in zip(before, after, strict=True))
        assert_shows(planes, before, after, compare, time / 1000)
    assert num_changed == 50
    assert made.path == path
    assert made.clips[0].why is None


@pytest.fixture(scope="module")
def preview(film, tmp_path_factory):
    """A preview of two seconds with default names, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("preview")
    copy = folder / "tape.mp4"
    copy.write_bytes(film.read_bytes())
    said = []
    with faked():
        made = preview_video(copy, None, RestoreSettings(span=RANGE), said.append)
    return made, said


def test_clip_and_sheet_lie_beside_the_film_under_one_name(preview):
    made, _ = preview
    assert made.path.name == "tape-preview-2s.mp4"
    assert made.sheet.name == "tape-preview-2s.png"
    names = sorted(path.name for path in made.path.parent.iterdir())
    assert names == ["tape-preview-2s.mp4", "tape-preview-2s.png", "tape.mp4"]


def test_the_sheet_shows_moments_and_faces_before_and_after(preview):
    made, _ = preview
    sheet = cv2.imread(str(made.sheet))
    # four moments in rows of two pairs, then the face; the stand-in makes negatives
    assert sheet.shape[0] > 2 * 96 + 160
    tiles = sheet[-16 - 160 : -16, 16 : 16 + 2 * 160 + 4].astype(int)
    before, after = tiles[40:120, 40:120], tiles[40:120, 204:284]
    assert abs((before + after).mean() - 255) < 12
    assert abs(before - after).mean() > 5


def test_the_sound_starts_with_the_clip(preview):
    made, _ = preview
    assert beeps(made.path)[:2] == pytest.approx([0, 1], abs=0.06)


def test_progress_reaches_its_end(preview):
    _, said = preview
    assert [p.num_frames_done for p in said] == list(range(1, 51))
    assert {p.num_frames_expected for p in said} == {50}


def test_the_estimate_says_what_it_rests_on(preview):
    made, _ = preview
    assert made.estimate.basis == "if all of it is like this part"
    assert made.seconds_for_film == made.estimate.seconds > 0
    # the film is of one kind throughout: four times as large as its quarter
    assert 0 < made.bytes_for_film < 4e6


def test_the_size_is_near_that_of_the_full_run(film, preview, tmp_path):
    made, _ = preview
    run_faked(film, tmp_path / "out.mp4", RestoreSettings(), is_kept=False)
    assert made.bytes_for_film == pytest.approx((tmp_path / "out.mp4").stat().st_size, rel=0.25)


def face_after_four_seconds(image):
    """The number of the picture stands in eight cells along its top, the lowest bit first."""
    bits = [image[3, 10 + 20 * k].mean() > 128 for k in range(8)]
    number = sum(bit << k for k, bit in enumerate(bits))
    return trembling_face(image) if number >= 100 else ()


def test_without_a_range_telling_moments_are_shown(film, tmp_path):
    said = []
    with faked(face_after_four_seconds):
        made = preview_video(film, tmp_path / "p.mp4", None, said.append)
    names = [clip.path.name for clip in made.clips]
    assert names == ["p-1-large.mp4", "p-2-worst.mp4"]
    assert [clip.sheet.name for clip in made.clips] == ["p-1-large.png", "p-2-worst.png"]
    assert all(clip.sheet.exists() and clip.why for clip in made.clips)
    assert all(clip.report.frames["faces"] for clip in made.clips)
    total = sum(clip.report.frames["written"] for clip in made.clips)
    assert [p.num_frames_done for p in said] == list(range(1, total + 1))
    assert {p.num_frames_expected for p in said} <= {total - 1, total, total + 1}
    assert "by a look at 32 places" in made.estimate.basis
    assert float(made.estimate.basis.split()[0]) == pytest.approx(0.5, abs=0.1)
    for clip in made.clips:
        start = float(clip.report.output["start_seconds"])
        expected = [k - start for k in range(9) if 0.1 < k - start < 2.4]
        heard = [moment for moment in beeps(clip.path) if 0.1 < moment < 2.4]
        assert heard == pytest.approx(expected, abs=0.06)


def test_of_a_film_without_faces_a_part_is_shown_and_that_is_said(film, tmp_path, caplog):
    with faked(lambda image: ()), caplog.at_level("INFO", "vidrestore"):
        made = preview_video(film, tmp_path / "p.mp4", None)
    assert "faces at 0 of 32 places: the preview shows the first third" in caplog.text
    assert [clip.path.name for clip in made.clips] == ["p.mp4"]
    assert made.report.frames["written"] == 150
    assert made.estimate.basis.startswith("0.0 faces")


@pytest.mark.parametrize("name", ["p.mp4", "p.png"])
def test_what_exists_is_not_replaced_unasked(film, tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    with faked(), pytest.raises(OutputError, match=rf"{name} exists: use --overwrite"):
        preview_video(film, tmp_path / "p.mp4", RestoreSettings(span=RANGE))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with faked():
        settings = RestoreSettings(span=RANGE, encode=EncodeSettings(overwrite=True))
        preview_video(film, tmp_path / "p.mp4", settings)
    assert (tmp_path / name).read_bytes() != b"mine"


def test_the_film_itself_is_not_replaced(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    settings = RestoreSettings(encode=EncodeSettings(overwrite=True))
    with faked(), pytest.raises(OutputError, match="the input itself"):
        preview_video(film, film, dataclasses.replace(settings, span=TimeSpan(Moment(Fraction(0)))))


def test_a_range_outside_of_the_film_leaves_nothing(film, tmp_path):
    with faked(), pytest.raises(RangeError, match="the range starts at 9s, but"):
        preview_video(film, tmp_path / "p.mp4", span_of(TimeSpan(Moment.parse("9"))))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with mounted_disk(tmp_path / "disk", "40k") as folder:
        with pytest.raises(OutputError, match=r"cannot write .*sheet.png: No space left"):
            save_png(folder / "sheet.png", noise)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        (TimeSpan(), 8, 14),
        (TimeSpan(Moment.parse("3")), 3, 9),
        (TimeSpan(end=Moment.parse("4")), 0, 4),
        (TimeSpan(end=Moment.parse("20")), 14, 20),
        (TimeSpan(Moment.parse("3"), Moment.parse("5")), 3, 5),
    ],
)
def test_a_missing_range_is_completed(tmp_path, asked, start, end):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    made = default_range(probe(film), asked)
    assert (made.start.seconds, made.end.seconds) == (start, end)


def test_a_range_from_a_frame_number_is_as_long(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    assert default_range(probe(film), TimeSpan(Moment(frame=30))).end.frame == 90


def test_a_range_to_a_frame_number_is_as_long(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    assert default_range(probe(film), TimeSpan(end=Moment(frame=100))).start.frame == 40
    assert default_range(probe(film), TimeSpan(end=Moment(frame=20))).start.frame == 0


def test_times_are_written_as_players_do():
    assert [clock_time(t) for t in (3.26, 62, 3725.25)] == ["0:03.3", "1:02.0", "1:02:05.2"]
