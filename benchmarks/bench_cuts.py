"""Compares shot-change detectors: ours, PySceneDetect's two, and the formula of FFmpeg's scdet.

``python benchmarks/bench_cuts.py CLIPS``: takes shots from every film in the folder, joins them in
pairs, as they are, darkened, faded in and through black, and makes what is no cut: flashes, pans
over scikit-image's pictures, fades, tape noise and dropouts. PySceneDetect (``pip install
scenedetect``) is needed only here. Writes ``benchmarks/results/cuts.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector
from skimage import data

from vidrestore.core.cuts import find_cuts

Picture = npt.NDArray[np.uint8]
Film = list[Picture]
SIZE = (320, 240)
LENGTH = 16
"""Frames of each shot; a film of two has its cut here."""


def shots_of(path: Path) -> list[Film]:
    """Take up to two short shots of a film, BGR, without a cut as far as the eye can tell."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        pictures = [
            cv2.resize(f.to_ndarray(format="bgr24"), SIZE, interpolation=cv2.INTER_AREA)
            for f in islice(frames, 60)
        ]
    return [
        [np.asarray(p, np.uint8) for p in pictures[first : first + LENGTH]]
        for first in (0, 40)
        if len(pictures) >= first + LENGTH
    ]


def ours(film: Film) -> list[int]:
    """Return where ``core.cuts`` sees cuts, without the first picture."""
    thumbs = [
        cv2.resize(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), (64, 48), interpolation=cv2.INTER_AREA)
        for p in film
    ]
    found = find_cuts(t.astype(np.float32) * np.float32(100 / 255) for t in thumbs)
    return [k for k, is_cut in enumerate(found) if is_cut and k]


def scdet(film: Film) -> list[int]:
    """Apply the formula and the threshold of FFmpeg's scdet, on luma."""
    grey = [cv2.cvtColor(p, cv2.COLOR_BGR2GRAY).astype(np.float32) for p in film]
    steps = [
        0.0,
        *(float(np.abs(b - a).mean()) * 100 / 255 for a, b in pairwise(grey)),
    ]
    return [k for k in range(1, len(film)) if min(steps[k], abs(steps[k] - steps[k - 1])) >= 10]


def scenedetect(make: Callable[[], Any]) -> Callable[[Film], list[int]]:
    """Wrap a detector of PySceneDetect, its least length of a scene set to one frame."""

    def run(film: Film) -> list[int]:
        detector = make()
        found: list[FrameTimecode] = []
        for k, picture in enumerate(film):
            found += detector.process_frame(FrameTimecode(k, 25.0), picture)
        found += detector.post_process(FrameTimecode(len(film) - 1, 25.0))
        return [f.frame_num for f in found]

    return run


def films(
    shots: list[list[Film]], rng: np.random.Generator
) -> Iterator[tuple[str, Film, set[int]]]:
    """Yield kind, film and the places of its cuts."""
    for a, b in permutations(shots, 2):
        film = a[0] + b[-1]
        yield "joins", film, {LENGTH}
        yield "dark joins", [(p * 0.15 + 8).astype(np.uint8) for p in film], {LENGTH}
        # a hard cut to black, out of which the second shot comes
        risen = [fade(p, min(1, k / 8)) for k, p in enumerate(b[-1])]
        yield "joins faded in", a[0] + risen, {LENGTH}
        # the first shot goes into black, the second comes out of it; there it begins
        sunk = [fade(p, min(1, (LENGTH - k) / 8)) for k, p in enumerate(a[0], 1)]
        black = [fade(b[-1][0], 0)] * int(rng.integers(1, 8))
        yield "joins through black", sunk + black + risen[1:], {LENGTH + len(black)}
    for shot in (s for pair in shots for s in pair):
        for length in (1, 2):
            for strength in (0.5, 0.9):
                yield "flashes", flashed(shot, length, strength), set()
        yield "fades", [fade(p, abs(k - 8) / 8) for k, p in enumerate(shot)], set()
        yield "tape noise", [noisy(p, rng) for p in shot], set()
        yield "dropouts", [dropped(p, rng) if k in (5, 9) else p for k, p in enumerate(shot)], set()
    for name in ("astronaut", "coffee", "rocket", "chelsea"):
        picture = cv2.cvtColor(np.asarray(getattr(data, name)()), cv2.COLOR_RGB2BGR)
        picture = cv2.resize(picture, (1280, 854), interpolation=cv2.INTER_CUBIC)
        for speed in (10, 20, 40, 60):
            yield "pans", panned(picture.astype(np.uint8), speed), set()


def fade(picture: Picture, share: float) -> Picture:
    """Darken."""
    return (picture * share).astype(np.uint8)


def flashed(shot: Film, length: int, strength: float) -> Film:
    """Light up some pictures, the last of them half."""
    film = list(shot)
    for k in range(length):
        level = strength * (1 if k == 0 else 0.6)
        film[8 + k] = (film[8 + k] * (1 - level) + 255 * level).astype(np.uint8)
    return film


def noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add the noise of a bad tape."""
    noise = cv2.GaussianBlur(rng.normal(0, 60, picture.shape[:2]), (0, 0), 1.0)
    worn: Picture = np.clip(picture + noise[..., None], 0, 255).astype(np.uint8)
    return worn


def dropped(picture: Picture, rng: np.random.Generator) -> Picture:
    """Lose a band of rows to snow."""
    torn = picture.copy()
    first = int(rng.integers(0, 160))
    torn[first : first + 60] = rng.integers(0, 256, (60, SIZE[0], 1))
    return torn


def panned(picture: Picture, speed: int) -> Film:
    """Hold, pan at ``speed`` pixels (of 320) a frame, and hold."""
    columns, x = [], 0
    for k in range(30):
        columns.append(x)
        if k >= 8 and x + speed + SIZE[0] <= picture.shape[1]:
            x += speed
    return [np.ascontiguousarray(picture[200 : 200 + SIZE[1], c : c + SIZE[0]]) for c in columns]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    folder = parser.parse_args().clips
    contenders: dict[str, Callable[[Film], list[int]]] = {
        "ours": ours,
        "scdet 10": scdet,
        "ContentDetector": scenedetect(lambda: ContentDetector(min_scene_len=1)),
        "AdaptiveDetector": scenedetect(lambda: AdaptiveDetector(min_scene_len=1)),
    }
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mkv", ".mpg"))
    shots = [s for s in map(shots_of, paths) if s]
    counts: dict[str, dict[str, list[int]]] = {}
    for kind, film, cuts in films(shots, np.random.default_rng(5)):
        for name, find in contenders.items():
            found = set(find(film))
            # true cuts, of those found, false ones, films
            row = counts.setdefault(kind, {}).setdefault(name, [0, 0, 0, 0])
            row[0] += len(cuts)
            row[1] += len(cuts & found)
            row[2] += len(found - cuts)
            row[3] += 1
    totals = {n: np.sum([counts[k][n] for k in counts], axis=0).tolist() for n in contenders}
    scores = {
        n: {"recall": round(t[1] / t[0], 3), "precision": round(t[1] / max(1, t[1] + t[2]), 3)}
        for n, t in totals.items()
    }
    result = {
        "what": "for each kind and detector: true cuts, found of them, false ones, films",
        "date": datetime.now(UTC).date().isoformat(),
        "counts": counts,
        "total": scores,
    }
    text = json.dumps(result, indent=2)
    print(text)
    (Path(__file__).parent / "results" / "cuts.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
