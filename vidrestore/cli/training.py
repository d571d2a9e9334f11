"""The commands around training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vidrestore.cli.console import say, talking
from vidrestore.cli.options import TalkOptions
from vidrestore.models.registry import Template

train_app = App(
    name="train", help="Train or fine-tune a restoring network.", help_format="plaintext"
)


@train_app.default
def train(
    config: Annotated[Path, Parameter(name="CONFIG", help="A .toml file; see docs/TRAINING.md.")],
    /,
    *,
    data: Annotated[
        Path | None, Parameter(help="Folder of faces, instead of the config's.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="Folder of the run, instead of the config's.")
    ] = None,
    resume: Annotated[
        bool | None,
        Parameter(negative="--fresh", help="Go on with the run in that folder, or begin anew."),
    ] = None,
    talk: TalkOptions | None = None,
) -> int:
    """Train a network as a config says; the result is for --model."""
    from vidrestore.train.config_file import read_config

    settings = read_config(config)
    if data is not None:
        settings = dataclasses.replace(
            settings, data=dataclasses.replace(settings.data, folder=data)
        )
    if out is not None:
        settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, folder=out))
    from vidrestore.train.loop import train as run  # after the config: it loads PyTorch

    with talking(talk or TalkOptions()):
        model = run(settings, resume=resume)
    say(f"{model}: use it with vidrestore IN OUT --model {model}")
    return 0


@train_app.command
def align(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Photographs; they are only read.")],
    target: Annotated[Path, Parameter(name="OUT", help="Folder for the faces.")],
    /,
    *,
    size: Annotated[int, Parameter(help="Side of the faces in pixels.")] = 256,
    template: Annotated[Template, Parameter(help="Where eyes and mouth lie.")] = Template.FFHQ,
    smallest: Annotated[
        float, Parameter(help="Leave out faces that cover fewer pixels, as a share of SIZE.")
    ] = 0.75,
    talk: TalkOptions | None = None,
) -> int:
    """Cut the faces out of photographs, for training."""
    from vidrestore.train.align import align_folder

    with talking(talk or TalkOptions()):
        counts = align_folder(folder, target, size=size, template=template, smallest=smallest)
    say(
        f"{counts.faces} faces from {counts.images} images in {target}; "
        f"{counts.unreadable} images unreadable, {counts.without_face} without a face, "
        f"{counts.too_small} faces too small"
    )
    return 0
