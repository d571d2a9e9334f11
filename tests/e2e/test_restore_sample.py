"""The main job on the sample, through the command line, with the real networks."""

import json

import numpy as np

from tests.conftest import REPOSITORY
from tests.e2e.conftest import SAMPLE
from tests.support.witness import audio_digests, pictures_of, planes_of, video_times

ORIGINAL = REPOSITORY / "samples" / "home-video-original.mp4"


def painted_boxes(report):
    boxes = {}
    for track in report["tracks"]:
        for row in track["frames"]:
            boxes.setdefault(round(row["time"], 6), []).append(row["painted"])
    return boxes


def test_every_frame_keeps_its_time_and_the_sound_its_bytes(restored_sample):
    film, report = restored_sample
    # Matroska writes times in whole milliseconds
    times = [round(t * 1000) for t in video_times(SAMPLE)]
    assert [round(t * 1000) for t in video_times(film)] == times
    assert report["frames"]["written"] == len(times)
    assert audio_digests(film) == audio_digests(SAMPLE)
    assert len(audio_digests(SAMPLE)) == 1


def test_no_sample_outside_the_painted_regions_is_touched(restored_sample):
    film, report = restored_sample
    boxes = painted_boxes(report)
    source = planes_of(SAMPLE)
    num_changed = 0
    for time, before, after in zip(video_times(SAMPLE), source, planes_of(film), strict=True):
        mine = boxes.get(round(float(time), 6), [])
        for plane, (a, b) in enumerate(zip(before, after, strict=True)):
            changed = a != b
            num_changed += int(changed.sum())
            for left, top, right, bottom in mine:
                half = 1 if plane == 0 else 2
                changed[top // half : -(-bottom // half), left // half : -(-right // half)] = False
            assert not changed.any()
    assert num_changed > 100_000


def test_faces_come_closer_to_the_clean_original(restored_sample):
    film, report = restored_sample
    boxes = painted_boxes(report)
    errors = []
    films = (pictures_of(path) for path in (SAMPLE, film, ORIGINAL))
    for time, before, after, clean in zip(video_times(SAMPLE), *films, strict=True):
        for left, top, right, bottom in boxes.get(round(float(time), 6), []):
            # the middle of the region: what the mask shows fully
            x, y = (right - left) // 5, (bottom - top) // 5
            part = np.s_[top + y : bottom - y, left + x : right - x]
            truth = clean[part].astype(np.float64)
            errors.append([((p[part] - truth) ** 2).mean() for p in (before, after)])
    before, after = 10 * np.log10(255**2 / np.mean(errors, axis=0))
    assert len(errors) > 100
    assert after > before + 0.5, f"PSNR of faces: {before:.2f} dB before, {after:.2f} dB after"


def test_the_report_tells_what_was_found_and_chosen(restored_sample):
    _, report = restored_sample
    assert report["schema_version"] == 1
    assert report["input"]["video"]["codec"] == "h264"
    assert {s["action"] for s in report["output"]["streams"]} == {"encoded", "copied"}
    assert report["cuts"] == [3.68, 5.2]
    assert len(report["tracks"]) == 2
    for track in report["tracks"]:
        assert track["num_frames"] == len(track["frames"])
        assert track["mean_width_px"] > 30
    assert 0 < report["frames"]["with_faces"] < report["frames"]["written"]
    assert [s["name"] for s in report["timings"]["stages"]] == [
        "decode", "detect", "track", "align", "restore", "steady", "blend", "encode",
    ]  # fmt: skip
    assert any("vidrestore-lite-256" in choice for choice in report["choices"])
    assert report["models"]["restorer"]["sha256"]


def test_smoothed_landmarks_are_close_to_the_true_ones(restored_sample):
    """The sample's script knows where the landmarks of the photograph were in each frame."""
    _, report = restored_sample
    truth = json.loads((REPOSITORY / "samples" / "home-video-landmarks.json").read_text("utf-8"))
    times = [float(t) for t in video_times(SAMPLE)]
    by_time = {round(t, 3): points for t, points in zip(times, truth["landmarks"], strict=True)}
    errors = []
    for track in report["tracks"]:
        for row in track["frames"]:
            true = by_time[round(row["time"], 3)]
            if true is not None:
                smoothed = np.array(row["smoothed"])
                eyes = np.linalg.norm(np.subtract(true[1], true[0]))
                errors.append(np.linalg.norm(smoothed - true, axis=1).mean() / eyes)
    assert len(errors) > 100
    assert np.median(errors) < 0.12
