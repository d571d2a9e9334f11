"""A catalogue of odd films: how each is made, and what must hold when it has come through.

``python -m tests.support.odd_films DIR`` writes them all into a folder, to be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support import odd_builders as make
from tests.support.synthetic import Clip, Sound, corrupt, make_clip, truncate

Build = Callable[[Path], object]

ANY = object()
"""Stands for a fact that may change, because a note says so."""


@dataclass(frozen=True, eq=False)
class OddFilm:
    """A film of the catalogue.

    Targets are named in the test: ``mp4``, ``mov``, ``mkv``, ``ffv1`` (lossless, into Matroska).
    """

    name: str
    """File name; its suffix chooses the container."""
    build: Build
    targets: tuple[str, ...] = ("mp4", "ffv1")
    times: Sequence[Fraction] | None = None
    """Seconds of each picture from the start of the film; None: as PyAV reads them, which must
    be whole."""
    rate: Fraction | None = None
    """Where PyAV reads but the first time: pictures a second."""
    numbers: Sequence[int] | None = None
    """Numbers drawn into the pictures; None: 0, 1, 2 ..."""
    start_slack: Fraction = Fraction(0)
    """How far pictures and sound together may be late: sources without a clear start, and packets
    of sound that begin before it."""
    encoded: frozenset[str] = frozenset()
    """Targets whose container cannot hold the sound: it is coded anew, as AAC."""
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By target, facts of the description that may not be the source's, and what they become."""
    says: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By target (``*``: all), patterns of which each must be found in a warning."""
    may_say: tuple[str, ...] = ()
    """Patterns of warnings that may appear as well; any other warning is a fault."""
    fields: str | None = None
    """``tff`` or ``bff``: the film is interlaced, to be deinterlaced and said."""
    lost: frozenset[int] = frozenset()
    """Pictures that are damaged: something is to be seen at their times, but not their numbers."""
    is_damaged: bool = False
    """What a decoder makes of it is not defined to the sample."""
    keeps_count: bool = True
    """The number of pictures is known, also of the damaged ones."""
    num_alike: int | None = None
    """Pictures from here on are of another kind, and converted."""


# ------------------------------------------------------------------------------ ingredients
X264 = {"preset": "ultrafast", "crf": "10"}
GOPS = {"preset": "ultrafast", "crf": "10", "x264-params": "keyint=10:scenecut=0"}
B_FRAMES = {"preset": "veryfast", "crf": "10", "x264-params": "bframes=3:keyint=20:scenecut=0"}
X265 = {"preset": "ultrafast", "crf": "10", "x265-params": "log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "10"}
HDR_DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR10 = {
    "preset": "ultrafast",
    "crf": "10",
    "x265-params": f"log-level=none:hdr10=1:master-display={HDR_DISPLAY}:max-cll=1000,400",
}
AAC, AMR = Sound(), Sound("libopencore_amrnb", 8000, "mono")
PCM, MP2, MP3 = Sound("pcm_s16le", 48000), Sound("mp2", 48000), Sound("libmp3lame", 44100)
NTSC = Fraction(30000, 1001)
VARYING = tuple(Fraction(n, 30) + Fraction(n * n % 11, 600) for n in range(45))
"""A phone's rate: 30 at best, now and then a third less."""
COMMENT = int(av.stream.Disposition.comment)
FORCED = int(av.stream.Disposition.forced)
HEARING = int(av.stream.Disposition.hearing_impaired)

NO_SAR = "cannot store that the pixels are not square"
RARE = "few players show"
EVEN = "even sizes only"


def grid(count: int, rate: Fraction | int = 25, first: Fraction | int = 0) -> tuple[Fraction, ...]:
    """Return times of a constant rate."""
    return tuple(Fraction(first) + Fraction(n) / rate for n in range(count))


def film(name: str, clip: Clip, **facts: Any) -> OddFilm:
    """Enter a film that ``synthetic`` makes by itself."""
    return OddFilm(name, partial(make_clip, clip=clip), **facts)


def clip(count: int = 40, **options: Any) -> Clip:
    """Describe 1.6 seconds of 160x96 with sound, H.264 and AAC if nothing else is said."""
    options.setdefault("sounds", (AAC,))
    options.setdefault("options", X264 if options.get("codec", "libx264") == "libx264" else {})
    return Clip(num_frames=count, **options)


def _spliced(count: int, first: int, **options: Any) -> Clip:
    return clip(count, sounds=(), start=Fraction(first, 25), **options)


# ------------------------------------------------------------------------------ clocks
CLOCKS = (
    film("constant-rate.mp4", clip(), targets=("mp4", "mov", "mkv", "ffv1"), times=grid(40)),
    film("ntsc.mp4", clip(rate=NTSC, time_base=1 / NTSC), times=grid(40, NTSC)),
    film(
        "varying-rate.mp4",
        clip(45, rate=Fraction(30), times=VARYING),
        targets=("mp4", "mov", "mkv", "ffv1"),
        times=VARYING,
    ),
    film("b-frames.mp4", clip(options=B_FRAMES), targets=("mp4", "mov", "ffv1"), times=grid(40)),
    film("b-frames.mkv", clip(options=B_FRAMES)),
    film("late-start.ts", clip(start=Fraction(10), sounds=(MP2,), options=B_FRAMES)),
    film(
        "late-picture.mov",
        clip(times=grid(40, first=Fraction(42, 100))),
        times=grid(40, first=Fraction(42, 100)),
    ),
    film("late-sound.mov", clip(sounds=(Sound(start=Fraction(1, 2)),)), times=grid(40)),
    OddFilm(
        "hidden-start.mp4",
        partial(make.hidden_start, first=27, clip=clip(70, options=GOPS)),
        targets=("mp4", "mov", "ffv1"),
        times=grid(43),
        numbers=range(27, 70),
        start_slack=Fraction(13, 1000),  # in Matroska, which cannot hide a part of a packet
    ),
    film(
        "fragmented.mp4",
        clip(options=B_FRAMES, container_options={"movflags": "frag_keyframe+empty_moov"}),
    ),
    OddFilm(
        "packed-b.avi",
        partial(make.packed_avi, clip=clip(codec="mpeg4", options={"bf": "1"}, sounds=(MP3,))),
        times=grid(40),
        start_slack=Fraction(1, 25),
    ),
    film(
        "dropped-frames.avi",
        clip(
            codec="mpeg4",
            times=[Fraction(n + n // 7 * 2, 25) for n in range(40)],
            sounds=(Sound("libmp3lame", seconds=2.0),),
        ),
    ),
    film("milliseconds.mkv", clip(rate=NTSC), targets=("mp4", "mkv", "ffv1")),
    film(
        "raw.h264", clip(sounds=(), options=B_FRAMES), times=grid(40), start_slack=Fraction(2, 25)
    ),
    film("one-a-second.mp4", clip(3, rate=Fraction(1)), times=grid(3, 1)),
    film("sixty-a-second.mp4", clip(80, rate=Fraction(60)), times=grid(80, 60)),
    film("single-picture.mp4", clip(1, sounds=()), targets=("mp4", "mkv", "ffv1"), times=grid(1)),
    film("two-pictures.mp4", clip(2, options=B_FRAMES), times=grid(2)),
)

# ------------------------------------------------------------------------------ old formats
FORMATS = (
    film(
        "windows.wmv",
        clip(codec="wmv2", sounds=(Sound("wmav2"),)),
        encoded=frozenset({"mp4", "ffv1"}),
        says={"*": ("encoded to AAC.*wmav2",)},
    ),
    film(
        "old-phone.3gp",
        clip(45, width=176, height=144, rate=NTSC, codec="h263", sounds=(AMR,)),
        targets=("mp4", "mov", "ffv1"),
        encoded=frozenset({"mp4", "ffv1"}),
        says={"mp4": (r"encoded to AAC.*amr_nb.*\.mov",), "ffv1": ("encoded to AAC",)},
        may_say=(NO_SAR,),
        changed={"ffv1": {"pixel aspect": ANY}},
    ),
    film("flash.flv", clip(codec="flv", sounds=(MP3,))),
    film("mpeg1.mpg", clip(codec="mpeg1video", sounds=(MP2,)), rate=Fraction(25),
         may_say=(NO_SAR,)),
    film("camera.avi", clip(codec="mjpeg", pixel_format="yuvj420p", sounds=(PCM,)),
         encoded=frozenset({"mp4"}), says={"mp4": (r"encoded to AAC.*pcm_s16le.*\.mkv",)},
         may_say=(RARE,)),
    film("camera422.avi", clip(codec="mjpeg", pixel_format="yuvj422p", sounds=()),
         may_say=(RARE,)),
    film("broadcast.ts", clip(options=B_FRAMES)),
    film("animation.mov", clip(10, codec="qtrle", pixel_format="rgb24", sounds=()),
         says={"*": ("stored as rgb24",)}, may_say=(RARE,),
         changed={t: {"chroma format": "yuv444p", "matrix": ANY} for t in ("mp4", "ffv1")},
         num_alike=0),
)  # fmt: skip

# ------------------------------------------------------------------------------ interlaced
_DV = {"codec": "dvvideo", "options": {}, "sounds": (PCM,)}
_VHS = {"codec": "mpeg2video", "options": {"g": "12"}, "interlaced": True}


def _woven(
    name: str, fields: str, clip: Clip, *, flag: str = "", apart: int = 1, **facts: Any
) -> OddFilm:
    def draw(number: int) -> make.Image:
        return make.woven(clip.width, clip.height, number, int(fields == "bff"), apart)

    facts.setdefault("fields", fields if apart else None)
    facts.setdefault("targets", ("mp4", "off") if apart else ("mp4", "ffv1"))
    build = partial(make.film_of, clip=clip, draw=draw, flag=flag)
    return OddFilm(name, build, **facts)


def _telecined(path: Path) -> object:
    recipe = clip(40, width=352, height=480, rate=NTSC, **_VHS | {"sounds": ()})
    return make.film_of(path, recipe, partial(make.telecined, 352, 480), flag="tff")


_PCM_SAID = dict.fromkeys(("mp4", "fields"), (r"encoded to AAC.*pcm_s16le.*\.mkv",))
_AAC_IN_MP4 = frozenset({"mp4", "fields"})
INTERLACED = (
    _woven("dv-pal.avi", "bff", clip(27, width=720, height=576, **_DV),
           targets=("mp4", "off", "fields"), encoded=_AAC_IN_MP4,
           says=_PCM_SAID, may_say=(NO_SAR,), changed={"off": {"pixel aspect": ANY}}),
    _woven("dv-ntsc.avi", "bff",
           clip(32, width=720, height=480, rate=NTSC, pixel_format="yuv411p", **_DV),
           encoded=_AAC_IN_MP4, says={**_PCM_SAID, "*": ("yuv411p",)}, may_say=(NO_SAR,),
           changed={t: {"chroma format": ANY, "pixel aspect": ANY} for t in ("mp4", "off")}),
    _woven("tape.dv", "bff", clip(27, width=720, height=576, **_DV),
           encoded=_AAC_IN_MP4, says=_PCM_SAID, may_say=(NO_SAR,),
           changed={"off": {"pixel aspect": ANY}}),
    _woven("dvd.vob", "tff",
           clip(27, width=352, height=576, **_VHS, sounds=(Sound("ac3", 48000),)),
           flag="tff", may_say=(NO_SAR,)),
    _woven("capture.mpg", "bff", clip(32, width=352, height=480, rate=NTSC, **_VHS, sounds=(MP2,)),
           flag="bff", may_say=(NO_SAR,)),
    _woven("unflagged.avi", "tff",
           clip(27, width=352, height=576, codec="mjpeg", pixel_format="yuvj422p", sounds=()),
           may_say=(RARE,)),
    _woven("progressive-flagged.mpg", "tff",
           clip(27, width=352, height=576, **_VHS, sounds=(MP2,)),
           flag="tff", apart=0, may_say=("flagged", NO_SAR)),
    OddFilm("telecine.mpg", _telecined, targets=("mp4", "off"), fields="telecin",
            may_say=(NO_SAR, "telecin", "pulldown")),
)  # fmt: skip

# ------------------------------------------------------------------------------ pictures


def _tagged(name: str, tags: tuple[int, int, int, int], **facts: Any) -> OddFilm:
    return film(
        name,
        clip(6, colour=tags, sounds=()),
        targets=("mp4", "mov", "mkv", "ffv1"),
        **facts,
    )


def _hdr(name: str, transfer: int, options: Mapping[str, str], **facts: Any) -> OddFilm:
    recipe = clip(
        6,
        colour=(9, 9, transfer, 1),
        codec="libx265",
        pixel_format="yuv420p10le",
        options=options,
        sounds=(),
    )
    return film(name, recipe, targets=("mp4", "mkv", "ffv1", "h265"), may_say=(RARE,), **facts)


def _turned(name: str, degrees: float, *, hflip: bool = False, vflip: bool = False) -> OddFilm:
    build = partial(make.turned, clip=clip(6, sounds=()), degrees=degrees, hflip=hflip, vflip=vflip)
    return OddFilm(name, build, targets=("mp4", "mov", "mkv", "ffv1"))


def _odd_phone(path: Path) -> object:
    recipe = clip(45, width=159, height=95, rate=Fraction(30), times=VARYING, codec="libvpx-vp9",
                  options=VP9)  # fmt: skip
    return make.turned(path, recipe, -90)


_H264_EVEN = {"mp4": (EVEN,)}
_SIZES = {"mp4": {"size": (160, 96)}}
PICTURES = (
    film("hevc10.mp4", clip(10, codec="libx265", pixel_format="yuv420p10le", options=X265),
         targets=("mp4", "ffv1", "h265"), may_say=(RARE,)),
    film("professional.mov", clip(10, pixel_format="yuv422p10le"), targets=("mp4", "mov", "ffv1"),
         may_say=(RARE,)),
    film("yuv444.mkv", clip(6, pixel_format="yuv444p", sounds=()), times=grid(6), may_say=(RARE,)),
    film("grey.avi", clip(6, codec="ffv1", pixel_format="gray", sounds=()),
         changed={t: {"chroma format": "yuv420p", "is full range": ANY} for t in ("mp4", "ffv1")}),
    _hdr("hlg.mp4", 18, X265),
    _hdr("hdr10.mp4", 16, HDR10, says={"ffv1": ("left out: the HDR10 metadata",)},
         changed={"ffv1": {"light": ANY}}),
    _tagged("bt601-pal.mp4", (5, 5, 6, 1)),
    _tagged("bt601-ntsc.mp4", (6, 6, 6, 1)),
    _tagged("bt709.mp4", (1, 1, 1, 1)),
    _tagged("full-range.mp4", (1, 1, 1, 2)),
    _tagged("untagged-sd.mp4", (2, 2, 2, 0)),
    film("untagged-hd.mp4", clip(2, width=1280, height=720, sounds=()), targets=("mp4", "ffv1")),
    film("anamorphic.mp4", clip(6, pixel_aspect=Fraction(16, 15), sounds=()),
         targets=("mp4", "mov", "mkv", "ffv1"), may_say=(NO_SAR,),
         says={"ffv1": (NO_SAR,)}, changed={"ffv1": {"pixel aspect": ANY}}),
    _turned("turned-90.mp4", -90),
    _turned("turned-180.mov", 180),
    _turned("turned-270.mp4", 90),
    _turned("mirrored.mp4", 0, hflip=True),
    _turned("mirrored-turned.mov", 90, vflip=True),
    film("odd-size.avi", clip(6, width=159, height=95, codec="mpeg4", sounds=()),
         says=_H264_EVEN, changed=_SIZES),
    film("odd-size.mkv", clip(6, width=159, height=95, codec="ffv1", pixel_format="yuv444p",
                              sounds=()), may_say=(RARE,)),
    OddFilm("odd-turned-varying.mp4", _odd_phone, times=VARYING, says=_H264_EVEN, changed=_SIZES),
    OddFilm("size-change.ts",
            lambda path: make.joined(path, _spliced(12, 0),
                                     _spliced(12, 12, width=192, height=128)),
            times=grid(24), numbers=(*range(12), *range(12)), num_alike=12,
            says={"*": (r"192x128.*160x96",)}),
    OddFilm("format-change.ts",
            lambda path: make.joined(path, _spliced(12, 0),
                                     _spliced(12, 12, pixel_format="yuv422p")),
            times=grid(24), numbers=(*range(12), *range(12)), num_alike=12,
            says={"*": (r"yuv422p.*yuv420p",)}),
    OddFilm("range-change.ts",
            lambda path: make.joined(path, _spliced(12, 0, colour=(1, 1, 1, 1)),
                                     _spliced(12, 12, colour=(1, 1, 1, 2))),
            times=grid(24), numbers=(*range(12), *range(12)), num_alike=12,
            says={"*": (r"full range.*limited range",)}),
)  # fmt: skip

# ------------------------------------------------------------------------------ sound and the rest
_GERMAN = Sound(language="ger", title="Ton")
_ENGLISH = Sound("ac3", 48000, language="eng", title="Commentary", disposition=COMMENT)
_TAGS = {"title": "Christmas 1987", "comment": "at home", "date": "1987-12-24"}
_CHAPTERS = ((0.0, 0.8, "tree"), (0.8, 1.6, "presents"))
_TWO_TITLES = (("srt", "ger", int(av.stream.Disposition.default)), ("ass", "eng", FORCED))

SOUND = (
    film("two-languages.mp4", clip(sounds=(_GERMAN, _ENGLISH)), targets=("mp4", "ffv1"),
         start_slack=Fraction(6, 1000)),
    film("commentary.mp4", clip(sounds=(_GERMAN, _ENGLISH)), targets=("mov",),
         says={"mov": ("marked as comment",)}, changed={"mov": {"sound": ANY}}),
    film("two-languages.mkv", clip(sounds=(_ENGLISH, _GERMAN))),
    film("surround.mp4", clip(sounds=(Sound("aac", 48000, "5.1"),)),
         targets=("mp4", "mov", "ffv1")),
    film("pcm.mov", clip(sounds=(PCM,)), targets=("mp4", "mov", "ffv1"),
         encoded=frozenset({"mp4"}), says={"mp4": (r"encoded to AAC.*pcm_s16le.*\.m(kv|ov)",)}),
    film("pcm24.mov", clip(sounds=(Sound("pcm_s24le", 48000, start=Fraction(1, 4)),)),
         targets=("mp4", "mov", "ffv1"),
         encoded=frozenset({"mp4"}), says={"mp4": (r"encoded to AAC.*pcm_s24le",)}),
    film("opus.mkv", clip(sounds=(Sound("libopus", 48000),))),
    film("vorbis.mkv", clip(sounds=(Sound("vorbis", 44100),)),
         encoded=frozenset({"mp4"}), says={"mp4": (r"encoded to AAC.*vorbis.*\.mkv",)}),
    film("flac.mkv", clip(sounds=(Sound("flac"),))),
    film("silent.mp4", clip(12, sounds=()), times=grid(12)),
    film("long-sound.mp4", clip(12, sounds=(Sound(seconds=2.6),)), targets=("mp4", "mov", "ffv1"),
         times=grid(12)),
    film("short-sound.mp4", clip(50, sounds=(Sound(seconds=1.3),)), times=grid(50)),
    film("hole-in-sound.mkv", clip(80, sounds=(Sound("flac", gap=(1.3, 2.7)),))),
    film("tags-and-chapters.mp4", clip(tags=_TAGS, chapters=_CHAPTERS, language="ger"),
         targets=("mp4", "mov", "ffv1")),
    film("tags-and-chapters.mkv", clip(tags={**_TAGS, "make": "Sony"}, chapters=_CHAPTERS),
         targets=("mp4", "mov", "ffv1")),
    film("dispositions.mkv",
         clip(sounds=(Sound(disposition=int(av.stream.Disposition.default)),
                      Sound("ac3", 48000, disposition=HEARING),
                      Sound("flac", disposition=COMMENT)))),
    film("titles.mp4", clip(subtitles=((0.1, 0.5, "hello"), (0.6, 1.1, "bye"))),
         targets=("mp4", "mov", "ffv1"), may_say=(r"subtitle.*(converted|subrip|ass)",)),
    OddFilm("titles.mkv", partial(make.with_extras, clip=clip(), subtitles=_TWO_TITLES),
            targets=("ffv1", "mp4", "mov"),
            says={"mp4": (r"subtitle track.*(converted|mov_text)",),
                  "mov": (r"subtitle track.*(converted|mov_text)", "marked as forced")},
            changed={"mov": {"subtitles": ANY}}),
    OddFilm("font.mkv", partial(make.with_extras, clip=clip(6), has_font=True),
            says={"mp4": (r"attachment.*left out.*\.mkv",)},
            changed={"mp4": {"attachments": []}}),
    film("cover.mp4", clip(6, cover=True)),
    OddFilm("cover.mkv", partial(make.with_extras, clip=clip(6), has_cover=True)),
    OddFilm("two-films.mkv", partial(make.two_films, first=clip(), second=clip(width=128)),
            may_say=("video track",)),
    OddFilm("two-films.mp4", partial(make.two_films, first=clip(), second=clip(width=128)),
            may_say=("video track",)),
)  # fmt: skip

# ------------------------------------------------------------------------------ damage
_HURT = clip(60, options=GOPS)
_SAID = r"(?i)damaged|corrupt|concealed|repeated|lost"


def _hurt(name: str, build: Build, **facts: Any) -> OddFilm:
    facts.setdefault("says", {"*": (_SAID,)})
    facts.setdefault("may_say", (_SAID,))
    return OddFilm(name, build, is_damaged=True, **facts)


def _cut(name: str, recipe: Clip, **facts: Any) -> OddFilm:
    def build(path: Path) -> object:
        return truncate(make_clip(path, recipe), 0.6)

    return _hurt(name, build, may_say=(_SAID, "cut off"), keeps_count=False, **facts)


def _flipped(name: str, recipe: Clip, first: float, last: float, **facts: Any) -> OddFilm:
    def build(path: Path) -> object:
        return corrupt(make_clip(path, recipe), first, last, every=211)

    return _hurt(name, build, keeps_count=False, **facts)


def _twice(name: str, recipe: Clip) -> OddFilm:
    return OddFilm(
        name,
        partial(_joined_twice, recipe=recipe),
        numbers=(*range(recipe.num_frames), *range(recipe.num_frames)),
        says={"*": (r"clock|joined|recording",)},
    )


def _joined_twice(path: Path, recipe: Clip) -> object:
    return make.joined(path, recipe, recipe)


DAMAGED = (
    _hurt("hurt.mp4", make.spoiled("video", (22, 23), _HURT, "whole.mp4"), times=grid(60),
          lost=frozenset(range(20, 30))),
    _hurt("hurt.mkv", make.spoiled("video", (22, 23), _HURT, "whole.mkv"), times=grid(60),
          lost=frozenset(range(20, 30))),
    _hurt("hurt-key.mp4", make.spoiled("video", (20,), _HURT, "whole.mp4"), times=grid(60),
          lost=frozenset(range(20, 30))),
    _flipped("hurt.ts", clip(75, options=GOPS), 0.4, 0.5, lost=frozenset(range(20, 52))),
    _flipped("hurt.mpg", clip(75, codec="mpeg2video", options={"g": "10"}, sounds=(MP2,)),
             0.4, 0.5, lost=frozenset(range(20, 52))),
    _cut("cut.mkv", clip(75), says={"*": ("cut off",)}),
    _cut("cut.ts", clip(75, options=GOPS), says={}),
    _cut("cut.avi", clip(75, codec="mpeg4", sounds=(MP3,)), says={"*": ("cut off",)}),
    OddFilm("hurt-sound.mkv", make.spoiled("audio", range(60, 66), clip(75, options=GOPS),
                                           "whole.mkv"), may_say=(_SAID,)),
    OddFilm("hurt-vorbis.mkv",
            make.spoiled("audio", range(60, 70), clip(80, sounds=(Sound("vorbis"),)), "w.mkv", 0),
            encoded=frozenset({"mp4"}), says={"mp4": ("encoded to AAC.*vorbis", _SAID)},
            may_say=(_SAID,)),
    OddFilm("promises-too-much.mkv", partial(make.scaled_duration, factor=4.0, clip=clip()),
            may_say=("cut off", "length|duration")),
    OddFilm("promises-too-little.mkv", partial(make.scaled_duration, factor=0.25, clip=clip()),
            may_say=("length|duration",)),
    OddFilm("promises-too-much.avi",
            partial(make.long_avi_header, clip=clip(codec="mpeg4", sounds=(MP3,))),
            may_say=("cut off", "length|duration")),
    _twice("joined.mpg", clip(codec="mpeg2video", sounds=(MP2,))),
    _twice("joined.ts", clip(options=GOPS)),
)  # fmt: skip

CATALOGUE: tuple[OddFilm, ...] = (
    *CLOCKS, *FORMATS, *INTERLACED, *PICTURES, *SOUND, *DAMAGED
)  # fmt: skip


# ------------------------------------------------------------------------------ real faces


def face_pictures(size: tuple[int, int], count: int) -> list[make.Image]:
    """Take the first pictures of the sample, which show a face, in another size; RGB."""
    sample = Path(__file__).resolve().parents[2] / "samples" / "home-video.mp4"
    found = []
    with av.open(str(sample)) as container:
        for frame in container.decode(video=0):
            found.append(frame.reformat(*size, "rgb24").to_ndarray().astype(np.uint8))
            if len(found) == count:
                break
    return found


def _with_face(recipe: Clip, *, turns: int = 0, fields: bool = False) -> Build:
    """Return a builder of a film of the sample's face, stored ``turns`` quarters turned."""
    upright = (recipe.height, recipe.width) if turns % 2 else (recipe.width, recipe.height)

    def build(path: Path) -> object:
        images = face_pictures(upright, recipe.num_frames + 1)
        if fields:
            for now, later in pairwise(images):
                now[1::2] = later[1::2]
        images = [np.ascontiguousarray(np.rot90(image, turns)) for image in images]
        return make.film_of(path, recipe, images.__getitem__, flag="tff" if fields else "")

    return build


FACES: Mapping[str, Build] = {
    "phone.mp4": _with_face(
        clip(10, width=239, height=319, codec="libvpx-vp9", options=VP9, rotation=90), turns=3
    ),
    "tape.mpg": _with_face(
        clip(10, width=352, height=480, pixel_aspect=Fraction(20, 11), **_VHS, sounds=(MP2,)),
        fields=True,
    ),
    "deep.mp4": _with_face(
        clip(10, width=320, height=240, codec="libx265", pixel_format="yuv420p10le", options=X265)
    ),
    "full.avi": _with_face(
        clip(10, width=320, height=240, codec="mjpeg", pixel_format="yuvj422p", sounds=(PCM,))
    ),
}


# ------------------------------------------------------------------------------ no films at all


def _song(path: Path) -> object:
    make_clip(path.with_suffix(".mkv"), clip(12, sounds=(MP3,)))
    data = b"".join(_packets_of_sound(path.with_suffix(".mkv")))
    path.with_suffix(".mkv").unlink()
    return path.write_bytes(data)


def _packets_of_sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


SUBRIP = "1\n00:00:00,100 --> 00:00:00,500\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nbye\n"
NOT_FILMS: Mapping[str, Build] = {
    "text.mp4": lambda path: path.write_text("this is a letter, not a film\n" * 40),
    "empty.mp4": lambda path: path.touch(),
    "no-index.mp4": partial(make.without_index, clip=clip(12)),
    "titles.srt": lambda path: path.write_text(SUBRIP),
    "song.mp3": _song,
    "folder.mp4": lambda path: path.mkdir(),
    "noise.avi": lambda path: path.write_bytes(make.FONT * 20),
}


def main(words: Sequence[str]) -> int:
    """Write every film of the catalogue, and what is none, into a folder."""
    if len(words) != 1:
        raise SystemExit("usage: python -m tests.support.odd_films DIR")
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    for entry in CATALOGUE:
        entry.build(folder / entry.name)
    for name, build in NOT_FILMS.items():
        (folder / "not-films").mkdir(exist_ok=True)
        build(folder / "not-films" / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
