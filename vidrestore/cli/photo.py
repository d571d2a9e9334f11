"""The command for photographs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidrestore.cli.console import say, talking
from vidrestore.cli.options import (
    ModelOptions,
    PhotoOptions,
    RangeOptions,
    RestoreOptions,
    TalkOptions,
)
from vidrestore.errors import SettingsError
from vidrestore.settings import PhotoSettings, RestoreSettings

if TYPE_CHECKING:  # the jobs load the networks, which --help does not need
    from vidrestore.jobs.photo_results import PhotoResult

_OURS = frozenset({"strength", "faces", "overwrite", "gates", "detect_threshold"})
"""Options of a film's run that a photograph has too."""


def photo(
    source: Annotated[Path, Parameter(name="IN", help="The photograph; it is only read.")],
    target: Annotated[Path, Parameter(name="OUT", help=".jpg, .png, .webp, .bmp or .tif.")],
    /,
    *,
    options: PhotoOptions | None = None,
    model: ModelOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Restore the faces of a photograph, or make an ID photo.

    vidrestore photo in.jpg out.jpg

    vidrestore photo in.jpg out.jpg --id-photo 35x45 --background-colour white
    """
    options, talk = options or PhotoOptions(), talk or TalkOptions()
    settings = options.settings((model or ModelOptions()).settings())
    id_photo = options.id_photo_settings()
    if id_photo is None:
        _restore(source, target, settings, PhotoSettings(options.aligned, options.crops), talk)
        return 0
    from vidrestore.jobs.id_photo import make_id_photo

    with talking(talk):
        made = make_id_photo(source, target, settings, id_photo)
        if not talk.quiet:
            width, height = made.size
            held = f", {made.face.held_back}" if made.face.held_back else ""
            say(
                f"{made.path}: {width}x{height} pixels at 300 dpi; face shown at "
                f"{made.face.strength:.0%}{held}; cut out by {made.matting}; "
                f"{made.seconds:.1f} s"
            )
    return 0


def restore_as_photo(
    source: Path,
    target: Path,
    span: RangeOptions,
    model: ModelOptions,
    options: RestoreOptions,
    talk: TalkOptions,
) -> int:
    """Restore a photograph that was given where a film is expected.

    Raises:
        SettingsError: An option asks for what a photograph does not have.
    """
    foreign = [*_differing(span, RangeOptions(), ()), *_differing(options, RestoreOptions(), _OURS)]
    if foreign:
        are = "is" if len(foreign) == 1 else "are"
        raise SettingsError(f"{source} is a photograph: {', '.join(foreign)} {are} for films")
    settings = options.settings(span.span(), model.settings())
    _restore(source, target, settings, PhotoSettings(), talk)
    return 0


def _differing(options: Any, defaults: Any, common: Container[str]) -> list[str]:  # noqa: ANN401
    """Return the words of the options that were set, the common ones left out."""
    names = [f.name for f in dataclasses.fields(defaults) if f.name not in common]
    changed = [name for name in names if getattr(options, name) != getattr(defaults, name)]
    return [f"--{name.replace('_', '-')}" for name in changed]


def _restore(
    source: Path,
    target: Path,
    settings: RestoreSettings,
    photo_settings: PhotoSettings,
    talk: TalkOptions,
) -> None:
    from vidrestore.jobs.photo import restore_photo

    with talking(talk):
        result = restore_photo(source, target, settings, photo_settings)
        if not talk.quiet:
            say(f"{result.path}: {summary(result)}")


def summary(result: PhotoResult) -> str:
    """Say in one line what became of a photograph."""
    if not result.faces:
        return f"no faces found; {result.seconds:.1f} s"
    shown = sum(face.strength > 0 for face in result.faces)
    parts = [f"{shown} of {len(result.faces)} faces restored"]
    reasons = Counter(
        ("in part" if face.strength > 0 else "left alone", face.held_back)
        for face in result.faces
        if face.held_back is not None
    )
    parts += [f"{count} {how} ({reason})" for (how, reason), count in reasons.items()]
    return "; ".join([*parts, *result.notes, f"{result.seconds:.1f} s"])
