"""Whose faces a run restores, and what it has to say about that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidrestore.core.face_choice import FaceChooser
from vidrestore.errors import SettingsError
from vidrestore.jobs.faces_file import FacesFile, describe_search, identify, read_faces_file
from vidrestore.settings import RestoreSettings


class FaceSelection:
    """The choice of faces of one run.

    Args:
        film: The film.
        settings: Of the run; its faces file, if it has one, is read here and not again.

    Raises:
        SettingsError: The faces file cannot be read, is of another film, or lacks a face that is
            asked for.
        MediaError: The film cannot be read.
    """

    def __init__(self, film: Path, settings: RestoreSettings) -> None:
        self._settings = settings
        path = settings.blend.faces_file
        self._file = None if path is None else read_faces_file(path)
        if self._file is not None:
            _require_same_film(self._file, film, path)
            _require_known(self._file, settings)
        known = () if self._file is None else self._file.faces
        self.chooser = FaceChooser(settings.blend.faces, known)

    @property
    def digest(self) -> str | None:
        """What differs when another faces file gives other pictures; None without a file."""
        return None if self._file is None else self._file.digest()

    def doubts(self, models: Mapping[str, Any]) -> list[str]:
        """Warn, before the work begins, where the faces were numbered under other settings.

        Args:
            models: The report's facts about the networks.
        """
        if self._file is None:
            return []
        differing = self._file.differences(
            describe_search(
                self._settings, models["detector"]["name"], has_embedder="embedder" in models
            )
        )
        if not differing:
            return []
        return [
            f"{self._settings.blend.faces_file} was made under other settings "
            f"({'; '.join(differing)}): some faces may not be recognised"
        ]

    def notes(self) -> list[str]:
        """Say, after the work, how many frames had faces that are not in the file."""
        count = self.chooser.num_frames_with_strangers
        if not count:
            return []
        fate = "left alone" if isinstance(self._settings.blend.faces, tuple) else "restored as all"
        frames = "1 frame" if count == 1 else f"{count} frames"
        return [
            f"faces that are not in {self._settings.blend.faces_file} were found in {frames} and "
            f"{fate}"
        ]


def _require_same_film(faces: FacesFile, film: Path, path: Path | None) -> None:
    if dict(faces.fingerprint) != identify(film):
        raise SettingsError(
            f"{path} numbers the faces of another film ('{faces.film}'): "
            f"'vidrestore inspect {film} --faces-file FILE' makes one for this film"
        )


def _require_known(faces: FacesFile, settings: RestoreSettings) -> None:
    asked = settings.blend.faces if isinstance(settings.blend.faces, tuple) else ()
    known = [face.face_id for face in faces.faces]
    unknown = [number for number in asked if number not in known]
    if unknown:
        there = f"it has {min(known)} to {max(known)}" if known else "it has none"
        raise SettingsError(
            f"there is no face {unknown[0]} in {settings.blend.faces_file}: {there}"
        )
