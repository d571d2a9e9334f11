"""What becomes of every track of the source, decided before the work begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vidrestore.media.containers import Container, suffixes_for_audio, suffixes_for_subtitles
from vidrestore.media.encoders import Encoder
from vidrestore.media.pixels import is_rgb, planar_name
from vidrestore.media.probe import AudioTrack, OtherTrack, SourceInfo, VideoTrack
from vidrestore.settings import VideoCodec


class TrackAction(StrEnum):
    """What becomes of a track."""

    COPIED = "copied"
    ENCODED_TO_AAC = "encoded to AAC"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """What will be done with one track of the source, decided before the work begins."""

    source_index: int
    kind: str
    codec: str
    action: TrackAction
    reason: str = ""
    """Why it is not copied."""
    note: str = ""
    """The same for the user, with the way to avoid it; empty if there is nothing to say."""
    language: str | None = None


def plan_tracks(source: SourceInfo, container: Container) -> tuple[TrackPlan, ...]:
    """Decide for every track of the source what the container allows."""
    sound = [_plan_audio(track, container, number) for number, track in enumerate(source.audio, 1)]
    return (*sound, *(_plan_other(track, container, source) for track in source.others))


def _plan_audio(track: AudioTrack, container: Container, number: int) -> TrackPlan:
    def plan(action: TrackAction, reason: str = "", note: str = "") -> TrackPlan:
        return TrackPlan(track.index, "audio", track.codec, action, reason, note, track.language)

    if not track.codec or track.sample_rate <= 0 or track.channels <= 0:
        reason = "its format is unknown"
        return plan(TrackAction.DROPPED, reason, f"sound track {number} is left out: {reason}")
    if track.codec in container.audio:
        return plan(TrackAction.COPIED)
    reason = f"{container.suffix} cannot hold {track.codec}"
    better = suffixes_for_audio(track.codec)
    advice = f"; an output named {' or '.join(better)} keeps it bit for bit" if better else ""
    return plan(
        TrackAction.ENCODED_TO_AAC,
        reason,
        f"sound track {number} is encoded to AAC, because {reason}{advice}",
    )


def _plan_other(track: OtherTrack, container: Container, source: SourceInfo) -> TrackPlan:
    def plan(action: TrackAction, reason: str = "", note: str = "") -> TrackPlan:
        return TrackPlan(track.index, track.kind, track.codec, action, reason, note, track.language)

    is_held = {
        "subtitle": track.codec in container.subtitles,
        "cover": track.codec in container.covers,
        "attachment": container.has_attachments,
    }.get(track.kind, False)
    if is_held:
        return plan(TrackAction.COPIED)
    if track.codec == "bin_data" and source.num_chapters:
        return plan(TrackAction.DROPPED, "its chapters are written anew")
    if track.kind == "video":
        reason = "only the main film is restored"
    else:
        reason = f"{container.suffix} cannot hold it"
    better = suffixes_for_subtitles(track.codec) if track.kind == "subtitle" else []
    if track.kind == "attachment":
        better = [".mkv"]
    advice = f"; {' or '.join(better)} can" if better else ""
    name = f"{track.kind} track {track.index}" + (f" ({track.codec})" if track.codec else "")
    return plan(TrackAction.DROPPED, reason, f"{name} is left out: {reason}{advice}")


def plan_pictures(video: VideoTrack, encoder: Encoder, container: Container) -> list[str]:
    """Say what of the pictures cannot be kept as it is, or will not play everywhere."""
    notes = []
    stored, travels = video.pixel_format, planar_name(video.pixel_format)
    coded = encoder.format_for(travels)
    changes_chroma = any(f"yuv{kind}{n}" in stored for kind in ("", "j") for n in (410, 411, 440))
    if is_rgb(stored) or changes_chroma:
        notes.append(f"the pictures are stored as {stored} and are converted to {travels}")
    if coded != travels:
        notes.append(f"{encoder.title} takes no {travels}: the pictures are written as {coded}")
    if encoder.codec is VideoCodec.H264 and coded != "yuv420p":
        advice = "; --codec h265 plays in more" if coded == "yuv420p10le" else ""
        notes.append(f"the film stays {coded}, and few players show H.264 in {coded}{advice}")
    size = (video.width, video.height)
    if encoder.coded_size(*size, coded) != size:
        notes.append(
            f"{encoder.title} takes even sizes only: the last column or row of "
            f"{video.width}x{video.height} is repeated once"
        )
    if _loses_pixel_aspect(encoder, container) and video.pixel_aspect != 1:
        better = "--codec h264" if encoder.codec is VideoCodec.FFV1 else "an output named .mp4"
        notes.append(
            f"{container.suffix} with {encoder.title} cannot store that the pixels are not square "
            f"({video.pixel_aspect}): {better} keeps the shape"
        )
    if video.is_interlaced_flagged:
        notes.append(
            "the film is flagged as interlaced: its lines are kept as they are, but the flag is not"
        )
    return notes


def _loses_pixel_aspect(encoder: Encoder, container: Container) -> bool:
    """Tell whether the shape of pixels gets lost: PyAV cannot fill Matroska's own field for it."""
    return container.format == "matroska" and encoder.codec in (VideoCodec.AV1, VideoCodec.FFV1)
