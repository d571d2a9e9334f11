from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vidrestore.errors import SettingsError
from vidrestore.settings import FaceChoice, Moment, TimeSpan
from vidrestore.web.choices import Choices, Whom, installed_models

FILE = Path("people.toml")


def test_nothing_chosen_is_what_the_program_does_by_itself() -> None:
    chosen = Choices(Whom.ALL, [3], 1.0, "auto", None, " ")
    settings = chosen.settings(FILE, chosen.span())
    assert settings.blend.faces is FaceChoice.ALL
    assert settings.blend.faces_file is None
    assert settings.span == TimeSpan()


def test_what_is_chosen_is_done() -> None:
    chosen = Choices(Whom.SOME, [5, 2], 0.4, "some-model", "1:30 ", "@2500")
    settings = chosen.settings(FILE, TimeSpan(Moment(Fraction(1)), None))
    assert settings.blend.faces == (2, 5)
    assert settings.blend.faces_file == FILE
    assert settings.blend.strength == 0.4
    assert settings.model.name == "some-model"
    assert chosen.span() == TimeSpan(Moment(Fraction(90)), Moment(frame=2500))
    largest = Choices(Whom.LARGEST, [], 1.0, "auto", "", "").settings(FILE)
    assert largest.blend.faces is FaceChoice.LARGEST


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(SettingsError, match="whose faces"):
        Choices(Whom.SOME, [], 1.0, "auto", "", "").settings(FILE)
    with pytest.raises(SettingsError, match="soon"):
        Choices(Whom.ALL, [], 1.0, "auto", "soon", "").span()


def test_the_model_that_comes_with_the_program_is_offered() -> None:
    assert "vidrestore-lite-256" in installed_models()
