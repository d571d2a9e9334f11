"""How the cores are shared among crops: the measurement, and that no result depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.test_restorers import assert_equal, openvino_restorer, random_crops
from vidrestore.models import core_share
from vidrestore.models.core_share import CoreShare, candidates, choose_share


class Machine:
    """Compiles nothing; each way takes as long as is said here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int, seconds: Any) -> None:
        self.compiled: list[CoreShare] = []
        self.measured: list[int] = []
        self.seconds = seconds
        monkeypatch.setattr(core_share, "usable_cores", lambda: cores)
        monkeypatch.setattr(core_share, "_seconds_for_a_crop", self.measure)

    def measure(self, compiled: CoreShare, streams: int) -> float:
        assert compiled.streams == streams
        self.measured.append(streams)
        return float(self.seconds[compiled])

    def choose(self, cache_dir: Path, key: str = "a network") -> tuple[CoreShare, str]:
        def compile_with(way: CoreShare) -> Any:
            self.compiled.append(way)
            return way

        compiled, chosen, why = choose_share(compile_with, 256, key, cache_dir)
        assert compiled is chosen or compiled == chosen
        return chosen, why


def test_the_usual_way_stays_unless_another_is_clearly_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, one = candidates(4, 256)
    machine = Machine(monkeypatch, 4, {both: 0.100, one: 0.095})
    assert machine.choose(tmp_path) == (both, "none of 2 ways measured is clearly faster")
    machine.seconds = {both: 0.100, one: 0.050}
    assert machine.choose(tmp_path, "another") == (one, "2.0 times as fast as the usual way")
    assert machine.compiled == [both, one] * 2, "none is compiled twice"


def test_it_is_measured_once_for_each_network_and_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, one = candidates(4, 256)
    machine = Machine(monkeypatch, 4, {both: 0.1, one: 0.05, CoreShare(1, 1): 0.1})
    first = machine.choose(tmp_path)
    machine.seconds = {}
    machine.measured.clear()
    assert machine.choose(tmp_path) == first
    assert machine.compiled[2:] == [one], "only what was chosen"
    assert machine.measured == []
    monkeypatch.setattr(core_share, "usable_cores", lambda: 1)
    assert machine.choose(tmp_path) == (CoreShare(1, 1), "the usual way")


def test_a_slow_network_is_not_tried_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_share, "_LONGEST_SECONDS", 0.0)
    machine = Machine(monkeypatch, 8, dict.fromkeys(candidates(8, 256), 0.1))
    assert machine.choose(tmp_path) == (CoreShare(8, 8), "the usual way")
    assert machine.measured == [8]


@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 6, 16, 64])
def test_ways_fit_cores_and_memory_and_give_every_crop_as_many_threads(
    cores: int, size: int
) -> None:
    ways = candidates(cores, size)
    assert len(set(ways)) == len(ways)
    assert all(1 <= way.streams <= way.threads <= cores for way in ways)
    assert all(way.streams <= max(1, 16 * 512**2 // size**2) for way in ways)
    assert len({way.threads // way.streams for way in ways}) == 1
    assert ways[0].threads > cores // 2, "the usual way leaves nothing lying about"


def test_pictures_are_the_same_bit_for_bit_however_the_cores_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = random_crops(5)
    pictures = []
    for share in (CoreShare(1, 1), CoreShare(2, 2), CoreShare(4, 4)):
        monkeypatch.setattr(core_share, "candidates", lambda cores, size, share=share: [share])
        restorer = openvino_restorer(tmp_path)
        assert restorer.batch_size == share.streams
        pictures.append(restorer.submit(crops).result())
        restorer.close()
    for others in pictures[1:]:
        assert_equal(others, pictures[0])


def test_the_real_measurement_gives_plausible_times(tmp_path: Path) -> None:
    restorer = openvino_restorer(tmp_path, weights_key="measured")
    for streams in (1, 2):
        assert 1e-6 < core_share._seconds_for_a_crop(restorer._compiled, streams) < 10
    assert "crops at once: " in restorer.how_shared
