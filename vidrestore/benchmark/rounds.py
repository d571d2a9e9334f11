"""Timing several things in turns, so that whatever else the machine does hits all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vidrestore.report import describe_machine, describe_versions

OnRound = Callable[[int, int], None]
"""Told how many rounds are done, and of how many."""


@dataclass(slots=True)
class Contender:
    """Something that is timed, and how long it took, for each item."""

    run: Callable[[], object]
    """Does the work and waits for it."""
    num_items: int = 1
    """Items that one call works on."""
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of the whole process, all cores together; other programs disturb it less."""

    def time_once(self) -> None:
        """Run and note the times of one item."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.run()
        self.wall_ms.append((time.perf_counter() - wall) * 1e3 / self.num_items)
        self.cpu_ms.append((time.process_time() - cpu) * 1e3 / self.num_items)


def run_rounds(
    contenders: Sequence[Contender], num_rounds: int, on_round: OnRound | None = None
) -> None:
    """Time all contenders once in each round, after a round to warm up that does not count.

    Who begins changes from round to round.

    Args:
        contenders: Get the times; the k-th of each belong to one round.
        num_rounds: At least 1.
        on_round: Called after each round that counts.
    """
    for contender in contenders:
        contender.run()
    for k in range(num_rounds):
        first = k % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            contender.time_once()
        if on_round is not None:
            on_round(k + 1, num_rounds)


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: how many times as fast the second is."""
    return float(np.median(np.asarray(slow) / np.asarray(fast)))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 25th percentile, the median and the 75th percentile."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return float(low), float(median), float(high)


def preamble() -> dict[str, Any]:
    """Return what every result begins with: its date, this machine, and the versions."""
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "schema_version": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine() | {"load_average_1min": load},
        "versions": describe_versions(),
    }
