"""The user's own networks for whole pictures: small ones, made by spandrel's own classes."""

import builtins
import pickle

import numpy as np
import pytest
import torch

from tests.conftest import skip_or_fail
from vidrestore.errors import DeviceError, WeightsCorruptError, WeightsError, WeightsNotFoundError
from vidrestore.models.background import TiledModel, load_picture_model

try:
    import spandrel
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet
except ImportError:
    spandrel = None

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _spandrel():
    if spandrel is None:
        skip_or_fail("background", "spandrel is not installed")
    torch.manual_seed(0)


def compact(scale=2, *, is_plain=False, **kwargs):
    """A Compact network; a plain one does nothing but repeat pixels."""
    network = SRVGGNetCompact(num_feat=8, num_conv=2, upscale=scale, **kwargs)
    if is_plain:
        torch.nn.init.zeros_(network.body[-1].weight)
        torch.nn.init.zeros_(network.body[-1].bias)
    return network


def save(path, network, key="params_ema"):
    torch.save({key: network.state_dict()} if key else network.state_dict(), path)
    return path


def picture(height, width):
    return np.random.default_rng(1).random((height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("key", ["params_ema", "params", None])
def test_a_plain_network_of_every_scale_repeats_the_pixels(tmp_path, scale, key):
    path = save(tmp_path / "my model.pth", compact(scale, is_plain=True), key)
    model = load_picture_model(path, device="cpu")
    assert model.scale == scale
    assert "my model (" in model.description
    pixels = picture(40, 56)
    np.testing.assert_allclose(
        model.enhance(pixels), pixels.repeat(scale, 0).repeat(scale, 1), atol=1e-6
    )
    assert model.notes == []
    model.close()


def test_safetensors_is_read_too(tmp_path):
    from safetensors.torch import save_file

    save_file(compact(2, is_plain=True).state_dict(), tmp_path / "model.safetensors")
    model = load_picture_model(tmp_path / "model.safetensors", device="auto")
    assert model.enhance(picture(20, 20)).shape == (40, 40, 3)


@pytest.mark.parametrize("kind", ["compact", "esrgan"])
def test_tiles_give_what_the_whole_picture_would(tmp_path, kind):
    network = compact(2)
    if kind == "esrgan":
        network = RRDBNet(num_filters=8, num_blocks=1, scale=2)
    path = save(tmp_path / "model.pth", network, None)
    pixels = picture(150, 280)

    def enhanced(largest_tile):
        descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(network.state_dict())
        model = TiledModel(descriptor, path.stem, CPU, largest_tile)
        return model.enhance(pixels), model.num_parts

    (whole, one), (tiled, many) = enhanced(1000), enhanced(128)
    assert (one, many) == (1, 2 * 3)
    assert whole.std() > 0.01
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_another_size_of_picture_is_taken_as_it_comes(tmp_path):
    path = save(tmp_path / "model.pth", compact(2, is_plain=True))
    model = load_picture_model(path, device="cpu")
    for height, width in ((20, 30), (33, 21), (20, 30)):
        assert model.enhance(picture(height, width)).shape == (2 * height, 2 * width, 3)


def refusal(path, kind=WeightsError):
    with pytest.raises(kind) as caught:
        load_picture_model(path, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    assert "none.pth does not exist" in refusal(tmp_path / "none.pth", WeightsNotFoundError)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors", "empty.pth", "list.pth"])
def test_a_file_that_is_no_model_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"this is no model")
    if "list" in name:
        torch.save([1, 2], path)
    assert str(path) in refusal(path, WeightsCorruptError)


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "bomb.pth"
    torch.save({"params": _Bomb()}, path)
    assert "nothing in it was run" in refusal(path, WeightsCorruptError)
    path.write_bytes(pickle.dumps(_Bomb(), protocol=2))
    assert "nothing in it was run" in refusal(path, WeightsCorruptError)


def test_an_unknown_network_is_refused(tmp_path):
    path = save(tmp_path / "other.pth", torch.nn.Linear(3, 3), None)
    assert "no network that spandrel" in refusal(path)


def test_weights_of_which_some_are_missing_are_refused(tmp_path):
    state = compact(2).state_dict()
    del state["body.2.bias"]
    torch.save(state, tmp_path / "part.pth")
    assert "do not fit together" in refusal(tmp_path / "part.pth", WeightsCorruptError)


def test_a_network_for_faces_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "face.pth", compact(2))
    monkeypatch.setattr(spandrel.ImageModelDescriptor, "purpose", "FaceSR")
    assert "network for faces" in refusal(path)


def test_a_network_for_grey_pictures_is_refused(tmp_path):
    path = save(tmp_path / "grey.pth", compact(2, num_in_ch=1, num_out_ch=1))
    assert "from 1 to 1 channels" in refusal(path)


def test_a_network_of_an_odd_scale_is_refused(tmp_path):
    assert "enlarges 3 times" in refusal(save(tmp_path / "three.pth", compact(3)))


def test_without_spandrel_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    path = save(tmp_path / "model.pth", compact(2))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "spandrel":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'vidrestore[background]'" in refusal(path)


def test_a_device_that_is_not_there_is_an_error(tmp_path):
    path = save(tmp_path / "model.pth", compact(2))
    with pytest.raises(DeviceError, match="cuda:7"):
        load_picture_model(path, device="cuda:7")


def tiled(network, **kwargs):
    descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(network.state_dict())
    return TiledModel(descriptor, "model", CPU, **kwargs)


def test_a_network_that_gives_no_numbers_is_an_error():
    network = compact(1)
    torch.nn.init.constant_(network.body[-1].bias, float("nan"))
    with pytest.raises(WeightsError, match="gives no numbers"):
        tiled(network).enhance(picture(16, 16))


def test_a_device_without_room_gets_smaller_tiles(monkeypatch):
    model = tiled(compact(2, is_plain=True), largest_tile=384)
    compute, pixels = TiledModel._compute, picture(300, 300)

    def narrow(self, rows):
        if rows.shape[1] > 200:
            raise torch.OutOfMemoryError("no room")
        return compute(self, rows)

    monkeypatch.setattr(TiledModel, "_compute", narrow)
    np.testing.assert_allclose(model.enhance(pixels), pixels.repeat(2, 0).repeat(2, 1), atol=1e-5)
    assert model.notes == ["cpu ran out of memory: the background goes on in tiles of 192 pixels"]


def test_a_device_without_any_room_is_an_error(monkeypatch):
    def full(self, rows):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(TiledModel, "_compute", full)
    with pytest.raises(DeviceError, match="no memory left"):
        tiled(compact(2)).enhance(picture(300, 300))
