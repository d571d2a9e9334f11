"""Compares ways to keep what the network draws from flickering, on the crops of real films.

    python benchmarks/bench_texture.py FILM... [--frames 50] [--json FILE]

For the longest track of each film: warping error of the restored crops over that of the film's
crops, by the number of crops that are averaged to each side, and by smoothing the network's style
code along the track instead (an exponential mean over so many frames). Sharpness is that of the
averaged crops over that of the network's. The milliseconds are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidrestore.contracts import AlignedFace, BlendedFrame, RestoredFace, RGBImage
from vidrestore.core.face_choice import FaceChooser
from vidrestore.core.metrics import MotionField, laplacian, warping_error
from vidrestore.core.texture import Texture, TextureFilter
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.media.read import VideoReader
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.weights import read_state
from vidrestore.pipeline import Span, restoring
from vidrestore.report import describe_machine
from vidrestore.runtime.timing import StageClock
from vidrestore.settings import BlendSettings, FaceChoice, RestoreSettings

_BOX = np.s_[40:236, 40:216]
"""Where crops are compared: the face without the hair around it."""
_REACHES = (1, 2, 3)
_CODE_FRAMES = (2, 5, 20)

Luma = npt.NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for film in arguments.films:
        faces = _longest_track(film, arguments.frames)
        rows.append({"film": film.stem, "frames": len(faces), **_measure(faces)})
        print(json.dumps(rows[-1]), flush=True)
    if arguments.json is not None:
        result = {"machine": describe_machine(), "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _longest_track(film: Path, count: int) -> list[RestoredFace]:
    settings = RestoreSettings(blend=BlendSettings(temporal=0, gates=False))
    tracks = defaultdict(list)
    with (
        VideoReader(film, settings.read) as reader,
        loaded_networks(choose_models(settings.model), settings) as (networks, _, _),
        restoring(
            reader, networks, _pass_on, Span(), settings, StageClock(), FaceChooser(FaceChoice.ALL)
        ) as frames,
    ):
        for item in frames:
            for face in item.faces:
                tracks[face.aligned.track.track_id].append(face)
            if any(len(faces) >= count for faces in tracks.values()):
                break
    return max(tracks.values(), key=len)


def _pass_on(frames: Iterator[BlendedFrame]) -> Iterator[BlendedFrame]:
    return frames


def _measure(faces: Sequence[RestoredFace]) -> dict[str, Any]:
    started = time.thread_time()
    textures = [Texture.of(face.aligned.crop, face.crop) for face in faces]
    prepared = time.thread_time() - started
    films = [texture.film for texture in textures]
    drawn = [texture.restored for texture in textures]
    # followed where the noise is low, as elsewhere when errors of motion are measured
    seen = [np.asarray(cv2.GaussianBlur(film, (0, 0), 2), np.uint8) for film in films]
    fields = [MotionField(a, b) for a, b in pairwise(seen)]
    base, film_error = _flicker(drawn, fields), _flicker(films, fields)
    links = TextureFilter(films[0].shape, max(_REACHES))
    started = time.thread_time()
    for earlier, later in pairwise(textures):
        links.link(earlier, later)
    row: dict[str, Any] = {"frame_by_frame_over_film": round(base / film_error, 3)}
    row["link_ms"] = round(1e3 * (prepared + time.thread_time() - started) / len(faces), 2)
    for reach in _REACHES:
        started = time.thread_time()
        out = []
        for k in range(len(textures)):
            first = max(0, k - reach)
            out.append(links.steadied(textures[first : k + reach + 1], k - first))
        spent = 1e3 * (time.thread_time() - started) / len(faces)
        row[f"reach_{reach}"] = {**_compare(out, drawn, fields, base), "ms": round(spent, 2)}
    codes = _with_smoothed_codes([face.aligned for face in faces])
    for frames, (plain, smoothed) in codes.items():
        # against the same network computed in the same way
        row[f"style_{frames}"] = _compare(smoothed, plain, fields, _flicker(plain, fields))
    return row


def _compare(
    out: Sequence[Luma], drawn: Sequence[Luma], fields: Sequence[MotionField], base: float
) -> dict[str, float]:
    sharpness = [
        np.mean([laplacian(image)[_BOX].std() for image in images]) for images in (out, drawn)
    ]
    return {
        "over_frame_by_frame": round(_flicker(out, fields) / base, 3),
        "sharpness": round(float(sharpness[0] / sharpness[1]), 3),
    }


def _flicker(images: Sequence[Luma], fields: Sequence[MotionField]) -> float:
    mask = np.zeros(images[0].shape, bool)
    mask[_BOX] = True
    pairs = zip(images, images[1:], fields, strict=False)
    return float(np.mean([warping_error(a, b, field, mask) for a, b, field in pairs]))


def _with_smoothed_codes(
    faces: Sequence[AlignedFace],
) -> dict[int, tuple[list[Luma], list[Luma]]]:
    """Restore with the network in torch: as it is, and with codes averaged along the track."""
    chosen = choose_models(RestoreSettings().model)
    spec = chosen.restorer
    network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    load_gpen_state(network, read_state(chosen.restorer_path, spec.weights, allow_unverified=True))
    network.eval()
    codes: list[Tensor] = []
    wanted: list[Tensor] = []

    def note_or_replace(_module: object, _args: object, code: Tensor) -> Tensor:
        if wanted:
            return wanted.pop(0)
        codes.append(code)
        return code

    network.final_linear.register_forward_hook(note_or_replace)
    plain = [_restored(network, face.crop) for face in faces]
    index = torch.arange(len(faces))
    distance = (index[:, None] - index[None, :]).abs()
    found = {}
    for frames in _CODE_FRAMES:
        weights = torch.softmax(-distance / frames, dim=1)
        wanted[:] = [row[None] for row in weights @ torch.cat(codes)]
        found[frames] = plain, [_restored(network, face.crop) for face in faces]
    return found


def _restored(network: Gpen, crop: RGBImage) -> Luma:
    image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        picture = network(image)[0].permute(1, 2, 0).numpy()
    rounded = np.clip(np.rint((picture + 1) * 127.5), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(rounded, cv2.COLOR_RGB2GRAY), np.float32)


if __name__ == "__main__":
    main()
