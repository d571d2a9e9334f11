"""dlib's embedding in torch; its numbers, and dlib to compare with, are optional packages."""

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
from vidrestore.models.identity import MISSING, DlibIdentity, face_chip
from vidrestore.models.registry import Template, landmark_template
from vidrestore.train.config import ModelConfig, as_tables, parse_config
from vidrestore.train.dlib_file import read_weights
from vidrestore.train.dlib_network import DlibIdentityLoss, installed_network
from vidrestore.train.loop import train
from vidrestore.train.losses import make_identity_loss

_PACKAGE = "face_recognition_models"
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="module")
def weights_path():
    path = DlibIdentity.weights_file()
    if path is None:
        skip_or_fail("metrics", "face-recognition-models is not installed")
    return path


@pytest.fixture(scope="module")
def network(weights_path):
    return installed_network()


@pytest.fixture(scope="module")
def dlib_identity():
    found = DlibIdentity.installed()
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


def _differences(network, dlib_identity, chips):
    with torch.no_grad():
        own = network(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float()).numpy()
    return np.abs(own - [dlib_identity.describe(chip) for chip in chips]).max(axis=1)


def test_the_network_is_dlibs(network, dlib_identity):
    face = face_chip(portrait(), landmark_template(Template.FFHQ, 256))
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    chips = [face, np.ascontiguousarray(face[:, ::-1]), _blurred(face, 3), noise]
    assert _differences(network, dlib_identity, chips).max() < 1e-5


def test_the_network_is_dlibs_on_many_faces(network, dlib_identity, shared_dir):
    paths = sorted((shared_dir / "faces" / "val").glob("*.webp"))[::40]
    assert len(paths) >= 6
    landmarks = landmark_template(Template.FFHQ, 256)
    chips = [face_chip(cv2.imread(str(path))[..., ::-1].copy(), landmarks) for path in paths]
    assert _differences(network, dlib_identity, chips).max() < 1e-5


@pytest.mark.parametrize(
    ("template", "size"),
    [(Template.FFHQ, 128), (Template.FFHQ, 256), (Template.FFHQ, 512), (Template.GPEN, 256)],
)
def test_the_loss_is_the_square_of_the_distance_that_is_measured(
    network, dlib_identity, template, size
):
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


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda data: b"", "its end"),
        (lambda data: data[:3], "its end"),
        (lambda data: data[:150], "its end"),
        (lambda data: data[:20_000], "its end"),
        (lambda data: data[:-1], "its end"),
        (lambda data: data + b"\0", "1 bytes too many"),
        (lambda data: bytes(1000), "a number of 0 bytes"),
        (lambda data: b"\x01\x01\x81\x05" + bytes(99), "a text of -5 letters"),
        (lambda data: b"\x89" * 1000, "a number of 9 bytes"),
        (lambda data: b"PK\x03\x04" * 1000, "a number of 80 bytes"),
        (lambda data: _changed(data, 4, b"loss_metric_1"), "loss_metric_1"),
        (lambda data: _changed(data, 29, b"\x01\x03"), "version of fc_2 3 instead of 2"),
        (lambda data: _changed(data, 316, b"\x82\xff\xff"), "the exponent -65535"),
        (lambda data: _changed(data, 345, b"\x40"), "shape of a tensor"),
        (lambda data: _changed(data, 352, b"\0\0\xc0\x7f"), "no number"),
        (lambda data: _changed(data, 19_756, b"-"), "max-pool_2"),
        (lambda data: _changed(data, 19_766, b"\x02"), "settings of max_pool_2"),
        (lambda data: _changed(data, 19_775, b"2"), "marks of a layer"),
    ],
)
def test_anything_but_the_whole_file_is_refused(tmp_path, weights_path, spoil, found):
    spoilt = tmp_path / "spoilt.dat"
    spoilt.write_bytes(spoil(weights_path.read_bytes()))
    with pytest.raises(WeightsCorruptError, match=r"spoilt\.dat.* again") as caught:
        read_weights(spoilt)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_byte_is_read_and_means_one_thing(weights_path):
    weights = read_weights(weights_path)
    assert weights.mean.tolist() == pytest.approx([122.782, 117.001, 104.298])
    assert len(weights.convolutions) == 29
    assert sum(c.stride == 2 for c in weights.convolutions) == 5
    assert weights.convolutions[0].weight.shape == (32, 3, 7, 7)
    assert weights.projection.shape == (128, 256)


def test_a_file_that_cannot_be_read_or_is_something_else_is_said(tmp_path):
    with pytest.raises(WeightsCorruptError, match=r"cannot read .*none\.dat"):
        read_weights(tmp_path / "none.dat")
    with pytest.raises(WeightsCorruptError, match="not dlib's face embedding"):
        read_weights(Path(__file__))


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
    monkeypatch.setattr(DlibIdentity, "weights_file", lambda: None)
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
