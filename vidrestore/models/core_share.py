"""How crops that are computed side by side share the cores: measured once, remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidrestore.models.processor import remembered
from vidrestore.runtime.cores import usable_cores

if TYPE_CHECKING:
    from openvino import CompiledModel

_MOST_PIXELS = 2**22
"""Of all crops at once: 16 of 512. What they need in memory grows with it."""
_MOST_CROPS = 16
_FEW_CORES = 4
"""With fewer there is no choice: on two, one crop on each was always best."""
_LEAST_GAIN = 1.1
"""Another way has to be this many times as fast as the usual one to be taken: less is noise."""
_LONGEST_SECONDS = 1.5
"""No further way is tried after so long."""
_NUM_ROUNDS = 3
_ENOUGH_SECONDS = 0.3
"""No further round begins after so long in one way."""


@dataclass(frozen=True, slots=True)
class CoreShare:
    """How many crops are computed side by side, and on how many threads all together."""

    streams: int
    threads: int

    @property
    def properties(self) -> Mapping[str, int]:
        """For OpenVINO."""
        return {"NUM_STREAMS": self.streams, "INFERENCE_NUM_THREADS": self.threads}


def candidates(cores: int, size: int) -> list[CoreShare]:
    """List what is worth trying, the usual way first: all cores, and half of them.

    Half can be better where two cores share their arithmetic, and leaves room for the encoder. One
    thread for each crop, more only where so many crops do not fit: with how many threads a crop is
    computed moves its roundings, so that does not depend on what is measured.

    Args:
        cores: Of the machine.
        size: Side of a crop in pixels.

    >>> [(s.streams, s.threads) for s in candidates(8, 256)]
    [(8, 8), (4, 4)]
    """
    most = max(1, min(_MOST_CROPS, _MOST_PIXELS // size**2))
    threads = -(-cores // most)
    streams = cores // threads
    ways = [streams, streams // 2] if streams >= _FEW_CORES else [streams]
    return [CoreShare(n, n * threads) for n in ways]


def choose_share(
    compile_with: Callable[[CoreShare], CompiledModel], size: int, key: str, cache_dir: Path
) -> tuple[CompiledModel, CoreShare, str]:
    """Compile a network in the way that is fastest here.

    Results do not depend on the choice, for every crop is a request of its own, and the threads
    for each are the same in all ways.

    Args:
        compile_with: Compiles it.
        size: Side of a crop in pixels.
        key: Says which network; the processor and the ways to try are added.
        cache_dir: Where the choice is kept.

    Returns:
        The compiled network, the choice, and why it was made, in a few words.
    """
    cores = usable_cores()
    ways = candidates(cores, size)
    compiled: dict[CoreShare, CompiledModel] = {}

    def measure() -> dict[str, Any]:
        begun, seconds = time.perf_counter(), dict[CoreShare, float]()
        for way in ways:
            compiled[way] = compile_with(way)
            if len(ways) > 1:
                seconds[way] = _seconds_for_a_crop(compiled[way], way.streams)
            if time.perf_counter() - begun > _LONGEST_SECONDS:
                break
        return {"tried": [{**asdict(way), "seconds": s} for way, s in seconds.items()]}

    found = remembered(cache_dir, "core-share", f"{ways} {key}", measure, _read)
    chosen, why = _best(found, ways[0])
    if chosen not in compiled:
        compiled[chosen] = compile_with(chosen)
    return compiled[chosen], chosen, why


def _read(data: Mapping[str, Any]) -> dict[CoreShare, float]:
    return {
        CoreShare(int(way["streams"]), int(way["threads"])): float(way["seconds"])
        for way in data["tried"]
    }


def _best(seconds: Mapping[CoreShare, float], usual: CoreShare) -> tuple[CoreShare, str]:
    if usual not in seconds or len(seconds) == 1:
        return usual, "the usual way"
    best = min(seconds, key=lambda way: seconds[way])
    gain = seconds[usual] / seconds[best]
    if gain < _LEAST_GAIN:
        return usual, f"none of {len(seconds)} ways measured is clearly faster"
    return best, f"{gain:.1f} times as fast as the usual way"


def _seconds_for_a_crop(compiled: CompiledModel, streams: int) -> float:
    """Time crops of zeros, as many at once as there are streams; the best of some rounds."""
    requests = [compiled.create_infer_request() for _ in range(streams)]
    for request in requests:
        request.get_input_tensor().data[...] = np.uint8(0)

    def run() -> float:
        start = time.perf_counter()
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()
        return time.perf_counter() - start

    taken = [run()]  # the first is slow
    while len(taken) <= _NUM_ROUNDS and sum(taken) < _ENOUGH_SECONDS:
        taken.append(run())
    return min(taken) / streams
