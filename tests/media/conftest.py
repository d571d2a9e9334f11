"""Clips are made once for the whole run; tests must not change them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.synthetic import Clip, make_clip

ClipMaker = Callable[[str, Clip], Path]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipMaker:
    """``clip(name, recipe)``: the path of a clip; the suffix chooses the container."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, recipe: Clip) -> Path:
        key = (name, repr(recipe))
        if key not in made:
            (folder / str(len(made))).mkdir()
            made[key] = make_clip(folder / str(len(made)) / name, recipe)
        return made[key]

    return make
