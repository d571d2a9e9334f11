"""The sample film is what its README says; the script that made it is not needed here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
WORN, ORIGINAL = SAMPLES / "home-video.mp4", SAMPLES / "home-video-original.mp4"
LANDMARKS = SAMPLES / "home-video-landmarks.json"
NUM_FRAMES = 200
CUTS = (92, 130)  # first frames of the second and the third shot


@dataclass(frozen=True)
class Film:
    luma: npt.NDArray[np.uint8]
    """Shape (200, 480, 640)."""
    seconds: list[Fraction]
    sound: npt.NDArray[np.float32]
    """Shape (2, samples)."""


def read(path: Path) -> Film:
    with av.open(path) as film:
        frames = list(film.decode(video=0))
        luma = np.stack([frame.to_ndarray()[:480] for frame in frames])
        seconds = [frame.pts * frame.time_base for frame in frames]
        film.seek(0)
        sound = np.concatenate([piece.to_ndarray() for piece in film.decode(audio=0)], axis=1)
    return Film(luma, seconds, sound)


@pytest.fixture(scope="module")
def worn() -> Film:
    return read(WORN)


@pytest.fixture(scope="module")
def original() -> Film:
    return read(ORIGINAL)


@pytest.fixture(scope="module")
def landmarks() -> list[npt.NDArray[np.float64] | None]:
    found = json.loads(LANDMARKS.read_text(encoding="utf-8"))["landmarks"]
    return [None if points is None else np.array(points) for points in found]


def faces(landmarks: list[npt.NDArray[np.float64] | None], start: int, stop: int) -> npt.NDArray:
    """Landmarks of a shot, shape (n, 5, 2)."""
    return np.stack([points for points in landmarks[start:stop] if points is not None])


def face_box(points: npt.NDArray[np.float64]) -> tuple[slice, slice]:
    """Rows and columns of a face, from brow to chin and ear to ear."""
    apart = np.hypot(*(points[1] - points[0]))
    low = np.rint(points.mean(axis=0) - 1.1 * apart).astype(int)
    high = np.rint(points.mean(axis=0) + 1.1 * apart).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def psnr(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


@pytest.mark.parametrize("path", [WORN, ORIGINAL], ids=lambda path: path.stem)
def test_picture_and_sound_are_of_the_stated_kind(path: Path) -> None:
    with av.open(path) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == (640, 480)
        assert video.sample_aspect_ratio in (None, 1)
        assert video.average_rate == 25
        colours = video.codec_context
        assert (colours.colorspace, colours.color_range) == (5, 1)  # BT.601, limited
        assert (audio.codec_context.name, audio.rate) == ("aac", 48_000)
        assert audio.codec_context.layout.name == "stereo"
        assert audio.duration * audio.time_base == video.duration * video.time_base == 8


def test_worn_and_original_have_the_same_frames_at_the_same_times(
    worn: Film, original: Film
) -> None:
    assert len(worn.luma) == len(original.luma) == NUM_FRAMES
    assert worn.seconds == original.seconds == [Fraction(n, 25) for n in range(NUM_FRAMES)]


def test_the_sound_is_the_same_and_walks_between_left_and_right(worn: Film, original: Film) -> None:
    assert worn.sound.shape[1] == 8 * 48_000
    np.testing.assert_array_equal(worn.sound, original.sound)
    assert 0.1 < np.abs(worn.sound).max() < 1  # there, and not clipped
    left, right = np.sqrt((worn.sound**2).reshape(2, 16, -1).mean(axis=2))  # of each note
    assert (left / right).max() > 3
    assert (right / left).max() > 3


def test_there_are_two_cuts_and_no_more(original: Film) -> None:
    small = original.luma[:, ::8, ::8].astype(np.float64)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    assert sorted(int(n) + 1 for n in np.argsort(change)[-2:]) == list(CUTS)
    assert np.sort(change)[-2] > 3 * np.sort(change)[-3]


def test_landmarks_are_known_but_for_a_stretch_of_more_than_a_second(
    landmarks: list[npt.NDArray[np.float64] | None],
) -> None:
    assert len(landmarks) == NUM_FRAMES
    missing = [n for n, points in enumerate(landmarks) if points is None]
    assert missing == list(range(*CUTS))
    assert len(missing) > 25
    present = faces(landmarks, 0, NUM_FRAMES)
    assert present.shape == (NUM_FRAMES - len(missing), 5, 2)
    left_eye, right_eye, nose, left_mouth, right_mouth = np.moveaxis(present, 1, 0)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()  # as seen, in the mirrored shot as well
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
    assert (left_eye[:, 1] < nose[:, 1]).all()
    assert (nose[:, 1] < left_mouth[:, 1]).all()


@pytest.mark.parametrize("shot", [(0, CUTS[0]), (CUTS[1], NUM_FRAMES)])
def test_the_face_moves_turns_and_changes_size_smoothly_within_the_picture(
    landmarks: list[npt.NDArray[np.float64] | None], shot: tuple[int, int]
) -> None:
    points = faces(landmarks, *shot)
    between_eyes = points[:, 1] - points[:, 0]
    apart = np.hypot(*between_eyes.T)
    assert apart.max() / apart.min() > 1.4
    middle = points.mean(axis=1)
    assert np.ptp(middle, axis=0).max() > 50
    tilt = np.degrees(np.arctan2(between_eyes[:, 1], between_eyes[:, 0]))
    assert 3 < np.ptp(tilt) < 20
    nose_aside = (points[:, 2, 0] - points[:, :2, 0].mean(axis=1)) / apart
    assert 0.08 < np.ptp(nose_aside) < 0.4  # turned
    assert np.hypot(*np.diff(middle, axis=0).T).max() < 8  # moves like a person, not like a jump
    assert np.hypot(*np.diff(middle, 2, axis=0).T).max() < 3
    reach = 1.3 * apart[:, None]
    assert (middle - reach > 0).all()
    assert (middle + reach < (640, 480)).all()


def test_landmarks_lie_on_the_pictures_eyes(
    original: Film, landmarks: list[npt.NDArray[np.float64] | None]
) -> None:
    """An eye is darker than the skin below it: the darkest spot nearby is close to the landmark."""
    for number in range(0, NUM_FRAMES, 7):
        points = landmarks[number]
        if points is None:
            continue
        apart = np.hypot(*(points[1] - points[0]))
        radius = round(0.25 * apart)
        for x, y in np.rint(points[:2]).astype(int):
            area = original.luma[number, y - radius : y + radius + 1, x - radius : x + radius + 1]
            dark = np.argwhere(area <= np.percentile(area, 4)) - radius
            assert np.hypot(*dark.mean(axis=0)) < 0.12 * apart, (number, x, y)


def test_the_tape_softened_the_face_and_added_noise_but_left_it_in_place(
    worn: Film, original: Film, landmarks: list[npt.NDArray[np.float64] | None]
) -> None:
    for number in range(0, NUM_FRAMES, 9):
        points = landmarks[number]
        if points is None:
            continue
        rows, columns = face_box(points)
        clean, bad = original.luma[number, rows, columns], worn.luma[number, rows, columns]
        assert 23 < psnr(bad, clean) < 30
        shifted = slice(columns.start + 3, columns.stop + 3)
        assert psnr(worn.luma[number, rows, shifted], clean) < psnr(bad, clean)


def test_the_noise_changes_from_frame_to_frame(worn: Film, original: Film) -> None:
    """On the plain wall at the upper left of the third shot, where the original is smooth."""
    wall = np.s_[140:190, 10:150, 10:150]
    assert np.diff(original.luma[wall].astype(np.float64), axis=0).std() < 1.5
    assert 3 < np.diff(worn.luma[wall].astype(np.float64), axis=0).std() < 12


def test_the_last_lines_are_torn_by_head_switching(worn: Film, original: Film) -> None:
    bad, clean = worn.luma[:92:8].astype(np.float64), original.luma[:92:8]
    error = np.abs(bad - clean).mean(axis=(0, 2))
    assert error[-6:].mean() > 2 * error[-40:-10].mean()


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in (WORN, ORIGINAL, LANDMARKS)) < 3_000_000
