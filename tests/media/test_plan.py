"""What becomes of the tracks is decided without opening anything."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vidrestore.errors import OutputError
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.plan import TrackAction, TrackPlan, plan_tracks
from vidrestore.media.probe import AudioTrack, OtherTrack, SourceInfo, VideoTrack
from vidrestore.settings import EncodeSettings, TrackChoice, VideoCodec

FILM = VideoTrack(0, "h264", 64, 64, "yuv420p", 8, Fraction(25), None, Fraction(1, 1000))
AUTO = EncodeSettings()


def source(*tracks: AudioTrack | OtherTrack, container="matroska,webm", chapters=0) -> SourceInfo:
    return SourceInfo(
        Path("a"), container, None, Fraction(0), FILM,
        tuple(t for t in tracks if isinstance(t, AudioTrack)),
        tuple(t for t in tracks if isinstance(t, OtherTrack)),
        chapters,
    )  # fmt: skip


def sound(codec: str, channels: int = 2) -> AudioTrack:
    return AudioTrack(1, codec, 48000, channels, "ger")


def planned(track: AudioTrack | OtherTrack, suffix: str, settings=AUTO, **facts) -> TrackPlan:
    (plan,) = plan_tracks(source(track, **facts), CONTAINERS[suffix], settings)
    return plan


def test_a_held_track_is_copied_without_a_word():
    for track, suffix in [
        (sound("aac"), ".mp4"),
        (sound("pcm_s16le"), ".mov"),
        (OtherTrack(2, "subtitle", "ass"), ".mkv"),
        (OtherTrack(2, "attachment", ""), ".mkv"),
        (OtherTrack(2, "cover", "mjpeg"), ".mp4"),
        (OtherTrack(2, "video", "hevc"), ".mp4"),
        (OtherTrack(2, "video", "prores"), ".mov"),
    ]:
        plan = planned(track, suffix)
        assert (plan.action, plan.note, plan.reason) == (TrackAction.COPIED, "", "")


@pytest.mark.parametrize(
    ("track", "suffix", "action", "note"),
    [
        (
            sound("pcm_s16le"), ".mp4", TrackAction.ENCODED_TO_AAC,
            "sound track 1 is encoded to AAC, because .mp4 cannot hold pcm_s16le; "
            "an output named .mkv or .mov keeps it bit for bit",
        ),
        (
            sound("truehd", 8), ".mov", TrackAction.ENCODED_TO_AAC,
            "sound track 1 is encoded to AAC with 6 of its 8 channels, because .mov cannot hold "
            "truehd; an output named .mkv keeps it bit for bit",
        ),
        (
            sound("wmav2"), ".mkv", TrackAction.ENCODED_TO_AAC,
            "sound track 1 is encoded to AAC, because .mkv cannot hold wmav2",
        ),
        (
            sound(""), ".mkv", TrackAction.DROPPED,
            "sound track 1 is left out: its format is unknown",
        ),
        (
            OtherTrack(3, "subtitle", "subrip"), ".mp4", TrackAction.CONVERTED,
            "subtitle track 3 (subrip) is converted to mov_text, because .mp4 cannot hold it; "
            "an output named .mkv keeps it as it is",
        ),
        (
            OtherTrack(3, "subtitle", "mov_text"), ".mkv", TrackAction.CONVERTED,
            "subtitle track 3 (mov_text) is converted to subrip, because .mkv cannot hold it; "
            "an output named .mp4 or .mov keeps it as it is",
        ),
        (
            OtherTrack(3, "subtitle", "hdmv_pgs_subtitle"), ".mp4", TrackAction.DROPPED,
            "subtitle track 3 (hdmv_pgs_subtitle) is left out: .mp4 cannot hold it; "
            "an output named .mkv keeps it",
        ),
        (
            OtherTrack(3, "cover", "png"), ".mov", TrackAction.DROPPED,
            "cover track 3 (png) is left out: .mov cannot hold it; "
            "an output named .mp4 or .mkv keeps it",
        ),
        (
            OtherTrack(3, "video", "ffv1"), ".mp4", TrackAction.DROPPED,
            "video track 3 (ffv1) is left out: .mp4 cannot hold it; an output named .mkv keeps it",
        ),
        (
            OtherTrack(3, "data", "klv"), ".mkv", TrackAction.DROPPED,
            "data track 3 (klv) is left out: it cannot be copied",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_said_in_one_line_with_the_way_out(track, suffix, action, note):
    plan = planned(track, suffix)
    assert (plan.action, plan.note) == (action, note)
    assert plan.reason


def test_the_way_out_also_takes_the_pictures():
    plan = planned(sound("pcm_s16le"), ".mp4", EncodeSettings(codec=VideoCodec.AV1))
    assert plan.note.endswith("an output named .mkv keeps it bit for bit")


def test_what_cameras_write_beside_the_film_stays_within_its_family():
    track, family = OtherTrack(2, "data", "bin_data"), "mov,mp4,m4a,3gp,3g2,mj2"
    assert planned(track, ".mp4", container=family).action is TrackAction.COPIED
    left_out = planned(track, ".mkv", container=family)
    assert left_out.note.endswith("an output named .mp4 or .mov keeps it")
    foreign = planned(track, ".mp4", container="mpegts")
    assert foreign.note == "data track 2 (bin_data) is left out: it cannot be copied"


def test_pictures_without_times_are_not_copied():
    plan = planned(OtherTrack(2, "video", "mpeg4"), ".mkv", container="avi")
    assert plan.note == "video track 2 (mpeg4) is left out: it cannot be copied"


def test_tracks_that_are_written_anew_are_no_loss():
    chapters = planned(OtherTrack(2, "data", "chapters"), ".mp4", chapters=2)
    assert (chapters.action, chapters.note) == (TrackAction.DROPPED, "")
    assert planned(OtherTrack(2, "data", "timecode"), ".mp4").note  # of no use to the film


@pytest.mark.parametrize(
    ("track", "option", "suffix", "message"),
    [
        (
            sound("pcm_s16le"), "audio", ".mp4",
            "--audio copy: audio track 1 (pcm_s16le) cannot be copied, because .mp4 cannot hold "
            "pcm_s16le; an output named .mkv or .mov keeps it",
        ),
        (
            sound(""), "audio", ".mkv",
            "--audio copy: audio track 1 cannot be copied, because its format is unknown; "
            "--audio auto does what can be done",
        ),
        (
            OtherTrack(3, "subtitle", "ass"), "subtitles", ".mp4",
            "--subtitles copy: subtitle track 3 (ass) cannot be copied, because .mp4 cannot hold "
            "it; an output named .mkv keeps it",
        ),
        (
            OtherTrack(3, "attachment", ""), "attachments", ".mov",
            "--attachments copy: attachment track 3 cannot be copied, because .mov cannot hold it; "
            "an output named .mkv keeps it",
        ),
        (
            OtherTrack(3, "cover", "png"), "attachments", ".mov",
            "--attachments copy: cover track 3 (png) cannot be copied, because .mov cannot hold "
            "it; an output named .mp4 or .mkv keeps it",
        ),
    ],
)  # fmt: skip
def test_copy_insists(track, option, suffix, message):
    with pytest.raises(OutputError) as caught:
        planned(track, suffix, EncodeSettings(**{option: TrackChoice.COPY}))
    assert str(caught.value) == message
    settings = EncodeSettings(**{option: TrackChoice.COPY})
    held = {
        "audio": sound("aac"),
        "subtitles": OtherTrack(3, "subtitle", "mov_text"),
        "attachments": OtherTrack(3, "cover", "png"),
    }
    assert planned(held[option], ".mp4", settings).action is TrackAction.COPIED


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_none_leaves_out_without_fuss(suffix):
    tracks = [
        (sound("aac"), "audio"),
        (sound("pcm_s16le"), "audio"),
        (OtherTrack(2, "subtitle", "subrip"), "subtitles"),
        (OtherTrack(2, "attachment", ""), "attachments"),
        (OtherTrack(2, "cover", "png"), "attachments"),
    ]
    for track, option in tracks:
        plan = planned(track, suffix, EncodeSettings(**{option: TrackChoice.NONE}))
        assert (plan.action, plan.note) == (TrackAction.DROPPED, "")
        assert plan.reason == f"left out on demand (--{option} none)"


def test_a_choice_is_for_its_own_kind_only():
    settings = EncodeSettings(audio=TrackChoice.NONE, subtitles=TrackChoice.COPY)
    plans = plan_tracks(
        source(sound("pcm_s16le"), OtherTrack(2, "cover", "png"), OtherTrack(3, "video", "h264")),
        CONTAINERS[".mp4"],
        settings,
    )
    assert [plan.action for plan in plans] == ["dropped", "copied", "copied"]
