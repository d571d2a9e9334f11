"""The commands that measure: models on pictures, and one film against another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from vidrestore.cli.console import complain, say, talking
from vidrestore.cli.options import MAIN, OUTPUT, AllowUnverified, TalkOptions, WeightsDir
from vidrestore.errors import OutputError, SettingsError
from vidrestore.settings import ModelSettings

if TYPE_CHECKING:
    from vidrestore.evaluate.judging import Row
    from vidrestore.evaluate.video import FilmMeasures

evaluate_app = App(
    name="evaluate",
    help="Measure models, or a restored film.",
    help_format="plaintext",
)

_DASH = "-"

JsonOut = Annotated[Path | None, Parameter(name="--json", group=OUTPUT, help="Write the numbers.")]


@evaluate_app.default
def evaluate(
    *models: Annotated[
        str, Parameter(name="MODEL", help="Names or weights files; none: all that are installed.")
    ],
    data: Annotated[Path, Parameter(group=MAIN, help="Folder of faces, aligned (FFHQ), square.")],
    degrade: Annotated[
        Literal["blind", "tape"], Parameter(group=MAIN, help="How they are made bad.")
    ],
    count: Annotated[int, Parameter(group=MAIN, help="Pictures drawn at most.")] = 128,
    seed: Annotated[int, Parameter(group=MAIN, help="Same seed, same numbers.")] = 0,
    clean: Annotated[
        bool,
        Parameter(
            group=MAIN, negative="", show_default=False, help="Also restore the clean pictures."
        ),
    ] = False,
    json_out: JsonOut = None,
    sheet: Annotated[
        Path | None, Parameter(group=OUTPUT, help="Write a contact sheet (PNG) of 64 faces.")
    ] = None,
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    talk: TalkOptions | None = None,
) -> int:
    """Measure models on degraded pictures of faces."""
    from vidrestore.evaluate.models import evaluate_models
    from vidrestore.evaluate.pictures import load_pictures
    from vidrestore.evaluate.sheet import contact_sheet, write_png
    from vidrestore.train.degrade import degrade_image

    if count < 1 or seed < 0:
        raise SettingsError(f"count is {count}, seed {seed}: use at least 1 and at least 0")
    settings = ModelSettings(weights_dir=weights_dir, allow_unverified=allow_unverified)
    with talking(talk or TalkOptions(quiet=True)):
        pictures = load_pictures(data, lambda x, k: degrade_image(x, degrade, k), count, seed)
        found = evaluate_models(pictures, models, settings, with_clean=clean)
    say("\n".join(model_table(found.rows)))
    for note in found.notes:
        complain(note)
    facts = {"data": data.name, "degrade": degrade, "seed": seed}
    _write_json(json_out, {**_preamble(), **facts, **found.to_plain()})
    if sheet is not None:
        columns = [(result.name, result.images) for result in found.results]
        columns.append(("clean", tuple(pair.clean for pair in pictures.pairs)))
        write_png(sheet, contact_sheet(columns))
    return 0


@evaluate_app.command(name="video")
def evaluate_video(
    original: Annotated[Path, Parameter(name="ORIGINAL", help="The film that was restored.")],
    restored: Annotated[Path, Parameter(name="RESTORED", help="What came of it.")],
    /,
    *,
    truth: Annotated[
        Path | None, Parameter(group=MAIN, help="The same film before it was degraded.")
    ] = None,
    landmarks: Annotated[
        Path | None, Parameter(group=MAIN, help="True landmarks of each frame (JSON).")
    ] = None,
    report: Annotated[
        Path | None,
        Parameter(group=MAIN, help="The run's report, made with --report-landmarks."),
    ] = None,
    json_out: JsonOut = None,
    talk: TalkOptions | None = None,
) -> int:
    """Measure how steady, sharp and true the faces of a restored film are."""
    from vidrestore.evaluate.film_faces import read_landmarks, read_report
    from vidrestore.evaluate.video import evaluate_film

    with talking(talk or TalkOptions(quiet=True)):
        found = evaluate_film(
            original,
            restored,
            truth,
            report=None if report is None else read_report(report),
            true_landmarks=() if landmarks is None else read_landmarks(landmarks),
        )
    say("\n".join(film_lines(found)))
    for note in found.notes:
        complain(note)
    _write_json(json_out, {**_preamble(), "original": original.name, **found.to_plain()})
    return 0


def film_lines(found: FilmMeasures) -> list[str]:
    """Return what ``evaluate video`` prints, as lines."""
    sides = [("original", found.original), ("restored", found.restored)]
    if found.truth is not None:
        sides.append(("truth", found.truth))
    table: list[dict[str, float | None]] = [
        {
            "E_warp": side.warping_error,
            "detail": side.lasting_detail,
            "/best": side.lasting_sharpness,
            "pumping": side.luma_pumping,
            "PSNR dB": side.psnr_db,
            "sharpness": side.sharpness,
            "identity": side.identity_distance,
            "variation": side.identity_variation,
        }
        for _, side in sides
    ]
    paths = found.landmarks
    single: dict[str, float | None] = {
        "E_warp, restored over original": found.warping_ratio,
        "lasting detail, restored over original": found.sharpness_ratio,
        "largest step of strength": found.largest_strength_step,
        "landmark error of detections, px of 512": paths.error_raw_px,
        "landmark error smoothed, px of 512": paths.error_smoothed_px,
        "landmark jitter of detections, px of 512": paths.jitter_raw_px,
        "landmark jitter smoothed, px of 512": paths.jitter_smoothed_px,
    }
    wide = max(map(len, single))
    return [
        *_lines([name for name, _ in sides], table),
        "",
        *(f"{name:<{wide}}  {value:.3f}" for name, value in single.items() if value is not None),
        f"{'frames':<{wide}}  {found.num_frames}",
    ]


def model_table(rows: Sequence[Row]) -> list[str]:
    """Return the table of ``evaluate`` as lines; columns that nobody measured are left out."""
    table: list[dict[str, float | None]] = [
        {
            "PSNR dB": row.mean.psnr_db,
            "SSIM": row.mean.ssim,
            "sharpness": row.mean.sharpness,
            "gradient": row.mean.gradient_error,
            "colour": row.mean.colour_shift,
            "ST-LPIPS": row.mean.st_lpips,
            "/input": row.st_lpips_ratio,
            "Frechet": row.frechet_distance,
            "identity": row.mean.identity_distance,
            "/ input": row.identity_ratio,
            "worse": row.identity_worse_share,
            "clean dB": row.mean.clean_psnr_db,
        }
        for row in rows
    ]
    return _lines([row.name for row in rows], table)


def _lines(names: Sequence[str], table: Sequence[Mapping[str, float | None]]) -> list[str]:
    heads = [head for head in table[0] if any(row[head] is not None for row in table)]
    wide = max(len(name) for name in names)
    lines = [" " * wide + "".join(f"{head:>11}" for head in heads)]
    for name, row in zip(names, table, strict=True):
        cells = (_cell(row[head]) for head in heads)
        lines.append(f"{name:<{wide}}" + "".join(f"{cell:>11}" for cell in cells))
    return lines


def _cell(value: float | None) -> str:
    if value is None:
        return _DASH
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1e}"


def _preamble() -> dict[str, Any]:
    from vidrestore.report import describe_versions

    return {"schema_version": 1, "versions": describe_versions()}


def _write_json(path: Path | None, facts: Mapping[str, Any]) -> None:
    from vidrestore.report import plain

    if path is None:
        return
    try:
        path.write_text(json.dumps(plain(facts), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
