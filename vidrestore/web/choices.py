"""What people have chosen on the page, and the settings of the run that it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vidrestore.errors import SettingsError
from vidrestore.models.weights import WeightsStore
from vidrestore.settings import (
    BlendSettings,
    FaceChoice,
    ModelSettings,
    Moment,
    RestoreSettings,
    TimeSpan,
)


class Whom(StrEnum):
    """Whose faces are restored, as the page says it."""

    ALL = "Everybody"
    LARGEST = "Only the largest face"
    SOME = "Only some people"


@dataclass(frozen=True, slots=True)
class Choices:
    """The fields of the page, in its order."""

    whom: str
    people: Sequence[int]
    """Numbers in the faces file; they count with ``Whom.SOME`` only."""
    strength: float
    model: str
    start: str | None
    """As on the command line; empty: from the beginning."""
    end: str | None

    def span(self) -> TimeSpan:
        """Return the part of the film that is wanted.

        Raises:
            SettingsError: A time cannot be read.
        """
        start, end = (
            Moment.parse(text.strip()) if text and text.strip() else None
            for text in (self.start, self.end)
        )
        return TimeSpan(start, end)

    def settings(self, faces_file: Path, span: TimeSpan | None = None) -> RestoreSettings:
        """Return the settings of a run.

        Args:
            faces_file: Where the faces of the film are numbered.
            span: None: the whole film.

        Raises:
            SettingsError: Some people are wanted, but nobody is ticked.
        """
        faces: FaceChoice | tuple[int, ...] = FaceChoice.ALL
        if self.whom == Whom.LARGEST:
            faces = FaceChoice.LARGEST
        elif self.whom == Whom.SOME:
            if not self.people:
                raise SettingsError(
                    "say whose faces: press 'Find the people in this film' and tick some of them"
                )
            faces = tuple(sorted(self.people))
        return RestoreSettings(
            span=span or TimeSpan(),
            model=ModelSettings(name=self.model),
            blend=BlendSettings(
                strength=self.strength,
                faces=faces,
                faces_file=faces_file if self.whom == Whom.SOME else None,
            ),
        )


def installed_models() -> list[str]:
    """Return the names of the restoring models that are here."""
    return [
        row.spec.name
        for row in WeightsStore().installed()
        if row.kind == "restorer" and row.path is not None and row.is_intact is not False
    ]
