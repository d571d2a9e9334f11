"""Measures how steady restored faces are: on clips with known motion, and on real ones.

    python benchmarks/bench_steadiness.py [--faces DIR] [--clips DIR] [--frames 75] [--num-faces 1]
        [--json FILE] [--plots DIR]

Each clip of ``moving_faces`` goes through a simulated tape of its own, recorded in fields and with
no more than the luma band of VHS; then the whole program restores it in several variants, and
``evaluate_film`` measures each. Without ``--faces`` the face is the astronaut of scikit-image. Real
clips have no truth: what needs one is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from moving_faces import PATHS, RATE, Clip, aligned_faces, film, write_film

from vidrestore import (
    Deinterlace,
    EncodeSettings,
    ModelSettings,
    Moment,
    ReadSettings,
    RestoreSettings,
    TimeSpan,
    VideoCodec,
    restore_video,
)
from vidrestore.core.geometry import similarity_transform
from vidrestore.evaluate.film_faces import parse_report
from vidrestore.evaluate.video import FilmMeasures, evaluate_film
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.read import VideoReader
from vidrestore.models.registry import Template, landmark_template
from vidrestore.report import describe_machine, describe_versions, plain
from vidrestore.train.degrade import degrade_clip, draw
from vidrestore.train.tape import Deinterlacing, TapeParameters

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "frame by frame": {"blend": {"temporal": 0.0}},
    "no gates": {"blend": {"gates": False}},
    "default": {},
    "lookahead 0": {"track": {"lookahead": 0}},
}
"""Settings that differ from the defaults, by group."""

_BASE = RestoreSettings(
    read=ReadSettings(deinterlace=Deinterlace.OFF),
    encode=EncodeSettings(codec=VideoCodec.FFV1, overwrite=True),
    resume=False,
    record_landmarks=True,
)
_SUFFIXES = {".mp4", ".mkv", ".mov", ".mpg", ".avi"}
_SLICE_CROP = 256
_SAMPLES_MHZ = 13.5
"""Of luma, ITU-R BT.601."""
_VHS_MHZ = 3.2

Slice = npt.NDArray[np.uint8]


def settings_of(variant: str, model: str) -> RestoreSettings:
    """Return the settings of a run."""
    settings = replace(_BASE, model=ModelSettings(name=model))
    for group, values in VARIANTS[variant].items():
        settings = replace(settings, **{group: replace(getattr(settings, group), **values)})
    return settings


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="pictures aligned to the FFHQ template")
    parser.add_argument("--num-faces", type=int, default=1)
    parser.add_argument("--clips", type=Path, help="real films, four seconds of each")
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--paths", nargs="*", default=list(PATHS), choices=list(PATHS))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = bench_known_motion(arguments, Path(folder))
        if arguments.clips is not None:
            rows += bench_clips(arguments, Path(folder))
    print_summary(rows)
    if arguments.json is not None:
        facts = {"machine": describe_machine(), "versions": describe_versions()}
        result = {**facts, "frames": arguments.frames, "variants": VARIANTS, "rows": rows}
        arguments.json.write_text(json.dumps(plain(result), indent=2) + "\n", encoding="utf-8")


def bench_known_motion(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Render, degrade, restore and measure the clips whose motion is known."""
    rows = []
    base = settings_of("default", arguments.model)
    with loaded_detector(choose_models(base.model), base.model, base.detect) as (detector, _, _):
        portraits = aligned_faces(arguments.faces, detector, arguments.num_faces)
        times = np.arange(arguments.frames) / RATE
        clips = {
            f"{name} {number}": film(portrait, PATHS[name](times), detector, number)
            for number, portrait in enumerate(portraits)
            for name in arguments.paths
        }
    for seed, (name, clip) in zip(vhs_seeds(), clips.items(), strict=False):
        truth = write_film(folder / "truth.mkv", clip.frames)
        tape = write_film(folder / "tape.mkv", degrade_clip(clip.frames, "tape", seed))
        slices = {"truth": slice_of(truth, clip), "tape": slice_of(tape, clip)}
        for variant in VARIANTS:
            settings = settings_of(variant, arguments.model)
            out = folder / "out.mkv"
            report = plain(dataclasses.asdict(restore_video(tape, out, settings)))
            found = evaluate_film(
                tape,
                out,
                truth,
                report=parse_report(report),
                true_landmarks=clip.landmarks,
                settings=settings,
            )
            rows.append(describe(name, variant, found, report))
            slices[variant] = slice_of(out, clip)
            if arguments.plots is not None:
                plot_paths(arguments.plots, f"{name} {variant}", clip, report)
        if arguments.plots is not None:
            plot_slices(arguments.plots, name, slices)
    return rows


def vhs_seeds() -> Iterator[int]:
    """Yield the seeds of tapes as VHS is: recorded in fields, with 3 MHz of luma at most."""
    for seed in count():
        drawn = draw("tape", np.random.default_rng(seed)).parameters
        assert isinstance(drawn, TapeParameters)
        is_interlaced = drawn.deinterlacing is not Deinterlacing.NONE
        if is_interlaced and drawn.luma_cutoff * _SAMPLES_MHZ <= _VHS_MHZ:
            yield seed


def bench_clips(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Restore and measure the first four seconds of real clips."""
    rows = []
    for path in sorted(p for p in arguments.clips.iterdir() if p.suffix in _SUFFIXES):
        for variant in VARIANTS:
            settings = settings_of(variant, arguments.model)
            settings = replace(settings, span=TimeSpan(end=Moment(seconds=Fraction(4))))
            out = folder / "out.mkv"
            report = plain(dataclasses.asdict(restore_video(path, out, settings)))
            found = evaluate_film(path, out, report=parse_report(report), settings=settings)
            rows.append(describe(path.stem, variant, found, report))
    return rows


def describe(
    clip: str, variant: str, found: FilmMeasures, report: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a row of the table and print its heart."""
    busy = {stage["name"]: stage["busy_seconds"] for stage in report["timings"]["stages"]}
    row = {"clip": clip, "variant": variant, **found.to_plain()}
    row["wall_seconds"] = report["timings"]["wall_seconds"]
    row["busy_seconds"] = busy
    print(" ".join(f"{head} {text}" for head, text in cells(row).items()), flush=True)
    return row


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what of a row is printed."""
    before, after, paths = row["original"], row["restored"], row["landmarks"]
    shown = {
        "E_warp/in": row["warping_ratio"],
        "sharp/in": row["sharpness_ratio"],
        "in/truth": before["lasting_sharpness"] if row["truth"] else None,
        "sharp/truth": after["lasting_sharpness"] if row["truth"] else None,
        "dB in": before["psnr_db"],
        "dB out": after["psnr_db"],
        "pump in": before["luma_pumping"],
        "pump out": after["luma_pumping"],
        "id var in": before["identity_variation"],
        "id var out": after["identity_variation"],
        "step": row["largest_strength_step"],
        "err raw": paths["error_raw_px"],
        "err": paths["error_smoothed_px"],
        "jit raw": paths["jitter_raw_px"],
        "jit": paths["jitter_smoothed_px"],
    }
    known = {head: "-" if v is None else f"{v:.3f}" for head, v in shown.items()}
    return {"clip": row["clip"], "variant": row["variant"], **known}


def print_summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print all rows as a Markdown table."""
    table = [cells(row) for row in rows]
    print("\n| " + " | ".join(table[0]) + " |\n|" + " --- |" * len(table[0]))
    for line in table:
        print("| " + " | ".join(line.values()) + " |")


def slice_of(path: Path, clip: Clip) -> Slice:
    """Return the middle column of the face, one column a frame: (256, frames, 3).

    The face is cut out where it truly is; so what does not lie level trembles.
    """
    template = landmark_template(Template.FFHQ, _SLICE_CROP)
    columns = []
    with VideoReader(path, _BASE.read) as reader:
        for frame, landmarks in zip(reader.frames(), clip.landmarks, strict=True):
            crop_from_frame = similarity_transform(landmarks, template)
            assert crop_from_frame is not None
            picture = frame.render_rgb(frame.geometry.width, frame.geometry.height)
            crop = cv2.warpAffine(picture, crop_from_frame, (_SLICE_CROP, _SLICE_CROP))
            # through an eye, where a trembling face shows first
            columns.append(crop[:, round(float(template[0, 0]))])
    return np.stack(columns, axis=1).astype(np.uint8)


def plot_slices(folder: Path, name: str, slices: Mapping[str, Slice]) -> None:
    """Write the slices of all variants beside each other."""
    parts = []
    for title, picture in slices.items():
        wide = cv2.resize(picture, None, fx=4, fy=2, interpolation=cv2.INTER_NEAREST)
        head = np.full((24, wide.shape[1], 3), 255, np.uint8)
        cv2.putText(head, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        parts += [np.concatenate([head, wide]), np.full((536, 6, 3), 255, np.uint8)]
    folder.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate(parts, axis=1)
    cv2.imwrite(str(folder / f"slice-{name.replace(' ', '-')}.png"), sheet[..., ::-1])


def plot_paths(folder: Path, name: str, clip: Clip, report: Mapping[str, Any]) -> None:
    """Plot how far the nose is off, detected and smoothed, in pixels of the frame."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(10, 5), sharex=True)
    for track in report["tracks"]:
        rows = [(round(row["time"] * RATE), row) for row in track["frames"]]
        for axis, label in enumerate(("x", "y")):
            truth = {k: float(clip.landmarks[k][2, axis]) for k, _ in rows}
            seen = [(k, row["raw"][2][axis] - truth[k]) for k, row in rows if row["raw"]]
            shown = [(k, row["smoothed"][2][axis] - truth[k]) for k, row in rows]
            axes[axis].plot(*zip(*seen, strict=True), ".-", linewidth=0.6, label="detected")
            axes[axis].plot(*zip(*shown, strict=True), linewidth=1.6, label="smoothed")
            axes[axis].set_ylabel(f"nose {label} off, px")
            axes[axis].axhline(0, color="black", linewidth=0.5)
    axes[0].legend()
    axes[1].set_xlabel("frame")
    figure.suptitle(name)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"path-{name.replace(' ', '-')}.png", dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
