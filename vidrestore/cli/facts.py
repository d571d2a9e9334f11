"""Lines of text for people, from what the jobs found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from vidrestore.cli.console import as_time

if TYPE_CHECKING:  # the jobs load torch and PyAV, which a list of models does not need
    from vidrestore.jobs.doctor import Diagnosis
    from vidrestore.jobs.faces import NumberedFaces
    from vidrestore.jobs.inspection import FaceSample, Inspection
    from vidrestore.media.fields import FieldReport
    from vidrestore.media.probe import AudioTrack, SourceInfo
    from vidrestore.models.weights import InstalledModel
    from vidrestore.report import TrackSummary

_RANGES = {1: "limited range", 2: "full range"}
_WIDE_TRANSFERS = {16: "HDR (PQ)", 18: "HDR (HLG)"}
_MATRICES = {1: "BT.709", 5: "BT.601 (PAL)", 6: "BT.601 (NTSC)", 9: "BT.2020"}


def inspection_lines(inspection: Inspection) -> list[str]:
    """Describe a film."""
    from vidrestore.jobs.space import as_size

    source = inspection.source
    rows = [
        ("file", f"{source.path} ({source.container})"),
        ("length", _length(source)),
        ("picture", _picture(source)),
        ("pace", _pace(inspection)),
        ("colour", _colour(source)),
        ("fields", _fields(inspection.fields)),
    ]
    rows += [("sound", _sound(track)) for track in source.audio] or [("sound", "none")]
    rows += [
        (track.kind, " ".join(filter(None, (track.codec, track.language, track.title))))
        for track in source.others
    ]
    if source.video.timecode:
        rows.append(("timecode", source.video.timecode))
    if source.num_chapters:
        rows.append(("chapters", str(source.num_chapters)))
    rows.append(("faces", _faces(inspection.samples)))
    rows += [("damage", text) for text in _damage(inspection)]
    rows += [("a run", choice) for choice in inspection.choices]
    for suffix, notes in inspection.plan.items():
        rows += [
            (f"to {suffix}", note)
            for note in notes or ("everything is kept, as far as the headers tell",)
        ]
    least, most = inspection.output_bytes
    if most:
        rows.append(("size", f"{as_size(least)} to {as_size(most)} with the default codec"))
    return table(rows)


def numbered_lines(numbered: NumberedFaces) -> list[str]:
    """Say what became of numbering a film's faces."""
    count = len(numbered.found.faces)
    if not count:
        return [f"{numbered.path}: no faces found"]
    faces = "1 face" if count == 1 else f"{count} faces, numbered 1 to {count}"
    sheets = ", ".join(map(str, numbered.sheets))
    return [f"{numbered.path}: {faces}", f"who is who: {sheets}"]


def held_back(tracks: Sequence[TrackSummary]) -> list[str]:
    """Say how many faces were not shown fully, and why: at most one phrase."""
    counts: dict[str, int] = {}
    for track in tracks:
        for reason, count in track.held_back.items():
            counts[reason] = counts.get(reason, 0) + count
    if not counts:
        return []
    num_faces, num_held = sum(track.num_frames for track in tracks), sum(counts.values())
    largest_first = sorted(counts, key=lambda reason: -counts[reason])
    reasons = ", ".join(
        reason if len(counts) == 1 else f"{counts[reason]} {reason}" for reason in largest_first
    )
    return [f"held back, wholly or in part, {num_held} of {num_faces} times: {reasons}"]


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """Describe what a machine can do."""
    machine = diagnosis.machine
    rows = [("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")]
    rows.append(("python", str(machine["python"])))
    rows += list(diagnosis.versions.items())
    rows += list(diagnosis.devices.items())
    rows += [
        (f"encoder {name}", "works" if works else "missing")
        for name, works in diagnosis.encoders.items()
    ]
    rows += [("choice", choice) for choice in diagnosis.models]
    rows += [(name, str(path)) for name, path in diagnosis.folders.items()]
    rows += [("PROBLEM", problem) for problem in diagnosis.problems] or [("verdict", "ready")]
    return table(rows)


def model_lines(models: Sequence[InstalledModel]) -> list[str]:
    """Describe the models the program knows."""
    lines = []
    for model in models:
        where = "not installed" if model.path is None else str(model.path)
        if model.is_intact is False:
            where += "  DAMAGED"
        lines += [
            f"{model.spec.name:24} {model.kind:9} {_megabytes(model.spec.weights.num_bytes):>9}",
            f"    {model.spec.weights.licence}",
            f"    {where}",
        ]
    return lines


def verification_lines(models: Sequence[InstalledModel]) -> list[str]:
    """Say of each installed file whether it is what it should be."""
    verdicts = {True: "intact", False: "DAMAGED", None: "no SHA-256 known"}
    return table([(m.spec.name, f"{verdicts[m.is_intact]}  {m.path}") for m in models])


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Align two columns; a name that repeats is written once."""
    width = max((len(name) for name, _ in rows), default=0)
    names = ["", *(name for name, _ in rows)]
    return [
        f"{'' if name == before else name:{width}}  {text}"
        for (before, name), (_, text) in zip(pairwise(names), rows, strict=True)
    ]


def _length(source: SourceInfo) -> str:
    if source.duration_seconds is None:
        return "unknown"
    seconds = float(source.duration_seconds)
    return f"{as_time(seconds)} ({seconds:.2f} s)"


def _picture(source: SourceInfo) -> str:
    video = source.video
    parts = [
        f"{video.codec} {video.width}x{video.height}",
        video.pixel_format,
        f"{float(video.nominal_rate):.6g} frames/s",
    ]
    if video.pixel_aspect != 1:
        parts.append(f"pixels {video.pixel_aspect.numerator}:{video.pixel_aspect.denominator}")
    a, b, c, d = video.turn
    if a * d < b * c:
        parts.append("mirrored")
    if video.rotation:
        parts.append(f"turned {video.rotation} degrees")
    return ", ".join(parts)


def _pace(inspection: Inspection) -> str:
    pace, rate = inspection.pace, float(inspection.source.video.nominal_rate)
    if pace.num_pictures < 3:
        return f"{pace.num_pictures} pictures"
    if pace.is_even:
        return f"even, {rate:.6g} frames/s"
    return (
        f"uneven: {1000 * pace.shortest_seconds:.0f} to {1000 * pace.longest_seconds:.0f} ms "
        "between pictures; each keeps its time"
    )


def _fields(fields: FieldReport | None) -> str:
    if fields is None or not fields.num_pictures:
        return "whole pictures (not looked at closely: neither size nor flag suggest otherwise)"
    kind = {
        "progressive": "whole pictures",
        "interlaced": "interlaced",
        "telecined": "telecined film",
    }[fields.kind]
    order = f", {fields.order} field first" if fields.order else ""
    return (
        f"{kind}{order} (measured in {fields.measured_share:.0%}, flagged in "
        f"{fields.flagged_share:.0%} of {fields.num_pictures} pictures)"
    )


def _damage(inspection: Inspection) -> list[str]:
    damage = inspection.damage
    found = []
    if damage.bad_packets or damage.corrupt_frames:
        found.append(
            f"{damage.bad_packets} packets and {damage.corrupt_frames} pictures of those read"
        )
    if inspection.source.timeline.num_joints:
        found.append(
            f"recordings joined end to end: the clock starts anew "
            f"{inspection.source.timeline.num_joints} times"
        )
    if damage.is_truncated:
        found.append("the film ends earlier than its file says")
    return found


def _colour(source: SourceInfo) -> str:
    colour = source.video.colour
    matrix = _MATRICES.get(colour.matrix, "matrix not stated" if colour.matrix == 2 else "other")
    parts = [matrix, _RANGES.get(colour.range, "range not stated"), f"{source.video.bits} bit"]
    if colour.transfer in _WIDE_TRANSFERS:
        parts.append(_WIDE_TRANSFERS[colour.transfer])
    return ", ".join(parts)


def _sound(track: AudioTrack) -> str:
    channels = {1: "mono", 2: "stereo"}.get(track.channels, f"{track.channels} channels")
    parts = [track.codec or "unknown", f"{track.sample_rate} Hz", channels]
    return ", ".join([*parts, *filter(None, (track.language, track.title))])


def _faces(samples: Sequence[FaceSample]) -> str:
    with_faces = [s for s in samples if s.widths_px]
    if not with_faces:
        return f"none at {len(samples)} moments"
    widths = [w for s in with_faces for w in s.widths_px]
    most = max(len(s.widths_px) for s in with_faces)
    return (
        f"at {len(with_faces)} of {len(samples)} moments, up to {most} at once, "
        f"{min(widths):.0f} to {max(widths):.0f} pixels wide"
    )


def _megabytes(num_bytes: int | None) -> str:
    return "?" if num_bytes is None else f"{num_bytes / 1e6:.1f} MB"
