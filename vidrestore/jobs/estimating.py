"""What the whole film would take, in time and room, told from parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from vidrestore.jobs.restore import JobResult
from vidrestore.media.probe import SourceInfo
from vidrestore.media.trial import StoredBytes, TrialEncoder

SEARCH_STAGES = frozenset({"detect", "track"})
"""Stages that have little to do where there are no faces, and hardly more where there are many."""
FACE_STAGES = frozenset({"align", "restore", "steady", "blend"})
"""Stages whose work grows with the faces; that of the others grows with the frames."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run on the whole film would take on this machine."""

    seconds: float
    num_bytes: int | None
    """Size of the result; None where the film does not tell enough."""
    basis: str
    """What the figures rest on, as a phrase."""


@dataclass(frozen=True, slots=True)
class Density:
    """How full of faces a film, or a part of it, is."""

    faces_per_frame: float
    share_with_faces: float
    """Of the frames."""


@dataclass(frozen=True, slots=True)
class PartCost:
    """What a part of the film took.

    Work is in seconds of processor time. Time on the clock would not do: a stage that shares the
    cores with others takes the longer, the more of them are at work.
    """

    startup_seconds: float
    wall_seconds: float
    """After starting."""
    cpu_seconds: float
    """Of the whole process in that time."""
    frame_seconds: float
    """Work on a frame whatever is in it."""
    search_seconds: float
    """Work on finding and following the faces of a frame."""
    faces_seconds: float
    """Work on the faces of a frame."""
    density: Density
    num_frames: int
    picture_bytes: float
    """What a frame takes, coded as in a run."""
    stored: StoredBytes | None
    """What the same stretch takes in the source."""
    other_bytes: float
    """What a second of sound and the rest takes in the output."""


def cost_of(
    result: JobResult,
    cpu_seconds: float,
    trial: TrialEncoder,
    stored: StoredBytes | None,
    other_bytes: float,
) -> PartCost:
    """Sum up a run over a part of the film.

    Args:
        result: Of the run. Its last stage also coded the comparison, which a full run does not.
        cpu_seconds: Processor time of the process while the stages worked.
        trial: What coding its frames as in a full run took.
        stored: What the part takes in the source.
        other_bytes: What a second of sound and the rest takes in the output.
    """
    frames = result.report.frames
    busy_seconds = sum(stage.busy_seconds for stage in result.times)
    # processor time cannot be told apart by stage: each has its share of the whole
    cpu_share = cpu_seconds / busy_seconds if busy_seconds else 0.0
    for_frame = trial.seconds / max(1, trial.num_frames)
    for_search = for_faces = 0.0
    num_taken = None
    density = Density(0.0, 0.0)
    for stage in result.times:
        if stage.name == "encode":
            continue
        # by what a stage took in: what leads up to the part is worked on and not given out
        for_one = stage.busy_seconds / max(1, num_taken or stage.num_items)
        if stage.name in FACE_STAGES:
            for_faces += for_one
        elif stage.name in SEARCH_STAGES:
            for_search += for_one
        else:
            for_frame += for_one
        num_taken = stage.num_items
        if stage.name == "align" and num_taken:
            # of all frames that were worked on, those that lead up to the part among them
            density = Density(stage.num_faces / num_taken, stage.num_with_faces / num_taken)
    return PartCost(
        startup_seconds=float(result.report.timings["startup_seconds"]),
        wall_seconds=result.wall_seconds,
        cpu_seconds=cpu_seconds,
        frame_seconds=for_frame * cpu_share,
        search_seconds=for_search * cpu_share,
        faces_seconds=for_faces * cpu_share,
        density=density,
        num_frames=frames["written"],
        picture_bytes=trial.bytes_for_frame(),
        stored=stored,
        other_bytes=other_bytes,
    )


def estimate(
    parts: Sequence[PartCost],
    info: SourceInfo,
    num_frames: int | None,
    density: Density | None,
    basis: str,
) -> Estimate | None:
    """Estimate a run on the whole film.

    The time is what starting takes, and for each frame the work on it and on its faces, as many as
    the film has on the average, done by as many cores as were busy in the parts. The parts were
    chosen for their faces: what grows with those is scaled from the parts to the film.

    Args:
        parts: What parts of the film took.
        info: The film.
        num_frames: How many frames it has; None where the file does not tell.
        density: Of the whole film, if that is known; None takes that of the parts.
        basis: What this rests on.

    Returns:
        None where the length of the film is not known.
    """
    cpu_seconds = sum(part.cpu_seconds for part in parts)
    if num_frames is None or cpu_seconds <= 0:
        return None
    total = sum(part.num_frames for part in parts)

    def mean(values: Sequence[float]) -> float:
        """Average over the frames of all parts."""
        return sum(v * p.num_frames for v, p in zip(values, parts, strict=True)) / max(1, total)

    for_search = mean([part.search_seconds for part in parts])
    for_faces = mean([part.faces_seconds for part in parts])
    faces_in_parts = mean([part.density.faces_per_frame for part in parts])
    share_of_parts = mean([part.density.share_with_faces for part in parts])
    if density is not None and share_of_parts > 0:
        for_search *= density.share_with_faces / share_of_parts
        for_faces *= density.faces_per_frame / faces_in_parts
    one_frame = mean([part.frame_seconds for part in parts]) + for_search + for_faces
    busy_cores = cpu_seconds / sum(part.wall_seconds for part in parts)
    startup = sum(part.startup_seconds for part in parts) / len(parts)
    seconds = startup + one_frame * num_frames / busy_cores
    return Estimate(seconds, _bytes_for_film(parts, info, num_frames), basis)


def _bytes_for_film(parts: Sequence[PartCost], info: SourceInfo, num_frames: int) -> int | None:
    """Estimate the size of the result.

    Pictures that took the source's coder more will take the output's more: the bytes of a frame
    of the parts are scaled as those of the source are, from the parts to the whole film.
    """
    total = sum(part.num_frames for part in parts)
    seconds = info.duration_seconds
    if not total or not seconds:
        return None
    coded = sum(part.picture_bytes * part.num_frames for part in parts) / total
    others = sum(part.other_bytes for part in parts) / len(parts)
    return round(coded * num_frames * _busier(parts, info, seconds) + others * float(seconds))


def _busier(parts: Sequence[PartCost], info: SourceInfo, seconds: Fraction) -> float:
    """Return the bit rate of the source's pictures in the whole film over that in the parts."""
    known = [(part.stored, part.num_frames) for part in parts if part.stored is not None]
    if not known or len(known) < len(parts) or not info.path.exists():
        return 1.0
    stretch = sum(float(stored.seconds) for stored, _ in known)
    weight = sum(count for _, count in known)
    in_parts = sum(s.pictures / float(s.seconds) * count for s, count in known) / weight
    others = sum(stored.others for stored, _ in known) / stretch
    in_film = info.path.stat().st_size / float(seconds) - others
    return in_film / in_parts if in_film > 0 and in_parts > 0 else 1.0
