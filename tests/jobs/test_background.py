"""Whole runs with another background: sizes, shapes, ranges, what is said, what is gone on with."""

import dataclasses
import time
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace
from unittest.mock import patch

import av
import numpy as np
import pytest

from tests.support.job_runner import CHOSEN, FACTS, fake_networks, run_faked
from tests.support.synthetic import Clip, make_clip
from vidrestore.cli.app import main
from vidrestore.errors import OutputError, SettingsError
from vidrestore.jobs.preview import preview_video
from vidrestore.jobs.restore import _guarded
from vidrestore.jobs.resuming import describe_job
from vidrestore.settings import (
    BackgroundSettings,
    EncodeSettings,
    Moment,
    ReadSettings,
    RestoreSettings,
    TimeSpan,
    VideoCodec,
)

LOSSLESS = EncodeSettings(codec=VideoCodec.FFV1)


def asked(upscale="1", denoise=0.0, start=None, end=None, **kwargs):
    span = TimeSpan(start and Moment.parse(start), end and Moment.parse(end))
    return RestoreSettings(
        span=span,
        read=ReadSettings(denoise=denoise),
        background=BackgroundSettings(upscale=Fraction(upscale)),
        **{"encode": LOSSLESS, **kwargs},
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    clip = Clip(num_frames=60, options={"preset": "ultrafast", "crf": "30", "g": "10"})
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", clip)


def pictures(path):
    with av.open(path) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def test_the_output_is_as_large_as_asked_and_shown_in_the_same_shape(film, tmp_path):
    with av.open(film) as source:
        video = source.streams.video[0]
        size, shape = (video.width, video.height), video.sample_aspect_ratio
    target = tmp_path / "out.mp4"
    settings = asked("1.5", encode=EncodeSettings(preset="ultrafast"))
    result = run_faked(film, target, settings)
    with av.open(target) as made:
        video = made.streams.video[0]
        assert (video.width, video.height) == (size[0] * 3 // 2, size[1] * 3 // 2)
        assert video.sample_aspect_ratio == shape
    assert result.report.input["video"]["width"] == size[0]
    enlarged = f"{size[0] * 3 // 2}x{size[1] * 3 // 2} by Lanczos interpolation"
    assert any(enlarged in choice for choice in result.report.choices)
    assert [t.name for t in result.times if t.name == "background"]


def test_where_nothing_is_asked_no_stage_is_added(film, tmp_path):
    result = run_faked(film, tmp_path / "out.mkv", asked(end="1"))
    assert "background" not in [t.name for t in result.times]
    assert not any("enlarged" in choice for choice in result.report.choices)


@pytest.mark.parametrize("upscale", ["1", "2"])
def test_a_range_gives_the_frames_of_the_full_run(film, tmp_path, upscale):
    run_faked(film, tmp_path / "whole.mkv", asked(upscale, 1.0))
    run_faked(film, tmp_path / "part.mkv", asked(upscale, 1.0, "0.8", "1.6"))
    whole, part = pictures(tmp_path / "whole.mkv"), pictures(tmp_path / "part.mkv")
    assert len(part) == 20
    for a, b in zip(part, whole[20:40], strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_thread_gives_the_same_frames(film, tmp_path):
    settings = asked("2", 0.5, end="0.6")
    run_faked(film, tmp_path / "a.mkv", settings)
    run_faked(film, tmp_path / "b.mkv", dataclasses.replace(settings, overlap=False))
    for a, b in zip(*(pictures(tmp_path / n) for n in ("a.mkv", "b.mkv")), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_turned_film_stays_turned(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=10, rotation=90))
    run_faked(film, tmp_path / "out.mp4", asked("2", encode=EncodeSettings(preset="ultrafast")))
    turns = []
    for name in ("in.mp4", "out.mp4"):
        with av.open(tmp_path / name) as container:
            turns.append(next(container.decode(video=0)).rotation)
    assert turns[0] == turns[1] != 0


def test_a_preview_shows_the_film_as_large_as_the_result(film, tmp_path):
    with fake_networks():
        made = preview_video(film, tmp_path / "p.mkv", asked("2", 1.0, "0.4", "0.8"))
    run_faked(film, tmp_path / "whole.mkv", asked("2", 1.0))
    for pair, whole in zip(
        pictures(made.path), pictures(tmp_path / "whole.mkv")[10:20], strict=True
    ):
        height, width = whole.shape[0] * 2 // 3, whole.shape[1]
        assert pair.shape == (whole.shape[0], 2 * width)
        np.testing.assert_array_equal(pair[:height, width:], whole[:height])


def test_a_picture_too_large_for_the_encoder_is_refused_before_the_work(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=2, width=4128, height=64))
    settings = asked("4", encode=EncodeSettings())
    with pytest.raises(OutputError, match=r"16512x256.*smaller --upscale"):
        run_faked(film, tmp_path / "out.mp4", settings)


def test_another_background_is_another_job(film, tmp_path):
    models = []
    for content in (b"one", b"two"):
        models.append(tmp_path / f"{content.decode()}.pth")
        models[-1].write_bytes(content)
    wanted = [asked(), asked("2"), asked(denoise=0.5)]
    wanted += [RestoreSettings(background=BackgroundSettings(m)) for m in models]
    jobs = [str(describe_job(film, s, FACTS, None)["settings"]) for s in wanted]
    assert len(set(jobs)) == len(jobs)
    moved = models[0].rename(tmp_path / "moved.pth")
    again = RestoreSettings(background=BackgroundSettings(moved))
    assert str(describe_job(film, again, FACTS, None)["settings"]) == jobs[3]


def refused(capsys, *words):
    assert main(["in.mp4", "out.mp4", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_impossible_options_are_refused_with_those_that_are_possible(capsys):
    assert "use 1, 1.5, 2 or 4" in refused(capsys, "--upscale", "3")
    assert "use 1, 1.5, 2 or 4" in refused(capsys, "--upscale", "big")
    assert "light, medium, strong" in refused(capsys, "--denoise", "much")
    assert "use 0 to 1" in refused(capsys, "--denoise", "1.5")


def test_settings_check_themselves():
    with pytest.raises(SettingsError, match=r"upscale is 1\.25"):
        BackgroundSettings(upscale=Fraction("1.25"))
    with pytest.raises(SettingsError, match="denoise is -1"):
        ReadSettings(denoise=-1)
    assert BackgroundSettings(upscale=Fraction("1.5")).size_of(853, 480) == (1280, 720)


def test_a_background_model_is_loaded_described_and_closed(film, tmp_path):
    """The real loading of networks, with stand-ins for those of faces only."""
    from vidrestore.jobs import networks

    path = tmp_path / "model.pth"
    path.write_bytes(b"no model")

    @contextmanager
    def nothing(*args):
        yield None, {}, []

    closed = []

    class Model:
        description, notes, scale = "a model", [], 2

        def close(self):
            closed.append(True)

    settings = RestoreSettings(background=BackgroundSettings(path))
    with (
        patch.object(networks, "loaded_restorer", nothing),
        patch.object(networks, "loaded_detector", nothing),
        patch.object(networks, "load_embedder", lambda: (None, "none")),
        patch("vidrestore.models.background.load_picture_model", lambda *a, **k: Model()),
        networks.loaded_networks(CHOSEN, settings) as (loaded, facts, choices),
    ):
        assert loaded.background.description == "a model"
        assert facts["background"]["name"] == "model.pth"
        assert len(facts["background"]["sha256"]) == 64
        assert "background: a model" in choices
        assert not closed
    assert closed


def test_a_model_that_takes_long_for_a_picture_is_not_taken_for_a_codec_that_hangs():
    reader = SimpleNamespace(damage=SimpleNamespace(num_pictures=9))
    writer = SimpleNamespace(num_frames=1, num_joined=0, kept_folder=None)
    model = SimpleNamespace(num_parts=0)
    alarms = []
    with _guarded(reader, writer, model, 0.4, alarms.append):
        for _ in range(16):
            time.sleep(0.05)
            model.num_parts += 1
        assert alarms == []
        time.sleep(1)
    assert len(alarms) == 1
