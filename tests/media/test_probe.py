from __future__ import annotations

import shutil
import socket
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.synthetic import Clip, Sound, make_clip, picture, truncate
from vidrestore.errors import MediaOpenError
from vidrestore.media.probe import ColourTags, probe


def test_facts_of_a_film_with_everything(clip):
    path = clip(
        "all.mkv",
        Clip(
            sounds=(Sound(language="ger", title="Ton"), Sound("flac", 48000, "mono")),
            subtitles=((0.1, 0.5, "hello"),),
            chapters=((0, 0.5, "one"), (0.5, 1, "two")),
            tags={"title": "Christmas"},
            pixel_aspect=Fraction(16, 15),
            colour=(5, 5, 6, 1),
            language="ger",
        ),
    )
    info = probe(path)
    assert info.path == path
    assert info.container == "matroska,webm"
    video = info.video
    assert (video.codec, video.width, video.height) == ("h264", 160, 96)
    assert (video.pixel_format, video.bits) == ("yuv420p", 8)
    assert video.nominal_rate == 25
    assert video.pixel_aspect == Fraction(16, 15)
    assert video.colour == ColourTags(5, 5, 6, range=1, chroma_location=0)
    assert (video.turn, video.rotation, video.display_matrix) == ((1, 0, 0, 1), 0, None)
    assert not video.is_interlaced_flagged
    assert video.language == "ger"
    assert abs(video.num_frames_estimate - 25) <= 1
    assert [(a.codec, a.sample_rate, a.channels) for a in info.audio] == [
        ("aac", 44100, 2),
        ("flac", 48000, 1),
    ]
    assert (info.audio[0].language, info.audio[0].title) == ("ger", "Ton")
    assert [(o.kind, o.codec) for o in info.others] == [("subtitle", "subrip")]
    assert info.num_chapters == 2
    assert info.tags["title"] == "Christmas"


@pytest.mark.parametrize("name", ["film.ts", "film.mkv", "film.mp4"])
def test_time_is_counted_from_the_earliest_stream(clip, name):
    sound = Sound("aac", start=Fraction(1, 2))
    info = probe(clip(name, Clip(start=Fraction(5), sounds=(sound,))))
    assert abs(info.origin - 5) < Fraction(1, 10)
    assert abs(info.duration_seconds - Fraction(3, 2)) < Fraction(1, 10)


@pytest.mark.parametrize(
    ("counter_clockwise", "turn", "clockwise"),
    [(90, (0, -1, 1, 0), 270), (-90, (0, 1, -1, 0), 90), (180, (-1, 0, 0, -1), 180)],
)
def test_rotation(clip, counter_clockwise, turn, clockwise):
    video = probe(clip("turned.mp4", Clip(rotation=counter_clockwise, num_frames=2))).video
    assert video.turn == turn
    assert video.rotation == clockwise
    assert [number > 0 for number in video.display_matrix[:2]] == [n > 0 for n in turn[:2]]


def test_interlaced_pictures_are_recognised_by_their_flag(clip):
    recipe = Clip(codec="mpeg2video", options={}, interlaced=True, num_frames=3)
    assert probe(clip("fields.mpg", recipe)).video.is_interlaced_flagged


def test_a_varying_rate_is_averaged(clip):
    times = [Fraction(n, 25) + Fraction(n * n % 7, 200) for n in range(30)]
    video = probe(clip("vfr.mp4", Clip(times=times, num_frames=30))).video
    assert abs(video.nominal_rate - 25) < 1


def test_a_cover_is_not_the_film(clip):
    info = probe(clip("cover.mp4", Clip(cover=True, sounds=(Sound(),), num_frames=3)))
    assert info.video.codec == "h264"
    assert [o.kind for o in info.others] == ["cover"]


def sound_only(path, cover: bool):
    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as out:
        stream = out.add_stream("aac" if path.suffix == ".m4a" else "libmp3lame", rate=44100)
        picture_stream = out.add_stream("mjpeg", rate=1) if cover else None
        if picture_stream is not None:
            picture_stream.width = picture_stream.height = 32
            picture_stream.pix_fmt = "yuvj420p"
            picture_stream.disposition = int(av.stream.Disposition.attached_pic)
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = 0, Fraction(1)
            stream.codec_context.open()
            out.mux(picture_stream.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", "stereo")
        samples.rate, samples.pts = 44100, 0
        resampler = av.AudioResampler(stream.codec_context.format.name, "stereo", 44100, 1024)
        for ready in [*resampler.resample(samples), *resampler.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "cover"), [("song.mp3", False), ("song.m4a", False), ("song.m4a", True)]
)
def test_sound_alone_is_refused(tmp_path, name, cover):
    with pytest.raises(MediaOpenError, match="sound but no video"):
        probe(sound_only(tmp_path / name, cover))


@pytest.mark.parametrize("name", ["still.png", "still.jpg"])
def test_a_photograph_is_refused(tmp_path, name):
    codec, pixel_format = ("png", "rgb24") if name.endswith("png") else ("mjpeg", "yuvj420p")
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = 64, 48, pixel_format
    context.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(picture(1, 64, 48), "rgb24")
    packets = [*context.encode(frame.reformat(format=pixel_format)), *context.encode(None)]
    (tmp_path / name).write_bytes(b"".join(bytes(p) for p in packets))
    with pytest.raises(MediaOpenError, match="still picture"):
        probe(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(MediaOpenError, match="no such file"):
        probe(tmp_path / "nothing.mp4")


def test_folder(tmp_path):
    with pytest.raises(MediaOpenError, match="is a folder"):
        probe(tmp_path)


def test_a_name_too_long_for_the_disk(tmp_path):
    with pytest.raises(MediaOpenError, match="File name too long"):
        probe(tmp_path / ("a" * 300 + ".mp4"))


def test_a_device_is_no_file():
    with pytest.raises(MediaOpenError, match="not a regular file"):
        probe("/dev/null")


def test_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaOpenError, match="empty"):
        probe(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["letter.mp4", "letter.txt", "letter.nfo"])
def test_text_is_not_a_video(tmp_path, name):
    (tmp_path / name).write_text("Dear all,\nthis is no film.\n" * 50)
    with pytest.raises(MediaOpenError):
        probe(tmp_path / name)


def test_subtitles_are_not_a_video(tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    with pytest.raises(MediaOpenError, match="no video"):
        probe(tmp_path / "a.srt")


def test_a_recording_without_its_index_is_refused(tmp_path):
    path = make_clip(tmp_path / "cut.mp4", Clip(num_frames=10))  # the index is at the end
    with pytest.raises(MediaOpenError, match=r"cut\.mp4"):
        probe(truncate(path, 0.5))


def test_an_index_without_pictures_is_refused(tmp_path):
    recipe = Clip(num_frames=10, container_options={"movflags": "+faststart"})
    path = make_clip(tmp_path / "hollow.mp4", recipe)
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))
    with pytest.raises(MediaOpenError, match="not one picture"):
        probe(path)


def test_play_lists_do_not_reach_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        (tmp_path / "list.m3u8").write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
            f"http://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n"
        )
        with pytest.raises(MediaOpenError):
            probe(tmp_path / "list.m3u8")
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_colon_in_the_name_is_no_protocol(clip, tmp_path, monkeypatch):
    shutil.copy(clip("plain.mp4", Clip(num_frames=2)), tmp_path / "tape:1.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe("tape:1.mp4").video.width == 160


def test_tags_that_are_not_utf8(clip, tmp_path):
    recipe = Clip(num_frames=2, codec="mjpeg", pixel_format="yuvj420p", options={})
    source = clip("tags.avi", Clip(**{**vars(recipe), "tags": {"title": "Wxihnachten"}}))
    path = tmp_path / "tags.avi"
    path.write_bytes(source.read_bytes().replace(b"Wxihnachten", b"W\xe4ihnachten"))
    assert probe(path).tags["title"] == "Wäihnachten"
