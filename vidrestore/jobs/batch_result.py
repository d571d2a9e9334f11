"""What a batch did, for each input and in sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidrestore.jobs.batch_work import Outcome


@dataclass(frozen=True, slots=True)
class BatchRow:
    """What became of one input."""

    name: str
    """Path from the folder of the inputs, with slashes."""
    output: str
    """Path from the folder of the outputs; empty where there is none."""
    verdict: str
    """``done``, ``skipped``, ``failed`` or ``left``."""
    outcome: Outcome | None = None
    """None where no work was done."""
    why: str = ""
    """Why it was skipped, failed, or left, as a few words."""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch did."""

    rows: tuple[BatchRow, ...]
    seconds: float
    record: Path
    """``batch.json``."""

    def count(self, verdict: str) -> int:
        """Return how many inputs have a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def is_complete(self) -> bool:
        """Every input has its output."""
        return self.count("done") + self.count("skipped") == len(self.rows)


def describe_outcome(outcome: Outcome) -> str:
    """Say what was found in an input, and how long it took."""
    counts = outcome.counts
    if not counts.get("faces"):
        found = "no faces found"
    elif "written" in counts:
        found = f"faces restored in {counts['painted']} of {counts['written']} frames"
    else:
        found = f"{counts['painted']} of {counts['faces']} faces restored"
    if counts.get("kept"):
        found += f" ({counts['kept']} from an earlier run)"
    return f"{found}; {outcome.seconds:.1f} s"


def tally(rows: Sequence[BatchRow]) -> str:
    """Count the rows by what became of them: ``2 done, 1 skipped, 1 failed of 4``."""
    verdicts = [row.verdict for row in rows]
    counts = [f"{verdicts.count(v)} {v}" for v in ("done", "skipped", "failed", "left")]
    return ", ".join(text for text in counts if not text.startswith("0 ")) + f" of {len(rows)}"
