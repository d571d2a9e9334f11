"""Draws what the degradations do to a few faces: the pictures of the documentation.

``python benchmarks/show_degradations.py FOLDER [--prefix faker_] [--out docs/pictures]`` writes
``degradations-blind.jpg`` and ``degradations-tape.jpg``. Each row is a face: clean at the left,
then draws of one family, from the least to the most destroyed. The last column of ``tape`` has
the head switch in view.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.train.degrade import FAMILIES, degrade_image
from vidrestore.train.tape import TapeDegradation, draw_tape

ROWS, DRAWS, SIDE = 3, 5, 256
QUALITY = 78


def read_faces(folder: Path, prefix: str) -> list[RGBImage]:
    """Read the first faces of a folder, in the order of their names."""
    faces: list[RGBImage] = []
    for path in sorted(folder.glob(f"{prefix}*")):
        bgr = cv2.imread(str(path))
        if bgr is not None and bgr.shape == (SIDE, SIDE, 3):
            faces.append(np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8))
        if len(faces) == ROWS:
            return faces
    raise SystemExit(f"{folder} has {len(faces)} faces {prefix}* of {SIDE}x{SIDE}; {ROWS} needed")


def torn_tape(face: RGBImage, seed: int) -> RGBImage:
    """Degrade with ``tape`` and show the head switch, which few crops have."""
    rng = np.random.default_rng(seed)
    drawn = draw_tape(rng).parameters
    parameters = replace(drawn, is_head_switch_in_crop=True, tilt_degrees=0.0, source_px=160)
    return TapeDegradation(parameters).apply([face], rng)[0]


def draw_sheet(faces: list[RGBImage], family: str) -> RGBImage:
    """Lay out one row for each face."""
    rows = []
    for index, face in enumerate(faces):
        first = 100 * index
        draws = [degrade_image(face, family, first + n) for n in range(DRAWS)]
        draws.sort(key=partial(cv2.PSNR, face), reverse=True)
        if family == "tape":
            draws[-1] = torn_tape(face, first)
        rows.append(np.hstack([face, *draws]))
    return np.vstack(rows)


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prefix", default="faker_")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    faces = read_faces(arguments.folder, arguments.prefix)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        path = arguments.out / f"degradations-{family}.jpg"
        bgr = draw_sheet(faces, family)[:, :, ::-1]
        cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
