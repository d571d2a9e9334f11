"""What becomes of every track of the source, decided before the work begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from vidrestore.errors import OutputError
from vidrestore.media.containers import TEXT_SUBTITLES, Container, suffixes_that_hold
from vidrestore.media.encoder_options import tells_chroma_location
from vidrestore.media.encoders import Encoder, codecs_that_take
from vidrestore.media.hdr import HLG, PQ, hdr_options
from vidrestore.media.pixels import is_rgb, planar_name, sampling_and_bits
from vidrestore.media.probe import (
    CHAPTERS,
    TIMECODE,
    AudioTrack,
    OtherTrack,
    SourceInfo,
    VideoTrack,
)
from vidrestore.media.sound import coded_channels
from vidrestore.settings import BackgroundSettings, EncodeSettings, TrackChoice, VideoCodec


class TrackAction(StrEnum):
    """What becomes of a track."""

    COPIED = "copied"
    ENCODED_TO_AAC = "encoded to AAC"
    CONVERTED = "converted"
    """Subtitles, to those that the container takes."""
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


@dataclass(frozen=True, slots=True)
class _Target:
    """What the output is."""

    container: Container
    film: VideoCodec

    def advice(self, kind: str, codec: str, end: str = "") -> str:
        """Name the outputs that hold a track as it is, as the end of a sentence."""
        better = suffixes_that_hold(kind, codec, self.film)
        return f"; an output named {' or '.join(better)} keeps it{end}" if better else ""


def plan_tracks(
    source: SourceInfo, container: Container, settings: EncodeSettings
) -> tuple[TrackPlan, ...]:
    """Decide for every track of the source, from what the container holds and the user wants.

    Raises:
        OutputError: A track is to be copied by all means, and the container cannot hold it.
    """
    target = _Target(container, settings.codec)
    plans = [
        _chosen(_plan_audio(track, target, number), settings.audio, "--audio", target)
        for number, track in enumerate(source.audio, 1)
    ]
    for track in source.others:
        plan = _plan_other(track, source, target)
        option = {
            "subtitle": ("--subtitles", settings.subtitles),
            "attachment": ("--attachments", settings.attachments),
            "cover": ("--attachments", settings.attachments),
        }.get(track.kind)
        plans.append(plan if option is None else _chosen(plan, option[1], option[0], target))
    marks = {track.index: track.marks for track in source.audio}
    marks |= {track.index: track.marks for track in source.others}
    return tuple(_with_lost_marks(plan, marks[plan.source_index], container) for plan in plans)


def _with_lost_marks(plan: TrackPlan, marks: tuple[str, ...], container: Container) -> TrackPlan:
    """Add to the note of a track what of its marks the container does not keep."""
    if not marks or container.has_marks or plan.action is TrackAction.DROPPED:
        return plan
    lost = (
        f"{plan.kind} track {plan.source_index} is marked as {', '.join(marks)}, which "
        f"{container.suffix} does not keep; an output named .mp4 or .mkv does"
    )
    return replace(plan, note=f"{plan.note}; {lost}" if plan.note else lost)


def _chosen(plan: TrackPlan, choice: TrackChoice, option: str, target: _Target) -> TrackPlan:
    """Let the user's choice overrule what was planned for a track."""
    if choice is TrackChoice.NONE:
        reason = f"left out on demand ({option} none)"
        return _plan(plan, TrackAction.DROPPED, reason)
    if choice is TrackChoice.COPY and plan.action is not TrackAction.COPIED:
        advice = target.advice(plan.kind, plan.codec) or f"; {option} auto does what can be done"
        raise OutputError(
            f"{option} copy: {plan.kind} track {plan.source_index}"
            f"{_in_brackets(plan.codec)} cannot be copied, because {plan.reason}{advice}"
        )
    return plan


def _plan(
    track: TrackPlan | AudioTrack | OtherTrack,
    action: TrackAction,
    reason: str = "",
    note: str = "",
) -> TrackPlan:
    index = track.source_index if isinstance(track, TrackPlan) else track.index
    kind = "audio" if isinstance(track, AudioTrack) else track.kind
    return TrackPlan(index, kind, track.codec, action, reason, note, track.language)


def _in_brackets(codec: str) -> str:
    return f" ({codec})" if codec else ""


def _plan_audio(track: AudioTrack, target: _Target, number: int) -> TrackPlan:
    if not track.codec or track.sample_rate <= 0 or track.channels <= 0:
        reason = "its format is unknown"
        note = f"sound track {number} is left out: {reason}"
        return _plan(track, TrackAction.DROPPED, reason, note)
    if target.container.holds("audio", track.codec):
        return _plan(track, TrackAction.COPIED)
    reason = f"{target.container.suffix} cannot hold {track.codec}"
    channels = coded_channels(track.channels)
    fewer = (
        f" with {channels} of its {track.channels} channels" if channels < track.channels else ""
    )
    return _plan(
        track,
        TrackAction.ENCODED_TO_AAC,
        reason,
        f"sound track {number} is encoded to AAC{fewer}, because {reason}"
        + target.advice("audio", track.codec, " bit for bit"),
    )


def _plan_other(track: OtherTrack, source: SourceInfo, target: _Target) -> TrackPlan:
    container, name = (
        target.container,
        f"{track.kind} track {track.index}{_in_brackets(track.codec)}",
    )
    if track.kind == "data" and track.codec == CHAPTERS:
        return _plan(track, TrackAction.DROPPED, "its chapters are written anew")
    if track.codec == TIMECODE and source.video.timecode:
        return _plan(track, TrackAction.DROPPED, "its time code is written anew")
    # MP4's data tracks have tags of their own; AVI does not say when pictures are shown
    is_foreign = (track.kind == "data" and not source.is_quicktime) or (
        track.kind == "video" and source.container == "avi"
    )
    if container.holds(track.kind, track.codec) and not is_foreign:
        return _plan(track, TrackAction.COPIED)
    reason = "it cannot be copied" if is_foreign else f"{container.suffix} cannot hold it"
    if track.kind == "subtitle" and track.codec in TEXT_SUBTITLES:
        note = f"{name} is converted to {container.words}, because {reason}"
        note += target.advice("subtitle", track.codec, " as it is")
        return _plan(track, TrackAction.CONVERTED, reason, note)
    advice = "" if is_foreign else target.advice(track.kind, track.codec)
    return _plan(track, TrackAction.DROPPED, reason, f"{name} is left out: {reason}{advice}")


def plan_pictures(video: VideoTrack, encoder: Encoder, container: Container) -> list[str]:
    """Say what of the pictures cannot be kept as it is, or will not play everywhere.

    Raises:
        OutputError: The encoder would flatten HDR to fewer bits, or the pictures are too large.
    """
    notes = []
    _refuse_size(video, encoder)
    stored, travels = video.pixel_format, planar_name(video.pixel_format)
    coded = encoder.format_for(travels)
    changes_chroma = any(f"yuv{kind}{n}" in stored for kind in ("", "j") for n in (410, 411, 440))
    if is_rgb(stored) or changes_chroma:
        notes.append(f"the pictures are stored as {stored} and are converted to {travels}")
    if coded != travels:
        keepers = [f"--codec {codec}" for codec in codecs_that_take(travels)]
        _refuse_flat_hdr(video, encoder, coded, keepers)
        advice = f"; {' or '.join(keepers)} keeps them as they are" if keepers else ""
        notes.append(
            f"{encoder.title} takes no {travels}: the pictures are written as {coded}{advice}"
        )
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
    notes += _colour_notes(video, encoder, coded)
    return notes


def resized(source: SourceInfo, background: BackgroundSettings) -> SourceInfo:
    """Describe a film with its pictures in the size of the output."""
    width, height = background.size_of(source.video.width, source.video.height)
    if (width, height) == (source.video.width, source.video.height):
        return source
    # the matrix as stored shifts turned pictures by their old size: it is made anew
    video = replace(source.video, width=width, height=height, display_matrix=None)
    return replace(source, video=video)


def _refuse_size(video: VideoTrack, encoder: Encoder) -> None:
    if video.width > encoder.largest[0] or video.height > encoder.largest[1]:
        width, height = encoder.largest
        other = "leave --nvenc out" if encoder.is_nvenc else "use --codec h265"
        raise OutputError(
            f"{encoder.title} takes pictures up to {width}x{height}, and these would be "
            f"{video.width}x{video.height}: {other}, or a smaller --upscale"
        )


def _loses_pixel_aspect(encoder: Encoder, container: Container) -> bool:
    """Tell whether the shape of pixels gets lost: PyAV cannot fill Matroska's own field for it."""
    return container.format == "matroska" and encoder.codec in (VideoCodec.AV1, VideoCodec.FFV1)


def _refuse_flat_hdr(video: VideoTrack, encoder: Encoder, coded: str, keepers: list[str]) -> None:
    is_hdr = video.colour.transfer in (PQ, HLG)
    if is_hdr and sampling_and_bits(coded)[1] < video.bits:
        advice = f": use {' or '.join(keepers)}" if keepers else ""
        raise OutputError(
            f"the film is HDR with {video.bits} bits, and this {encoder.title} encoder has only "
            f"{sampling_and_bits(coded)[1]}{advice}"
        )


def _colour_notes(video: VideoTrack, encoder: Encoder, coded: str) -> list[str]:
    """Say what the coded pictures cannot tell about their colours."""
    notes, hdr = [], video.hdr
    if hdr is not None:
        notes += [
            f"left out: the {name} metadata that changes with the scene" for name in hdr.dynamic
        ]
        kept = {} if encoder.told_as is None else hdr_options(hdr, encoder.told_as)
        if not kept and (hdr.mastering or hdr.content_light):
            notes.append(f"left out: the HDR10 metadata, for which {encoder.title} has no place")
    if not tells_chroma_location(video, encoder.told_as, coded):
        notes.append(
            f"{encoder.title} cannot store where the colour samples lie (place "
            f"{video.colour.chroma_location} of ITU-T H.273): players may shift the colours by "
            "half a pixel"
        )
    return notes
