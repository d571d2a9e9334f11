"""Measures restoring models on both families of damage, and holds them against the aims.

    python benchmarks/bench_models.py FACES [MODEL ...] [--json FILE] [--sheets FOLDER]

FACES is a folder of aligned faces (FFHQ) that no model has seen. The two sets are recipes, not
files: 128 faces drawn by seed 0, damaged by ``degrade_image`` of the families ``blind`` and
``tape``, each with a seed that follows from 0 and its place. Needs the extra ``metrics``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from vidrestore.cli.evaluation import model_table
from vidrestore.evaluate.judging import Row
from vidrestore.evaluate.models import INPUT, evaluate_models
from vidrestore.evaluate.pictures import load_pictures
from vidrestore.evaluate.sheet import contact_sheet, write_png
from vidrestore.report import describe_machine, describe_versions
from vidrestore.settings import ModelSettings
from vidrestore.train.degrade import FAMILIES, degrade_image

COUNT: Final = 128
SEED: Final = 0


def aims(row: Row, damaged: Row) -> dict[str, bool | None]:
    """Say which aims a model reaches; None where the measure is not installed."""
    mean = row.mean
    ratios = (row.st_lpips_ratio, row.identity_ratio, row.identity_worse_share, mean.clean_psnr_db)
    lpips, identity, worse, kept = ratios
    return {
        "ST-LPIPS at most .65 of the input's": None if lpips is None else lpips <= 0.65,
        "sharpness .60 to 1.10": 0.60 <= mean.sharpness <= 1.10,
        "PSNR at least .5 dB above the input's": mean.psnr_db >= damaged.mean.psnr_db + 0.5,
        "SSIM above the input's": mean.ssim > damaged.mean.ssim,
        "identity at most .8 of the input's distance": None
        if identity is None
        else identity <= 0.8,
        "identity worse in at most 10 % of the faces": None if worse is None else worse <= 0.1,
        "colours moved by at most 1.5 levels": mean.colour_shift <= 1.5,
        "clean faces kept at 34 dB": None if kept is None else kept >= 34,
    }


def measure(folder: Path, family: str, models: list[str], sheets: Path | None) -> dict[str, Any]:
    """Measure the models on one family; print the table and what they miss."""
    pictures = load_pictures(folder, lambda x, k: degrade_image(x, family, k), COUNT, SEED)
    settings = ModelSettings(allow_unverified=True)
    found = evaluate_models(pictures, models, settings, with_clean=True)
    print(f"\n{family}, {len(pictures.pairs)} faces")
    print("\n".join(model_table(found.rows)))
    damaged = next(row for row in found.rows if row.name == INPUT)
    reached = {}
    for row in found.rows:
        if row.mean.clean_psnr_db is None:
            continue  # the input and the baselines
        reached[row.name] = aims(row, damaged)
        for aim, is_reached in reached[row.name].items():
            if not is_reached:
                print(f"{row.name} misses: {aim}" if is_reached is False else f"unknown: {aim}")
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        columns = [(result.name, result.images) for result in found.results]
        columns.append(("clean", tuple(pair.clean for pair in pictures.pairs)))
        write_png(sheets / f"{family}.png", contact_sheet(columns))
    return {**found.to_plain(), "reached": reached}


def main() -> None:
    """Measure both families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", type=Path)
    parser.add_argument("models", nargs="*", help="names or files; none: all that are installed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of each family")
    arguments = parser.parse_args()
    found = {
        family: measure(arguments.faces, family, arguments.models, arguments.sheets)
        for family in FAMILIES
    }
    if arguments.json:
        facts: dict[str, Any] = {"machine": describe_machine(), "versions": describe_versions()}
        for family in found.values():
            for row in family["rows"]:
                del row["pictures"]  # names of files are the owner's
        facts |= {"count": COUNT, "seed": SEED, "families": found}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
