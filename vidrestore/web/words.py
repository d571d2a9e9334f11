"""What the page says, as HTML: everything that came from outside is escaped here."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from vidrestore.jobs.drawing import as_clock
from vidrestore.jobs.space import as_size
from vidrestore.web.jobs import Job, JobState
from vidrestore.web.tasks import Clip, FilmFacts, FoundPeople

_DOING = {
    "facts": "Looking at the film",
    "people": "Looking for people in the whole film",
    "frame": "Restoring this picture",
    "preview": "Making the preview clip",
    "film": "Restoring the film",
    "photo": "Restoring the photo",
}


def address(job: Job, name: str) -> str:
    """Return where the page hands out a file of a job."""
    return f"/results/{job.key}/{quote(name)}"


def facts_html(name: str, facts: FilmFacts, clip: Clip | None) -> str:
    """Describe a film in plain words.

    Args:
        name: What people call it.
        facts: From its inspection.
        clip: Of its latest preview, which tells how long a run would take.
    """
    rows = [
        ("Length", "not known" if facts.seconds is None else as_clock(facts.seconds)),
        ("Picture", f"{facts.width} × {facts.height}, {facts.frames_a_second:.4g} a second"),
        ("Tape lines", _fields(facts)),
        ("Sound", "yes, it is kept as it is" if facts.num_audio else "none"),
        ("Faces", _faces(facts)),
        ("Time it takes", _time(clip)),
    ]
    if clip is not None and clip.bytes_for_film:
        rows.append(("Size of the result", f"about {as_size(clip.bytes_for_film)}"))
    elif facts.output_bytes[1]:
        least, most = (as_size(value) for value in facts.output_bytes)
        rows.append(("Size of the result", f"{least} to {most}"))
    rows += [("Note", note) for note in facts.notes]
    cells = "".join(f"<tr><th>{key}</th><td>{escape(text)}</td></tr>" for key, text in rows)
    return f"<h3 class='name'>{escape(name)}</h3><table class='facts'>{cells}</table>"


def _fields(facts: FilmFacts) -> str:
    if facts.is_interlaced:
        return "two moments in each picture, as on tapes: they are made whole pictures"
    return "none, whole pictures"


def _faces(facts: FilmFacts) -> str:
    if not facts.most_faces:
        return "none seen at the places looked at"
    count = "one" if facts.most_faces == 1 else f"up to {facts.most_faces} at once"
    return f"{count}, about {facts.face_width_px:.0f} dots wide"


def _time(clip: Clip | None) -> str:
    if clip is None:
        return "make a preview clip to find out"
    if clip.seconds_for_film is None:
        return "not known, because the length of the film is not"
    basis = f" ({clip.basis})" if clip.basis else ""
    return f"about {duration(clip.seconds_for_film)}{basis}"


def duration(seconds: float) -> str:
    """Write how long something takes.

    >>> [duration(s) for s in (0.4, 1, 59, 61, 3600, 8000)]
    ['less than a second', '1 second', '59 seconds', '1 minute', '1 hour', '2 hours 13 minutes']
    """
    whole = round(seconds)
    if whole < 1:
        return "less than a second"
    if whole < 60:
        return _count(whole, "second")
    hours, minutes = divmod(round(whole / 60), 60)
    parts = [_count(hours, "hour")] if hours else []
    return " ".join([*parts, _count(minutes, "minute")] if minutes else parts)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def state_html(job: Job, num_before: int) -> str:
    """Say how far a job is, with a bar if it is at work.

    Args:
        job: Any.
        num_before: How many jobs come before it, if it waits.
    """
    doing = _DOING[job.task.kind]
    match job.state:
        case JobState.WAITING:
            others = "another job" if num_before == 1 else f"{num_before} other jobs"
            return _note(f"{doing}: waiting for {others} to finish first." if num_before else doing)
        case JobState.RUNNING:
            return _bar(job, doing)
        case JobState.STOPPING:
            return _note("Stopping …")
        case JobState.FAILED:
            return f"<div class='said bad' role='alert'>{escape(_sentence(job.reason))}</div>"
        case JobState.STOPPED:
            return _note("Stopped. What is finished is kept: start again to go on.")
        case JobState.DONE:
            notes = job.outcome.notes if job.outcome is not None else ()
            return "".join(_note(note) for note in notes)


def _bar(job: Job, doing: str) -> str:
    share, speed, left = job.share_done, job.frames_a_second, job.seconds_left
    if share is None or job.latest is None:
        return _note(f"{doing} …") + "<progress></progress>"
    progress = job.latest[1]
    parts = [
        f"{share:.0%}",
        f"picture {progress.num_frames_done} of {progress.num_frames_expected}",
    ]
    if progress.num_frames_kept:
        parts.append(f"{progress.num_frames_kept} done before")
    if speed:
        parts.append(f"{speed:.1f} a second")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return _note(f"{doing}: {', '.join(parts)}") + f"<progress value='{share:.4f}'></progress>"


def _note(text: str) -> str:
    return f"<div class='said'>{escape(text)}</div>"


def _sentence(text: str) -> str:
    """Begin an error, which the command line writes after a colon, with a capital letter."""
    return text[:1].upper() + text[1:]


def film_html(job: Job) -> str:
    """Offer what a job has made, with what is to be said of it."""
    links = []
    for name, path in (job.outcome.files if job.outcome is not None else {}).items():
        size = as_size(path.stat().st_size) if path.exists() else "deleted"
        links.append(
            f"<a class='take' href='{address(job, name)}?download' download='{escape(name)}'>"
            f"Save {escape(name)} ({size})</a>"
        )
    taken = (
        "" if job.seconds_taken is None else _note(f"Ready after {duration(job.seconds_taken)}.")
    )
    return taken + "".join(links) + state_html(job, 0)


def clip_html(job: Job) -> str:
    """Show a preview."""
    if job.outcome is None:
        return ""
    here = address(job, "preview.mp4")
    return (
        "<div class='said'>Preview: before on the left, after on the right.</div>"
        f"<video class='clip' controls playsinline loop preload='auto' src='{here}#t=0.05'></video>"
        f"<div class='said small'>If it does not play here, <a href='{here}?download' "
        "download='preview.mp4'>save it</a> and open it with your player.</div>"
        + state_html(job, 0)
    )


def people_html(job: Job, people: FoundPeople) -> str:
    """Show who is who."""
    if not people.captions:
        return _note("No faces were found in this film.")
    portraits = [
        f"<figure><img src='{address(job, name)}' alt='face {number}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for number, caption in people.captions.items()
        if (name := f"{number}.jpg") in people.files
    ]
    return f"<div class='people'>{''.join(portraits)}</div>"
