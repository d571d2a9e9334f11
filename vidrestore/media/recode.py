"""Pictures through a lossy video codec and back, in memory: what a codec does to a film.

No container and no file: an encoder's packets go straight into a decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vidrestore.contracts import PixelLayout, RGBImage
from vidrestore.core.colour import channel_from_rgb, rgb_from_yuv, yuv_from_rgb_matrix
from vidrestore.errors import MediaError, SettingsError
from vidrestore.media.opening import explain


class LossyCodec(StrEnum):
    """A codec that home films are kept in."""

    H264 = "h264"
    """Cameras and shared files; quality is x264's constant rate factor."""
    MPEG2 = "mpeg2"
    """DVD recorders; quality is the quantiser scale of every macroblock."""


QUALITIES = MappingProxyType({LossyCodec.H264: (0, 51), LossyCodec.MPEG2: (1, 31)})
"""Best and worst quality of each codec."""

_ENCODERS = MappingProxyType({LossyCodec.H264: "libx264", LossyCodec.MPEG2: "mpeg2video"})
_DECODERS = MappingProxyType({LossyCodec.H264: "h264", LossyCodec.MPEG2: "mpeg2video"})
_RATE = Fraction(25)
_LAYOUT = PixelLayout("yuv420p", 8, 1, 1, is_full_range=False, kr=0.299, kb=0.114)


def recode(frames: Sequence[RGBImage], codec: LossyCodec, quality: int) -> list[RGBImage]:
    """Encode pictures as one film (4:2:0, BT.601, limited range) and decode it again.

    Encoder and decoder run on one thread each, so that the same pictures give the same result.

    Args:
        frames: Pictures of one size, in the order of showing; none gives none.
        codec: What to encode with.
        quality: Lower is better; `QUALITIES` has the range.

    Returns:
        As many pictures, in the same order and of the same size.

    Raises:
        SettingsError: The quality is out of the codec's range.
        MediaError: The pictures differ in size, or FFmpeg has no such codec here or refuses them.
    """
    best, worst = QUALITIES[codec]
    if not best <= quality <= worst:
        raise SettingsError(f"quality {quality} is not one of {codec}: use {best} to {worst}")
    if not frames:
        return []
    shape = frames[0].shape
    if any(frame.shape != shape for frame in frames):
        raise MediaError(f"pictures of several sizes cannot be coded as one film with {codec}")
    height, width = shape[:2]
    even = [_pad_to_even(frame) for frame in frames]
    try:
        decoded = _decode(_encode(even, codec, quality), codec)
    except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        reason = explain(error) if isinstance(error, av.FFmpegError) else "no such codec in PyAV"
        raise MediaError(f"cannot code {width}x{height} pictures with {codec}: {reason}") from error
    if len(decoded) != len(frames):
        raise MediaError(f"{codec} gave {len(decoded)} pictures for {len(frames)}")
    return [np.ascontiguousarray(picture[:height, :width]) for picture in decoded]


def _pad_to_even(frame: RGBImage) -> RGBImage:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    padded: RGBImage = cv2.copyMakeBorder(
        frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE
    ).astype(np.uint8, copy=False)
    return padded


def _encode(
    frames: Sequence[RGBImage], codec: LossyCodec, quality: int
) -> list[Packet[VideoStream]]:
    encoder = av.CodecContext.create(_ENCODERS[codec], "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt = _LAYOUT.name
    encoder.framerate, encoder.time_base = _RATE, 1 / _RATE
    encoder.thread_count = 1
    encoder.options = _options(codec, quality)
    packets: list[Packet[VideoStream]] = []
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(_stacked_planes(frame), format=_LAYOUT.name)
        picture.pts, picture.time_base = index, 1 / _RATE
        packets += encoder.encode(picture)
    return packets + encoder.encode(None)


def _options(codec: LossyCodec, quality: int) -> dict[str, str]:
    if codec is LossyCodec.MPEG2:
        return {"qmin": str(quality), "qmax": str(quality)}
    # veryfast is the fastest preset that looks like a usual film; a look-ahead would only cost
    return {"crf": str(quality), "preset": "veryfast", "rc-lookahead": "0"}


def _decode(packets: Sequence[Packet[VideoStream]], codec: LossyCodec) -> list[RGBImage]:
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    pictures = [picture for packet in packets for picture in decoder.decode(packet)]
    pictures += decoder.decode(None)
    return [_rgb_from_stacked(picture.to_ndarray(format=_LAYOUT.name)) for picture in pictures]


def _stacked_planes(rgb: RGBImage) -> npt.NDArray[np.uint8]:
    """Convert to Y, U and V in one array of shape (1.5·H, W), as PyAV takes 4:2:0.

    FFmpeg's scaler rounds down on the way to YUV and back: the picture would lose a level.
    """
    height, width = rgb.shape[:2]
    matrix = yuv_from_rgb_matrix(_LAYOUT)
    y, u, v = (channel_from_rgb(cv2.split(rgb), row) for row in matrix)
    half = (width // 2, height // 2)
    chroma = [cv2.resize(plane, half, interpolation=cv2.INTER_AREA).ravel() for plane in (u, v)]
    stacked = np.concatenate([y.ravel(), *chroma]).reshape(-1, width)
    return np.asarray(np.rint(stacked), dtype=np.uint8)  # 16..240: nothing to clip


def _rgb_from_stacked(stacked: npt.NDArray[Any]) -> RGBImage:
    rows, width = stacked.shape
    height = rows * 2 // 3
    y = stacked[:height]
    chroma = stacked[height:].reshape(2, height // 2, width // 2)
    u, v = (
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        for plane in chroma
    )
    return rgb_from_yuv(y.astype(np.float32), u, v, _LAYOUT)
