"""The command that writes a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vidrestore.cli.console import say, talking
from vidrestore.cli.options import OUTPUT, AllowUnverified, TalkOptions, WeightsDir
from vidrestore.settings import ModelSettings


def export(
    model: Annotated[str, Parameter(name="MODEL", help="Name in `weights list`, or a file.")],
    target: Annotated[Path, Parameter(name="OUT", help="The file to be, .onnx.")],
    /,
    *,
    overwrite: Annotated[
        bool,
        Parameter(group=OUTPUT, negative="", show_default=False, help="Replace an existing file."),
    ] = False,
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    talk: TalkOptions | None = None,
) -> int:
    """Write a restoring model as ONNX, for other programs.

    What the file computes is compared with PyTorch. It takes a minute or two.
    """
    from vidrestore.jobs.exporting import export_model

    talk = talk or TalkOptions()
    settings = ModelSettings(name=model, weights_dir=weights_dir, allow_unverified=allow_unverified)
    with talking(talk):
        made, licence = export_model(settings, target, overwrite=overwrite)
    if not talk.quiet:
        say(
            f"{made.path}: {made.num_bytes / 1e6:.1f} MB, opset {made.opset}; 'crops' to "
            "'restored', both (n, S, S, 3) uint8 RGB; differs from PyTorch by at most "
            f"{made.max_difference} of 255 levels"
        )
        say(f"licence of the weights: {licence}")
    return 0
