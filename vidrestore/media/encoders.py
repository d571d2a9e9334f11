"""Which encoder codes the pictures, with which options, in which of its formats.

The choice is tried out before any work begins; the real stream is opened with the first picture.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vidrestore.contracts import FrameGeometry, PixelLayout
from vidrestore.errors import DeviceError, OutputError, SettingsError
from vidrestore.media.coders import CODERS, NVENC, Coder
from vidrestore.media.containers import Container, language_for, suffixes_for_video
from vidrestore.media.encoder_options import options_for
from vidrestore.media.opening import explain
from vidrestore.media.pixels import (
    FULL_RANGE,
    LIMITED_RANGE,
    UNSPECIFIED,
    is_planar,
    is_rgb,
    matrix_tag,
    sampling_and_bits,
)
from vidrestore.media.probe import ColourTags, SourceInfo, VideoTrack
from vidrestore.settings import EncodeSettings, VideoCodec

_TRIAL_SIDE = 256
_UPRIGHT = (1, 0, 0, 1)
_FINE_TICKS = 90_000
_LARGEST_TIME_SCALE = 1_440_000


@dataclass(frozen=True, slots=True)
class Encoder:
    """The encoder chosen for a film, ready to be opened."""

    codec: VideoCodec
    name: str
    """FFmpeg's name."""
    title: str
    options: Mapping[str, str]
    formats: frozenset[str]
    """Planar formats it takes."""
    needs_even_size: bool
    largest: tuple[int, int]
    """(width, height) beyond which it refuses to work."""
    is_nvenc: bool = False

    @property
    def told_as(self) -> VideoCodec | None:
        """Whose private parameters it takes; None if it has none."""
        return None if self.is_nvenc else self.codec

    def format_for(self, layout_name: str) -> str:
        """Choose the nearest format it takes: same chroma first, then no bits lost."""
        sampling, bits = sampling_and_bits(layout_name)

        def distance(name: str) -> tuple[bool, bool, int]:
            its_sampling, its_bits = sampling_and_bits(name)
            return (its_sampling != sampling, its_bits < bits, abs(its_bits - bits))

        return min(sorted(self.formats), key=distance)

    def coded_size(self, width: int, height: int, name: str) -> tuple[int, int]:
        """Round a size up to what the encoder takes in one of its formats."""
        if not self.needs_even_size:
            return width, height
        sampling, _ = sampling_and_bits(name)
        wide = width + (width % 2 if sampling in ("420", "422") else 0)
        return wide, height + (height % 2 if sampling == "420" else 0)


def choose_encoder(settings: EncodeSettings, container: Container) -> Encoder:
    """Choose the encoder and try it out.

    Raises:
        OutputError: FFmpeg has no such encoder here, the container cannot hold what it makes, or
            it refuses the options.
        DeviceError: NVENC was asked for, and there is none.
    """
    coder = (NVENC if settings.nvenc else CODERS)[settings.codec]
    if settings.codec not in container.codecs:
        better = " or ".join(suffixes_for_video(settings.codec))
        raise OutputError(f"{container.suffix} cannot hold {coder.title}: name the output {better}")
    encoder = Encoder(
        codec=settings.codec,
        name=coder.name,
        title=coder.title,
        options=_options(settings, coder),
        formats=_formats(coder),
        needs_even_size=coder.needs_even_size,
        largest=coder.largest,
        is_nvenc=settings.nvenc,
    )
    _try_out(encoder)
    return encoder


def _formats(coder: Coder) -> frozenset[str]:
    try:
        formats = av.codec.Codec(coder.name, "w").video_formats or []
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(f"this PyAV has no {coder.title} encoder ({coder.name})") from error
    return frozenset(f.name for f in formats if is_planar(f.name))


def codecs_that_take(name: str) -> list[VideoCodec]:
    """List the codecs that take a planar format as it is, the usual ones first."""
    return [codec for codec, coder in CODERS.items() if name in _formats(coder)]


def default_crf(codec: VideoCodec) -> int:
    """Return the constant quality that is used unless the user says otherwise; 0 for FFV1."""
    return CODERS[codec].crf or 0


def _options(settings: EncodeSettings, coder: Coder) -> Mapping[str, str]:
    crf = coder.crf if settings.crf is None else settings.crf
    preset = coder.preset if settings.preset is None else settings.preset
    if crf is not None and crf > coder.largest_crf:
        raise SettingsError(
            f"crf {crf} is too large for {coder.title}: use 0 to {coder.largest_crf}"
        )
    if preset is not None and preset not in coder.presets:
        raise SettingsError(
            f"{coder.title} has no preset '{preset}': use one of {', '.join(coder.presets)}"
        )
    options = dict(coder.extra)
    if crf is not None:
        options[coder.quality] = str(crf)
    if preset is not None:
        options["preset"] = preset
    return MappingProxyType(options)


def _try_out(encoder: Encoder) -> None:
    context = av.CodecContext.create(encoder.name, "w")
    if not isinstance(context, VideoCodecContext):
        raise OutputError(f"{encoder.name} does not code video")
    context.width = context.height = _TRIAL_SIDE
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = dict(encoder.options)
    _open(context, encoder)


def _open(context: VideoCodecContext, encoder: Encoder) -> None:
    """Open an encoder; options that it did not know are left over, and refused."""
    if encoder.name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no option for this
    try:
        context.open()
    except av.FFmpegError as error:
        if isinstance(error, PermissionError) and encoder.is_nvenc:
            raise DeviceError(
                f"{encoder.title} needs an NVIDIA card with an encoder for it, and a driver; there "
                "is none: leave --nvenc out"
            ) from error
        raise OutputError(
            f"the {encoder.title} encoder refuses {context.width}x{context.height} "
            f"{context.pix_fmt} with {_listed(encoder.options)}: {explain(error)}"
        ) from error
    if context.options:
        raise OutputError(
            f"the {encoder.title} encoder does not know the option {_listed(context.options)}"
        )


def _listed(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def fine_time_base(time_base: Fraction) -> Fraction:
    """Refine a clock to at least 90 kHz, so that its times stay exact and shifts cost < 6 µs."""
    scale = time_base.denominator
    if scale > _LARGEST_TIME_SCALE:
        return Fraction(1, _FINE_TICKS)
    return Fraction(1, scale * -(-_FINE_TICKS // scale))


def output_colour(video: VideoTrack, layout: PixelLayout) -> ColourTags:
    """Keep the source's tags as they are, but where the samples were converted on the way."""
    tags = video.colour
    if is_rgb(video.pixel_format):
        matrix, colour_range = matrix_tag(layout), LIMITED_RANGE
    else:
        # "RGB" on YUV would make players show green
        matrix, colour_range = tags.matrix or UNSPECIFIED, tags.range
    if layout.is_full_range:
        colour_range = FULL_RANGE
    return ColourTags(matrix, tags.primaries, tags.transfer, colour_range, tags.chroma_location)


def add_video_stream(
    out: OutputContainer,
    encoder: Encoder,
    source: SourceInfo,
    geometry: FrameGeometry,
    layout: PixelLayout,
) -> VideoStream:
    """Add the stream of pictures and open its encoder.

    Args:
        out: Container without a header yet.
        encoder: From `choose_encoder`.
        source: Where the film comes from: rate, clock, tags.
        geometry: Shape of the first picture.
        layout: Format of the first picture.

    Raises:
        OutputError: The encoder or the container refuses it.
    """
    video = source.video
    stream = out.add_stream(encoder.name, rate=video.nominal_rate)
    if not isinstance(stream, VideoStream):
        raise OutputError(f"{encoder.name} does not code video")
    context = stream.codec_context
    context.pix_fmt = name = encoder.format_for(layout.name)
    context.options = options_for(video, encoder.told_as, encoder.options, name)
    context.width, context.height = encoder.coded_size(geometry.width, geometry.height, name)
    context.time_base = fine_time_base(video.time_base)
    context.thread_type = "AUTO"  # PyAV would choose slices, which cost x264 quality
    context.flags |= int(Flags.frame_duration)  # or the last picture's length is guessed
    if encoder.codec is VideoCodec.FFV1:
        context.gop_size = 1
    if encoder.codec is VideoCodec.H265 and out.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players refuse the default
    tags = output_colour(video, layout)
    context.colorspace, context.color_primaries = tags.matrix, tags.primaries
    context.color_trc, context.color_range = tags.transfer, tags.range
    if geometry.pixel_aspect != 1:
        context.sample_aspect_ratio = geometry.pixel_aspect
    stream.set_display_matrix(_display_matrix(video, geometry))
    stream.disposition = video.disposition  # type: ignore[assignment]  # an int to PyAV
    language = language_for(out.format.name, video.language or "")
    named = {"language": language, "title": video.title, "handler_name": video.handler}
    stream.metadata.update({name: value for name, value in named.items() if value})
    _open(context, encoder)
    return stream


def _display_matrix(video: VideoTrack, geometry: FrameGeometry) -> tuple[int, ...] | None:
    same_size = (geometry.width, geometry.height) == (video.width, video.height)
    if geometry.turn == video.turn and same_size and video.display_matrix is not None:
        return video.display_matrix
    if geometry.turn == _UPRIGHT:
        return None
    a, b, c, d = (sign << 16 for sign in geometry.turn)
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)
