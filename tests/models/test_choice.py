"""Which model a run uses, and the sentence that says so."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vidrestore.errors import (
    SettingsError,
    WeightsCorruptError,
    WeightsError,
    WeightsNotFoundError,
)
from vidrestore.models import weights as weights_module
from vidrestore.models.choice import pick_detector, pick_restorer, spec_for_file
from vidrestore.models.gpen import Gpen
from vidrestore.models.registry import DETECTORS, RESTORERS, Template
from vidrestore.models.weights import WeightsStore, sha256_of
from vidrestore.settings import ModelSettings

LITE = RESTORERS["vidrestore-lite-256"]


@pytest.fixture(autouse=True)
def _nothing_else_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_module, "user_weights_dir", lambda: tmp_path / "user")
    monkeypatch.delenv("VIDRESTORE_WEIGHTS", raising=False)


def with_files(folder: Path, *names: str) -> ModelSettings:
    for name in names:
        (folder / name).write_bytes(b"not opened when choosing")
    return ModelSettings(weights_dir=folder)


def tiny_gpen(channel_multiplier: int = 1, narrow: float = 0.03125) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = Gpen(64, 32, 2, channel_multiplier, narrow)
    return {name: value.contiguous() for name, value in network.state_dict().items()}


def test_auto_takes_our_own_model_and_names_a_better_one():
    spec, path, reason = pick_restorer(ModelSettings())
    assert spec is LITE
    assert path == WeightsStore().locate(LITE)
    assert "vidrestore-lite-256" in reason
    assert "weights fetch gpen-bfr-512" in reason
    assert "non-commercial" in reason


def test_auto_takes_the_best_that_is_installed(tmp_path):
    spec, path, reason = pick_restorer(with_files(tmp_path, "GPEN-BFR-256.pth"))
    assert spec.name == "gpen-bfr-256"
    assert path == tmp_path / "GPEN-BFR-256.pth"
    assert "gpen-bfr-512" in reason
    spec, _, reason = pick_restorer(with_files(tmp_path, "GPEN-BFR-512.pth"))
    assert spec.name == "gpen-bfr-512"
    assert "fetch" not in reason


def test_auto_never_takes_a_model_that_is_only_for_those_who_name_it(tmp_path):
    settings = with_files(tmp_path, "GPEN-BFR-2048.pth", "detection_Resnet50_Final.pth")
    assert pick_restorer(settings)[0] is LITE
    assert pick_detector(settings)[0].name == "retinaface-tiny"


def test_auto_without_any_model_says_how_to_get_the_simplest(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_module, "_own_weights_dir", lambda: tmp_path / "nothing")
    with pytest.raises(WeightsNotFoundError, match=r"vidrestore-lite-256.*reinstall"):
        pick_restorer(with_files(tmp_path, "GPEN-BFR-2048.pth"))


def test_auto_prefers_the_official_detector_where_it_is_installed(tmp_path):
    spec, path, reason = pick_detector(with_files(tmp_path, "detection_mobilenet0.25_Final.pth"))
    assert spec.name == "retinaface-mobile0.25"
    assert path.parent == tmp_path
    assert "retinaface-mobile0.25" in reason


def test_a_name_is_taken_at_its_word(tmp_path):
    settings = with_files(tmp_path, "GPEN-BFR-512.pth", "GPEN-BFR-256.pth")
    named = ModelSettings(name="gpen-bfr-256", detector="retinaface-tiny", weights_dir=tmp_path)
    assert pick_restorer(settings)[0].name == "gpen-bfr-512"
    assert pick_restorer(named)[0].name == "gpen-bfr-256"
    assert pick_detector(named)[0] is DETECTORS["retinaface-tiny"]


def test_a_name_that_is_not_installed_or_unknown_is_an_error():
    with pytest.raises(WeightsNotFoundError, match="weights fetch gpen-bfr-1024"):
        pick_restorer(ModelSettings(name="gpen-bfr-1024"))
    with pytest.raises(WeightsNotFoundError, match="weights fetch retinaface-resnet50"):
        pick_detector(ModelSettings(detector="retinaface-resnet50"))
    with pytest.raises(SettingsError, match="unknown model 'best'"):
        pick_restorer(ModelSettings(name="best"))
    with pytest.raises(SettingsError, match="unknown detector 'yolo'"):
        pick_detector(ModelSettings(detector="yolo"))


def test_a_known_file_is_recognised_under_any_name(tmp_path):
    copy = tmp_path / "downloaded.safetensors"
    copy.write_bytes(WeightsStore().locate(LITE).read_bytes())
    spec, path, reason = pick_restorer(ModelSettings(name=str(copy)))
    assert spec is LITE
    assert path == copy
    assert str(copy) in reason


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"gone\.pth"):
        pick_restorer(ModelSettings(name=str(tmp_path / "gone.pth")))


def test_a_pickle_of_ones_own_needs_consent_and_safetensors_do_not(tmp_path):
    state = tiny_gpen()
    torch.save({"g_ema": state}, tmp_path / "mine.pth")
    save_file(state, tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError, match="--allow-unverified"):
        pick_restorer(ModelSettings(name=str(tmp_path / "mine.pth")))
    for settings in (
        ModelSettings(name=str(tmp_path / "mine.pth"), allow_unverified=True),
        ModelSettings(name=str(tmp_path / "mine.safetensors")),
    ):
        spec, path, _ = pick_restorer(settings)
        assert spec.name == "mine"
        assert (spec.size, spec.style_dim, spec.n_mlp) == (64, 32, 2)
        assert (spec.channel_multiplier, spec.narrow) == (1, 0.03125)
        assert spec.weights.sha256 == sha256_of(path)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, Template.GPEN),
        ({"size": "64"}, Template.GPEN),
        ({"template": "ffhq"}, Template.FFHQ),
    ],
)
def test_the_file_may_say_which_template_it_wants(tmp_path, metadata, expected):
    path = tmp_path / "mine.safetensors"
    save_file(tiny_gpen(), path, metadata=metadata)
    assert pick_restorer(ModelSettings(name=str(path)))[0].template is expected


def test_an_unknown_template_is_an_error(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(tiny_gpen(), path, metadata={"template": "arcface"})
    with pytest.raises(WeightsCorruptError, match="arcface"):
        pick_restorer(ModelSettings(name=str(path)))


@pytest.mark.parametrize("spec", [pytest.param(s, id=s.name) for s in RESTORERS.values()])
def test_shapes_tell_the_same_as_the_registry(tmp_path, spec):
    with torch.device("meta"):
        network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    path = tmp_path / "any.pth"
    path.write_bytes(b"")
    inferred = spec_for_file(path, network.state_dict())
    for field in ("size", "style_dim", "n_mlp", "channel_multiplier", "narrow"):
        assert getattr(inferred, field) == getattr(spec, field)


@pytest.mark.parametrize(
    ("size", "channel_multiplier", "narrow"), [(64, 1, 0.15), (128, 2, 0.15), (128, 1, 0.25)]
)
def test_small_and_truncated_networks_are_reproduced(tmp_path, size, channel_multiplier, narrow):
    (tmp_path / "any.pth").write_bytes(b"")
    with torch.device("meta"):
        original = Gpen(size, 512, 8, channel_multiplier, narrow).state_dict()
        spec = spec_for_file(tmp_path / "any.pth", original)
        again = Gpen(
            spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow
        ).state_dict()
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in original.items()}


@pytest.mark.parametrize(
    "state",
    [{}, {"generator.input.input": torch.zeros(1, 8, 4, 4)}, {"conv.weight": torch.zeros(1)}],
    ids=["empty", "part", "other"],
)
def test_other_networks_are_refused(tmp_path, state):
    with pytest.raises(WeightsCorruptError, match="GPEN"):
        spec_for_file(tmp_path / "any.pth", state)


def test_a_gpen_that_adds_its_maps_instead_of_concatenating_is_refused(tmp_path):
    with torch.device("meta"):
        state = Gpen(64, 32, 2, 1, 0.125, isconcat=False).state_dict()
    with pytest.raises(WeightsCorruptError, match="not supported"):
        spec_for_file(tmp_path / "any.pth", state)
