"""Measures what is done to the picture around the faces: denoising, cuts, faces against background.

    python benchmarks/bench_background.py FILM CLEAN [--frames 40] [--start 1.2] [--json FILE]

FILM is a degraded film and CLEAN the same one before. Filters are compared on FILM and on CLEAN
with Gaussian noise, by PSNR against CLEAN and by CPU time for a picture of 720x576. At a hard cut
between two pictures of CLEAN, the denoised pictures are compared with those of either shot alone.
Then the program restores the range, and the faces are measured: against CLEAN, and their noise
against that of a ring around them (robust standard deviation of what a Gaussian of 2 pixels takes
away, in flat parts), with faces from the film as it is and from the denoised one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vidrestore.contracts import BlendedFrame, Frame, PaintedRegion
from vidrestore.core.enlarging import resized_planes
from vidrestore.core.face_choice import FaceChooser
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.media.filter_graph import FilterChain
from vidrestore.media.pixels import picture_of
from vidrestore.media.read import VideoReader
from vidrestore.pipeline import Span, restoring
from vidrestore.report import describe_machine
from vidrestore.runtime.timing import StageClock
from vidrestore.settings import DENOISE_LEVELS, FaceChoice, ReadSettings, RestoreSettings

Luma = npt.NDArray[np.float32]

_SIGMA = 6.5
_PAL = (720, 576)


def _atadenoise(threshold: float, side: int = 4) -> tuple[str, str]:
    each = [f"{k}a={threshold:.4f}:{k}b={2 * threshold:.4f}" for k in range(3)]
    return "atadenoise", ":".join([*each, f"s={2 * side + 1}", "a=s"])


_FILTERS: dict[str, list[tuple[str, str]]] = {
    **{f"atadenoise {t}": [_atadenoise(t)] for t in (0.02, 0.03, 0.06, 0.09, 0.12)},
    "atadenoise 0.06, 2 to each side": [_atadenoise(0.06, 2)],
    "nlmeans 3": [("nlmeans", "s=3:p=7:r=9")],
    "nlmeans 5": [("nlmeans", "s=5:p=7:r=9")],
    "atadenoise 0.06, nlmeans 3": [_atadenoise(0.06), ("nlmeans", "s=3:p=7:r=7")],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--start", type=Fraction, default=Fraction("1.2"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    film, clean = (
        _frames(path, arguments.start, arguments.frames)
        for path in (arguments.film, arguments.clean)
    )
    result = {
        "machine": describe_machine(),
        "film": arguments.film.name,
        "frames": len(film),
        "filters": _filters(film, clean),
        "cut": _cut(clean),
        "faces": list(_faces(arguments.film, clean, arguments.start)),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, default=str) + "\n")


def _frames(path: Path, start: Fraction, number: int) -> list[Frame]:
    with VideoReader(path) as reader, closing(reader.frames(start)) as frames:
        return list(islice(frames, number))


def _noisy(frames: Sequence[Frame]) -> list[Frame]:
    random = np.random.default_rng(0)

    def plane(clean: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        made = clean + random.normal(0, _SIGMA, clean.shape)
        return np.clip(np.rint(made), 0, 255).astype(np.uint8)

    noisy = []
    for f in frames:
        y, u, v = (plane(p) for p in f.planes)
        noisy.append(replace(f, planes=(y, u, v)))
    return noisy


def _filtered(
    frames: Sequence[Frame], filters: Sequence[tuple[str, str]]
) -> tuple[list[list[Luma]], float]:
    """Return Y and U of each picture, and CPU milliseconds for each."""
    pictures = [picture_of(f) for f in frames]
    for k, picture in enumerate(pictures):
        picture.pts = k
    chain, made = FilterChain(pictures[0], filters, Fraction(1, 25)), list[VideoFrame]()
    begun = time.process_time()
    for picture in pictures:
        made += chain.push(picture)
    made += chain.finish()
    taken = (time.process_time() - begun) * 1000 / len(frames)
    return [[_plane(picture, k) for k in (0, 1)] for picture in made], taken


def _plane(picture: VideoFrame, index: int) -> Luma:
    plane = picture.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return rows[:, : plane.width].astype(np.float32)


def _psnr(a: Sequence[npt.NDArray[Any]], b: Sequence[npt.NDArray[Any]]) -> float:
    errors = [np.square(x.astype(np.float64) - y).mean() for x, y in zip(a, b, strict=True)]
    return round(float(10 * np.log10(255**2 / np.mean(errors))), 2)


def _filters(film: Sequence[Frame], clean: Sequence[Frame]) -> list[dict[str, Any]]:
    truth = [[f.planes[k] for f in clean] for k in (0, 1)]
    rows = []
    for name, filters in {"none": [], **_FILTERS}.items():
        row: dict[str, Any] = {"filter": name}
        for kind, frames in (("film", film), ("noise", _noisy(clean))):
            if filters:
                made, _ = _filtered(frames, filters)
                planes = [[m[k] for m in made] for k in (0, 1)]
            else:
                planes = [[f.planes[k].astype(np.float32) for f in frames] for k in (0, 1)]
            for k, channel in enumerate("yu"):
                row[f"{kind}_psnr_{channel}"] = _psnr(planes[k], truth[k])
        if filters:
            row["ms_720x576"] = round(_filtered(_pal(film[:12]), filters)[1], 1)
        print(row, flush=True)
        rows.append(row)
    return rows


def _pal(frames: Sequence[Frame]) -> list[Frame]:
    made = []
    for f in frames:
        geometry = replace(f.geometry, width=_PAL[0], height=_PAL[1])
        planes = resized_planes(f.planes, geometry, f.layout)
        made.append(replace(f, planes=planes, geometry=geometry))
    return made


def _cut(clean: Sequence[Frame]) -> list[dict[str, Any]]:
    """Cut hard from one picture to the same upside down, with noise on both."""
    one = _noisy([clean[0]] * 12)
    y, u, v = (plane[::-1] for plane in clean[0].planes)
    other = _noisy([replace(clean[0], planes=(y, u, v))] * 12)
    rows = []
    for name, amount in DENOISE_LEVELS.items():
        filters = [_atadenoise(0.09 * amount)]
        both, _ = _filtered([*one, *other], filters)
        alone = [*_filtered(one, filters)[0], *_filtered(other, filters)[0]]
        near = range(8, 16)
        truth = [clean[0].planes[0]] * 4 + [clean[0].planes[0][::-1]] * 4
        row = {
            "level": name,
            "psnr_with_cut": _psnr([both[k][0] for k in near], truth),
            "psnr_shots_alone": _psnr([alone[k][0] for k in near], truth),
            "largest_difference": max(float(np.abs(both[k][0] - alone[k][0]).max()) for k in near),
        }
        print(row, flush=True)
        rows.append(row)
    return rows


class _CleanedReader(VideoReader):
    """Delivers the denoised film as the film itself."""

    def frames(self, start_seconds: Fraction | None = None) -> Generator[Frame, None, None]:
        """See ``VideoReader.frames``."""
        for frame in super().frames(start_seconds):
            assert frame.cleaned is not None
            yield replace(frame, planes=frame.cleaned, cleaned=None)


def _faces(film: Path, clean: Sequence[Frame], start: Fraction) -> Iterator[dict[str, Any]]:
    truth = {f.pts: f.planes[0] for f in clean}
    stop = start + Fraction(len(clean), 25)
    settings = RestoreSettings()
    chosen, chooser = choose_models(settings.model), FaceChooser(FaceChoice.ALL)
    ways: list[tuple[str, float, type[VideoReader]]] = [("none", 0.0, VideoReader)]
    ways += [(name, amount, VideoReader) for name, amount in DENOISE_LEVELS.items()]
    ways += [("medium, faces from the denoised film", DENOISE_LEVELS["medium"], _CleanedReader)]
    with loaded_networks(chosen, settings) as (networks, _, _):
        for name, amount, kind in ways:
            wanted = replace(settings, read=ReadSettings(denoise=amount))
            with (
                kind(film, wanted.read) as reader,
                restoring(
                    reader, networks, iter, Span(start, stop), wanted, StageClock(), chooser
                ) as frames,
            ):
                measured = [_measure(item, truth) for item in frames if any(item.regions)]
            row: dict[str, Any] = {"denoise": name, "frames": len(measured)}
            for key in measured[0]:
                row[key] = round(float(np.median([m[key] for m in measured])), 3)
            row["noise_face_over_ring"] = round(row["noise_face"] / row["noise_ring"], 3)
            print(row, flush=True)
            yield row


def _measure(item: BlendedFrame, truth: dict[int, npt.NDArray[Any]]) -> dict[str, float]:
    region = next(r for r in item.regions if r is not None)
    luma = item.frame.planes[0].astype(np.float32)
    true = truth[item.frame.pts].astype(np.float32)
    box = _box(region, 0.5, luma.shape)
    face = np.zeros(luma.shape, bool)
    face[box] = True
    ring = np.zeros(luma.shape, bool)
    ring[_box(region, 1.6, luma.shape)] = True
    ring[_box(region, 1.0, luma.shape)] = False
    laplacians = [np.abs(cv2.Laplacian(p, cv2.CV_32F))[box].mean() for p in (luma, true)]
    return {
        "face_psnr": _psnr([luma[box]], [true[box]]),
        "face_sharpness": float(laplacians[0] / laplacians[1]),
        "noise_face": _noise(luma, face),
        "noise_ring": _noise(luma, ring),
        "noise_face_in_clean": _noise(true, face),
        "noise_ring_in_clean": _noise(true, ring),
    }


def _box(region: PaintedRegion, share: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    spans = []
    for low, high, length in (
        (region.top, region.bottom, shape[0]),
        (region.left, region.right, shape[1]),
    ):
        middle, half = (low + high) / 2, (high - low) * share / 2
        spans.append(slice(max(0, round(middle - half)), min(length, round(middle + half))))
    return spans[0], spans[1]


def _noise(luma: Luma, where: npt.NDArray[np.bool_]) -> float:
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 2)
    smooth = cv2.GaussianBlur(luma, (0, 0), 3)
    steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    flat = where & (steep <= np.quantile(steep[where], 0.3))
    return float(1.4826 * np.median(np.abs(fine[flat] - np.median(fine[flat]))))


if __name__ == "__main__":
    main()
