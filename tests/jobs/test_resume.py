"""A run that is cut short goes on where it stopped, and the result is that of one run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.fakes import landmarks_at, observation
from tests.support.interlaced import Tape, moments, weave, write_tape
from tests.support.job_runner import (
    EIGHT_SECONDS,
    FACTS,
    fake_networks,
    run_faked,
    trembling_face,
)
from tests.support.synthetic import Clip, Sound, drawn_number, make_clip
from tests.support.witness import assert_same_film, audio_digests, video_times
from vidrestore.errors import OutputError, SettingsError
from vidrestore.jobs.restore import run_job
from vidrestore.media.work_folder import work_path
from vidrestore.settings import (
    BlendSettings,
    EncodeSettings,
    Moment,
    ReadSettings,
    RestoreSettings,
    TimeSpan,
    TrackChoice,
    VideoCodec,
)

REPOSITORY = Path(__file__).resolve().parents[2]
LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))
QUICK = RestoreSettings(encode=EncodeSettings(preset="ultrafast"))


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight seconds with sound and a key frame every 0.8 s."""
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", EIGHT_SECONDS)


def undisturbed(film, folder, codec):
    """Settings, output and result of a run that nothing disturbed."""
    preset = {"ffv1": None, "h264": "ultrafast", "h265": "ultrafast", "av1": "12"}[codec]
    settings = RestoreSettings(encode=EncodeSettings(codec=codec, preset=preset))
    path = folder / ("out.mkv" if codec is VideoCodec.FFV1 else "out.mp4")
    return settings, path, run_faked(film, path, settings)


@pytest.fixture(
    scope="module",
    params=[VideoCodec.FFV1, pytest.param(VideoCodec.H264, marks=pytest.mark.slow)],
)
def whole(request, film, tmp_path_factory):
    return undisturbed(film, tmp_path_factory.mktemp("whole"), request.param)


def cut_short(film, target, settings, num_frames, **stand_ins):
    """Run until some frames are written, then break off."""

    def stop(progress):
        if progress.num_frames_done - progress.num_frames_kept == num_frames:
            raise StopError

    with fake_networks(**stand_ins), pytest.raises(StopError) as caught:
        run_job(film, target, settings, stop)
    return caught.value


def people_who_come_and_go(image):
    """One face throughout, one that is there twice."""
    (face,) = trembling_face(image)
    if drawn_number(image) not in (*range(30, 70), *range(110, 160)):
        return (face,)
    width = image.shape[1]
    return face, observation(landmarks_at(width / 6, image.shape[0] / 3, width / 14))


def manifests(target):
    return sorted(p.name for p in work_path(target).glob("*.json") if p.stem.isdigit())


def test_a_film_of_several_segments_has_every_frame_and_sound(film, whole):
    _, path, result = whole
    assert len(video_times(path)) == 200
    assert result.report.output["streams"][0]["num_segments"] >= 4
    for time_in, time_out in zip(video_times(film), video_times(path), strict=True):
        assert abs(time_in - time_out) <= (0 if path.suffix == ".mp4" else 0.001)
    assert audio_digests(film) == audio_digests(path)
    assert not work_path(path).exists()


@pytest.mark.parametrize("num_frames", [45, 101, 199])
def test_what_was_cut_short_goes_on_and_gives_the_same_film(film, whole, tmp_path, num_frames):
    settings, path, _ = whole
    target = tmp_path / path.name
    error = cut_short(film, target, settings, num_frames)
    assert not target.exists()
    kept = len(manifests(target))
    assert kept >= 1
    assert f"kept in {work_path(target)}" in error.__notes__[0]
    result = run_faked(film, target, settings)
    assert_same_film(path, target)
    assert result.report.frames["written"] == 200
    assert 0 < result.report.frames["kept"] <= num_frames
    assert not work_path(target).exists()
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("codec", [VideoCodec.H264, VideoCodec.H265, VideoCodec.AV1])
def test_every_codec_goes_on(film, tmp_path, codec):
    (tmp_path / "whole").mkdir()
    settings, path, _ = undisturbed(film, tmp_path / "whole", codec)
    cut_short(film, tmp_path / path.name, settings, 120)
    run_faked(film, tmp_path / path.name, settings)
    assert_same_film(path, tmp_path / path.name)


def test_at_most_one_segment_is_done_twice(film, tmp_path):
    target = tmp_path / "out.mkv"
    cut_short(film, target, LOSSLESS, 150)
    result = run_faked(film, target, LOSSLESS)
    # segments of 20 to 40 frames here, and the one that was under way
    assert result.report.frames["kept"] >= 150 - 40


def test_a_run_may_be_cut_short_many_times(film, tmp_path, whole):
    settings, path, _ = whole
    target = tmp_path / path.name
    for _ in range(3):
        cut_short(film, target, settings, 55)
    run_faked(film, target, settings)
    assert_same_film(path, target)


def test_the_report_of_a_run_that_went_on_counts_the_whole_film(film, tmp_path):
    with fake_networks(find=people_who_come_and_go):
        once = run_job(film, tmp_path / "whole.mkv", LOSSLESS, None)
    target = tmp_path / "out.mkv"
    cut_short(film, target, LOSSLESS, 100, find=people_who_come_and_go)
    with fake_networks(find=people_who_come_and_go):
        result = run_job(film, target, LOSSLESS, None)
    assert result.report.frames["kept"] > 0
    for key in ("written", "with_faces", "painted", "faces"):
        assert result.report.frames[key] == once.report.frames[key]
    assert result.report.cuts == once.report.cuts
    assert len(result.report.tracks) == len(once.report.tracks) == 3
    for track, same in zip(result.report.tracks, once.report.tracks, strict=True):
        for name in ("id", "start_seconds", "end_seconds", "num_frames", "num_detections"):
            assert getattr(track, name) == getattr(same, name)
        for name in ("mean_width_px", "jitter_raw_px", "jitter_smoothed_px"):
            assert getattr(track, name) == pytest.approx(getattr(same, name), rel=1e-3)


def test_a_range_goes_on_as_well(film, tmp_path):
    span = TimeSpan(Moment.parse("1.3"), Moment.parse("6.1"))
    settings = dataclasses.replace(LOSSLESS, span=span)
    run_faked(film, tmp_path / "whole.mkv", settings)
    cut_short(film, tmp_path / "out.mkv", settings, 70)
    run_faked(film, tmp_path / "out.mkv", settings)
    assert_same_film(tmp_path / "whole.mkv", tmp_path / "out.mkv")


def test_one_cut_short_while_joining_needs_no_frame_again(film, tmp_path, monkeypatch):
    target = tmp_path / "out.mkv"
    with monkeypatch.context() as patch:

        def broken(*args):
            raise StopError

        patch.setattr("vidrestore.media.write.join_segments", broken)
        with fake_networks(), pytest.raises(StopError):
            run_job(film, target, LOSSLESS, None)
    assert not target.exists()
    result = run_faked(film, target, LOSSLESS)
    assert result.report.frames["kept"] == 200
    assert len(video_times(target)) == 200


def test_before_the_first_segment_nothing_is_left_behind(film, tmp_path):
    error = cut_short(film, tmp_path / "out.mkv", LOSSLESS, 10)
    assert list(tmp_path.iterdir()) == []
    assert error.__notes__[0].startswith("nothing is kept: the first segment")


def test_where_nothing_was_finished_changed_settings_are_no_matter(film, tmp_path):
    target = tmp_path / "out.mkv"
    killed = start(film, target, "--codec", "ffv1", "--die-at", "20")
    killed.communicate(timeout=60)
    assert work_path(target).exists()
    changed = dataclasses.replace(LOSSLESS, blend=BlendSettings(strength=0.5))
    run_faked(film, target, changed)
    assert len(video_times(target)) == 200
    assert not work_path(target).exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"blend": BlendSettings(strength=0.5)}, "--strength was 1.0, is 0.5"),
        ({"encode": EncodeSettings(crf=30)}, "--crf was None, is 30"),
        ({"span": TimeSpan(end=Moment.parse("7"))}, "--end was None, is 7 s"),
    ],
)
def test_changed_settings_are_refused_and_named(film, tmp_path, changed, named):
    target = tmp_path / "out.mp4"
    cut_short(film, target, RestoreSettings(), 60)
    before = manifests(target)
    with pytest.raises(SettingsError, match=r"began otherwise .*--fresh") as refusal:
        run_faked(film, target, dataclasses.replace(RestoreSettings(), **changed))
    assert named in str(refusal.value)
    assert manifests(target) == before  # a slip of the hand costs nothing


def test_another_film_or_model_is_refused(film, tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    shutil.copy(film, source)
    cut_short(source, target, QUICK, 60)
    facts = {**FACTS, "restorer": {"name": "fake", "sha256": "1"}}
    with fake_networks(facts=facts), pytest.raises(SettingsError, match=r"models\.restorer"):
        run_job(source, target, QUICK, None)
    make_clip(source, Clip(num_frames=190, sounds=(Sound(),)))
    with pytest.raises(SettingsError, match=r"film\.(num_bytes|samples_sha256)"):
        run_faked(source, target, QUICK)


def test_a_byte_changed_within_the_film_is_noticed(film, tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    shutil.copy(film, source)
    cut_short(source, target, QUICK, 60)
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(data)
    with pytest.raises(SettingsError, match="samples_sha256"):
        run_faked(source, target, QUICK)


def test_fresh_starts_over(film, tmp_path):
    target = tmp_path / "out.mp4"
    cut_short(film, target, RestoreSettings(), 60)
    changed = dataclasses.replace(QUICK, resume=False)
    result = run_faked(film, target, changed)
    assert result.report.frames["kept"] == 0
    assert len(video_times(target)) == 200
    assert not work_path(target).exists()


def test_what_becomes_of_the_sound_may_change_meanwhile(film, tmp_path):
    target = tmp_path / "out.mp4"
    cut_short(film, target, QUICK, 60)
    silent = EncodeSettings(preset="ultrafast", audio=TrackChoice.NONE)
    run_faked(film, target, dataclasses.replace(QUICK, encode=silent))
    assert audio_digests(target) == []
    assert len(video_times(target)) == 200


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "manifest"])
@pytest.mark.parametrize("which", [0, -1])
def test_a_damaged_segment_is_done_again_and_those_before_it_are_kept(
    film, whole, tmp_path, harm, which
):
    settings, path, _ = whole
    target = tmp_path / path.name
    cut_short(film, target, settings, 150)
    manifest = work_path(target) / manifests(target)[which]
    data = bytearray(manifest.with_suffix(".nut").read_bytes())
    if harm == "cut":
        manifest.with_suffix(".nut").write_bytes(data[:-10])
    elif harm == "flip":
        data[len(data) // 2] ^= 255
        manifest.with_suffix(".nut").write_bytes(data)
    elif harm == "gone":
        manifest.with_suffix(".nut").unlink()
    else:
        manifest.write_text(manifest.read_text()[:-40])
    result = run_faked(film, target, settings)
    assert_same_film(path, target)
    assert (result.report.frames["kept"] > 0) == (which == -1)
    (warning,) = (w for w in result.report.warnings if "made again" in w)
    assert warning.startswith("damage in the work folder: ")


def test_a_preview_of_the_same_name_leaves_an_unfinished_run_alone(film, tmp_path):
    target = tmp_path / "out.mp4"
    cut_short(film, target, QUICK, 120)
    before = manifests(target)
    settings = dataclasses.replace(QUICK, span=TimeSpan(end=Moment.parse("1")))
    run_faked(film, target, settings, is_kept=False)
    assert manifests(target) == before
    target.unlink()
    assert run_faked(film, target, QUICK).report.frames["kept"] > 0


def test_what_refuses_at_the_end_refuses_before_the_work_also_when_it_goes_on(
    film, tmp_path, monkeypatch
):
    target = tmp_path / "out.mp4"
    cut_short(film, target, QUICK, 120)

    def refuse(*args):
        raise OutputError("the container refuses the aac track")

    monkeypatch.setattr("vidrestore.media.join.Passthrough", refuse)
    seen = []
    with fake_networks(), pytest.raises(OutputError, match="refuses the aac track"):
        run_job(film, target, QUICK, seen.append)
    assert seen == []
    assert manifests(target)


def test_ranges_that_differ_by_a_frame_are_different_jobs(film, tmp_path):
    def spanning(start):
        return dataclasses.replace(QUICK, span=TimeSpan(start=Moment.parse(start)))

    cut_short(film, tmp_path / "out.mp4", spanning("1.0000001"), 100)
    with pytest.raises(SettingsError, match="--start was"):
        run_faked(film, tmp_path / "out.mp4", spanning("1.0000002"))


def test_two_runs_to_one_output_are_refused(film, tmp_path):
    target = tmp_path / "out.mp4"

    def intrude(progress):
        if progress.num_frames_done == 60:
            with pytest.raises(OutputError, match="another run is writing"):
                run_faked(film, target, QUICK)

    with fake_networks():
        run_job(film, target, QUICK, intrude)
    assert len(video_times(target)) == 200


def test_a_job_that_is_not_kept_leaves_nothing(film, tmp_path):
    def stop(progress):
        if progress.num_frames_done == 120:
            raise StopError

    with fake_networks(), pytest.raises(StopError):
        run_job(film, tmp_path / "out.mp4", QUICK, stop, is_kept=False)
    assert list(tmp_path.iterdir()) == []


def start(film, target, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.job_runner", str(film), str(target), *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )


def wait_for(path, pattern, process):
    deadline = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "face", [120, *(pytest.param(n, marks=pytest.mark.slow) for n in (75, 175))]
)
def test_after_sigkill_the_same_command_goes_on(film, tmp_path, face):
    words = ("--codec", "ffv1")
    killed = start(film, tmp_path / "out.mkv", *words, "--die-at", str(face))
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.mkv").exists()
    again = start(film, tmp_path / "out.mkv", *words)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert "going on with an unfinished run" in errors
    run_faked(film, tmp_path / "whole.mkv", LOSSLESS)
    assert_same_film(tmp_path / "whole.mkv", tmp_path / "out.mkv")
    assert {p.name for p in tmp_path.iterdir()} == {"out.mkv", "whole.mkv"}


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_a_signal_to_end_keeps_what_is_finished_and_says_so(film, tmp_path, number):
    target = tmp_path / "out.mp4"
    process = start(film, target, "--preset", "ultrafast", "--delay", "0.02")
    wait_for(work_path(target), "00001.json", process)
    process.send_signal(number)
    since = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - since < 10
    assert process.returncode == 130
    assert "vidrestore: interrupted\n" in errors
    assert f"kept in {work_path(target)}: the same command goes on from there" in errors
    assert {p.name for p in tmp_path.iterdir()} == {work_path(target).name}
    assert not list(work_path(target).glob("*.part"))
    assert "Traceback" not in errors


def test_an_error_keeps_what_is_finished(film, tmp_path):
    target = tmp_path / "out.mp4"
    process = start(film, target, "--preset", "ultrafast", "--raise-at", "90")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 70
    assert "RuntimeError: the network broke" in errors
    assert "the same command goes on from there" in errors


def test_a_network_that_hangs_ends_the_process(film, tmp_path):
    target = tmp_path / "out.mp4"
    words = ("--preset", "ultrafast", "--hang-at", "90", "--patience", "1.5")
    process = start(film, target, *words)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "nothing has moved for 2 s: a codec, or the disk, hangs" in errors
    again = start(film, target, "--preset", "ultrafast")
    assert again.communicate(timeout=60)
    assert again.returncode == 0
    assert len(video_times(target)) == 200


def test_the_manifest_says_what_was_made_and_how(film, tmp_path):
    target = tmp_path / "out.mp4"
    cut_short(film, target, QUICK, 60)
    job = json.loads((work_path(target) / "job.json").read_text())
    assert set(job) == {"film", "settings", "models", "versions"}
    assert job["film"]["num_bytes"] == film.stat().st_size
    assert job["models"] == FACTS
    first = json.loads((work_path(target) / "00000.json").read_text())
    assert set(first) == {"segment", "state"}
    first = first["segment"]
    assert first["num_frames"] in (40, 50)
    assert first["num_bytes"] == (work_path(target) / "00000.nut").stat().st_size


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_damaged_film_goes_on_as_if_it_had_not_been_cut_short(tmp_path, suffix):
    clip = Clip(num_frames=200, options={"preset": "ultrafast", "crf": "10", "g": "20", "bf": "2"})
    film = make_clip(tmp_path / f"in{suffix}", clip)
    data = bytearray(film.read_bytes())
    rng = np.random.default_rng(3)
    for place in rng.integers(len(data) // 10, len(data), 12):
        data[place : place + 40] = bytes(40)
    film.write_bytes(data)
    once = run_faked(film, tmp_path / "whole.mkv", LOSSLESS)
    counts = once.report.frames
    assert counts["bad_packets"] + counts["corrupt_frames"] + counts["lost_pictures"] > 0
    cut_short(film, tmp_path / "out.mkv", LOSSLESS, 110)
    again = run_faked(film, tmp_path / "out.mkv", LOSSLESS).report.frames
    for name in ("bad_packets", "corrupt_frames", "lost_pictures", "clock_restarts"):
        assert again[name] == counts[name]
    assert_same_film(tmp_path / "whole.mkv", tmp_path / "out.mkv")


@pytest.mark.parametrize("both", [False, True], ids=["pictures", "fields"])
def test_an_interlaced_film_goes_on_as_if_it_had_not_been_cut_short(tmp_path, both):
    pictures = weave(moments(240, width=176, height=480), "bottom")
    film = write_tape(tmp_path / "in.mpg", pictures, Tape(codec="mpeg2video", flag="bottom"))
    settings = dataclasses.replace(LOSSLESS, read=ReadSettings(fields=both))
    once = run_faked(film, tmp_path / "whole.mkv", settings)
    assert any("interlaced" in choice for choice in once.report.choices)
    assert once.report.frames["written"] == (240 if both else 120)
    cut_short(film, tmp_path / "out.mkv", settings, 150 if both else 75)
    result = run_faked(film, tmp_path / "out.mkv", settings)
    assert result.report.frames["kept"] > 0
    assert_same_film(tmp_path / "whole.mkv", tmp_path / "out.mkv")
