"""A course over time in bounded memory: one value for each stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Stretches(Generic[T]):
    """One value for each stretch of time; stretches double in length when they are too many.

    Args:
        seconds: Length of a stretch at first.
        most: How many are kept.
        merge: Makes one value of two, the earlier of which comes first. It must not change them.

    >>> louder = Stretches(1.0, 2, max)
    >>> for seconds, volume in enumerate([3, 5, 4]): louder.add(seconds, volume)
    >>> louder.items()
    [(0.0, 5), (2.0, 4)]
    """

    def __init__(self, seconds: float, most: int, merge: Callable[[T, T], T]) -> None:
        self.seconds = seconds
        self._most, self._merge = most, merge
        self._values: dict[int, T] = {}
        """By number: stretch k is [k, k + 1) times ``seconds``."""
        self._changed: set[int] = set()

    def at(self, seconds: float) -> T | None:
        """Return the value of the stretch that a moment lies in."""
        return self._values.get(int(seconds // self.seconds))

    def add(self, seconds: float, value: T) -> None:
        """Merge a value into the stretch that its moment lies in."""
        number = int(seconds // self.seconds)
        known = self._values.get(number)
        self._values[number] = value if known is None else self._merge(known, value)
        self._changed.add(number)
        while len(self._values) > self._most:
            self._double()

    def items(self) -> list[tuple[float, T]]:
        """Return when each stretch begins, in seconds, and its value, by time."""
        return [(number * self.seconds, self._values[number]) for number in sorted(self._values)]

    def changes(self) -> list[tuple[int, T]]:
        """Return the values, by number, that have changed since the last call."""
        changed, self._changed = sorted(self._changed), set()
        return [(number, self._values[number]) for number in changed]

    def take_up(self, seconds: float, changes: Iterable[tuple[int, T]]) -> None:
        """Take what ``changes`` returned elsewhere, where stretches were ``seconds`` long."""
        while self.seconds < seconds:
            self._double()
        self._values.update(changes)

    def _double(self) -> None:
        self.seconds *= 2
        earlier, self._values = self._values, {}
        for number in sorted(earlier):
            known, value = self._values.get(number // 2), earlier[number]
            self._values[number // 2] = value if known is None else self._merge(known, value)
        self._changed = {number // 2 for number in self._changed}
