"""Reads reports, those of older versions and damaged ones included."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrestore.errors import MediaError
from vidrestore.report import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Tree:
    """JSON of which nothing is certain: what is missing, or of another kind, is empty."""

    value: Any

    def __getitem__(self, name: str) -> Tree:
        """Return a field of an object."""
        return Tree(self.value.get(name) if isinstance(self.value, dict) else None)

    def rows(self) -> list[Tree]:
        """Return the items of a list."""
        return [Tree(item) for item in self.value] if isinstance(self.value, list) else []

    def fields(self) -> list[tuple[str, Tree]]:
        """Return names and values of an object."""
        return [(k, Tree(v)) for k, v in self.value.items()] if isinstance(self.value, dict) else []

    def number(self) -> float | None:
        """Return a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        return float(self.value) if abs(self.value) < 1e300 and math.isfinite(self.value) else None

    def numbers(self, count: int) -> list[float | None]:
        """Return a list of so many numbers."""
        found = [item.number() for item in self.rows()[:count]]
        return found + [None] * (count - len(found))

    def text(self) -> str:
        """Return a text, a number or a list of such in words."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        if isinstance(self.value, int | float):
            return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)
        return ", ".join(row.text() for row in self.rows())

    def leaves(self, prefix: str = "") -> list[tuple[str, str]]:
        """Return everything below as names with dots, and texts."""
        if not isinstance(self.value, dict):
            return [(prefix, self.text())]
        return [
            leaf
            for name, child in self.fields()
            for leaf in child.leaves(f"{prefix}.{name}" if prefix else name)
        ]


def read_report(path: Path) -> Tree:
    """Read the JSON report of a run.

    Raises:
        MediaError: There is no such file, or it is no report that this version can read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MediaError(f"cannot read the report {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MediaError(
            f"{path} is no report but some other file: give the .json that --report wrote"
        ) from error
    try:
        report = Tree(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise MediaError(
            f"{path} is damaged, or no report ({error}): give the .json that --report wrote"
        ) from error
    schema = report["schema_version"].number()
    if schema is None or not report["frames"].fields():
        raise MediaError(
            f"{path} is JSON, but no report of vidrestore: give the .json that --report wrote"
        )
    if schema > SCHEMA_VERSION:
        raise MediaError(
            f"{path} was written by a newer vidrestore (schema {schema:g}, this one reads "
            f"{SCHEMA_VERSION}): update vidrestore"
        )
    return report
