"""OpenVINO's import, and the cache of converted networks."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vidrestore.models.openvino_runtime import cached_model, compile_model, load_openvino

ov = load_openvino()


def test_openvino_is_imported_without_its_telemetry(tmp_path):
    program = (
        "import sys, threading\n"
        "from vidrestore.models.openvino_runtime import load_openvino\n"
        "assert load_openvino() is sys.modules['openvino']\n"
        "assert load_openvino().convert_model\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    repository = Path(__file__).parents[2]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(repository)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(tmp_path.iterdir()) == [], "files were left in the home folder"


class Converter:
    """Makes y = x + number, and counts how often it is asked."""

    def __init__(self, number: float) -> None:
        self.number, self.calls = number, 0

    def __call__(self):
        self.calls += 1
        x = ov.opset13.parameter([3], np.float32)
        return ov.Model([ov.opset13.add(x, np.full(3, self.number, np.float32))], [x])


def result(model) -> float:
    return float(ov.Core().compile_model(model, "CPU")([np.zeros(3, np.float32)])[0][0])


def test_a_network_is_converted_once(tmp_path):
    convert = Converter(2.5)
    for _ in range(3):
        assert result(cached_model("add", "key", tmp_path / "cache", convert)) == 2.5
    assert convert.calls == 1
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.name.startswith("add-")


def test_the_first_run_computes_with_the_network_as_it_was_saved(tmp_path):
    """A network of real size rounds otherwise once it has been saved."""
    made = []

    def convert():
        made.append(Converter(2.5)())
        return made[-1]

    first = cached_model("add", "key", tmp_path, convert)
    assert first is not made[0]
    (folder,) = tmp_path.iterdir()
    saved = ov.Core().read_model(folder / "model.xml")
    names = [[op.get_friendly_name() for op in m.get_ordered_ops()] for m in (first, saved)]
    assert names[0] == names[1]


def test_other_weights_are_another_network(tmp_path):
    assert result(cached_model("add", "key 1", tmp_path, Converter(1))) == 1
    assert result(cached_model("add", "key 2", tmp_path, Converter(2))) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "sha256.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_copy_is_made_anew(tmp_path, name, damage):
    convert = Converter(2.5)
    cached_model("add", "key", tmp_path, convert)
    (path,) = tmp_path.glob(f"*/{name}")
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert result(cached_model("add", "key", tmp_path, convert)) == 2.5
    assert convert.calls == 2
    cached_model("add", "key", tmp_path, convert)
    assert convert.calls == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_copy_that_another_process_made_meanwhile_stays_and_is_taken(tmp_path, caplog):
    inodes = []

    def convert():
        cached_model("add", "key", tmp_path, Converter(2.5))  # as another process would
        inodes.extend(folder.stat().st_ino for folder in tmp_path.iterdir())
        return Converter(2.5)()

    with caplog.at_level(logging.WARNING):
        assert result(cached_model("add", "key", tmp_path, convert)) == 2.5
    assert [folder.stat().st_ino for folder in tmp_path.iterdir()] == inodes
    assert not caplog.records


def test_without_a_place_for_the_copy_the_network_still_works(tmp_path, caplog):
    blocked = tmp_path / "a file"
    blocked.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert result(cached_model("add", "key", blocked / "cache", Converter(2.5))) == 2.5
    assert "a file" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are looked at on Linux")
def test_compiling_leaves_the_thread_its_signal_stack():
    """OpenVINO leaves one of its own behind (AVX-512), which a later signal would run into."""
    ops = ov.opset13
    maps = ops.parameter([1, 8, 16, 16], np.float32)
    weight = ops.constant(np.ones((8, 8, 3, 3), np.float32))
    ones = [1, 1]
    result = ops.convolution(maps, weight, ones, ones, ones, ones)
    before = _signal_stack()
    compiled = compile_model(ov.Model([result], [maps], "probe"), {})
    assert _signal_stack() == before
    compiled.create_infer_request().infer()
    assert _signal_stack() == before


def _signal_stack():
    import ctypes

    found = (ctypes.c_ubyte * 24)()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return bytes(found)
