"""A reduction in; its margins, each made once and from the smallest that holds it, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.data.moments import Moments

if TYPE_CHECKING:
    from retention_lab.data.values import ValueCounts


class Rolled:
    """The margins of one reduction; `roll_up` is that of `Moments`."""

    def __init__(self, moments: Moments) -> None:
        self.moments, self.keys, self.buckets = moments, moments.keys, moments.buckets
        self.values = moments.values
        self._values: dict[tuple[str, ...], ValueCounts] = {}
        self._made: dict[tuple[str, ...], Moments] = {}
        self._until: dict[tuple[str, ...], Rolled] = {}

    def roll_up(self, *keys: str) -> Moments:
        """The margins over `keys`."""
        if keys not in self._made:
            holding = [m for made, m in self._made.items() if set(keys) <= set(made)]
            smallest = min(holding, key=lambda m: len(m.cells), default=self.moments)
            self._made[keys] = smallest.roll_up(*keys)
        return self._made[keys]

    def until(self, key: str, level: str, *keys: str) -> Rolled:
        """The margins over `keys` and `key`, where `key` is at most `level`."""
        if (key, level, *keys) not in self._until:
            self._until[key, level, *keys] = Rolled(self.roll_up(*keys, key).until(key, level))
        return self._until[key, level, *keys]

    def counts(self, column: str, *keys: str) -> ValueCounts:
        """The counts of a column's values over `keys`."""
        if (column, *keys) not in self._values:
            self._values[column, *keys] = self.values[column].roll_up(*keys)
        return self._values[column, *keys]
