"""A life table, or times and causes of units, in; at risk, events and exits by time out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import distinct, times_of
from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import did_you_mean

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Counts at the T distinct times at which a unit has an event or leaves, for C causes.

    ======== ===== ==================================================
    time     T     ascending
    at_risk  T     units with start < time <= stop
    events   T x C units in which the cause happened at this time
    censored T     units last seen at this time without any event
    ======== ===== ==================================================

    At each time events come before exits: who is censored on a day was at risk on it.
    """

    time: Floats
    at_risk: Counts
    events: Counts
    censored: Counts

    @property
    def total(self) -> Counts:
        """Events of all causes together, [T]."""
        return np.asarray(self.events.sum(axis=1), np.int64)

    def happened(self, cause: int | None = 1) -> Counts:
        """Events of `cause` (1, 2 ...; None: of all) by time, [T]."""
        return self.total if cause is None else self.events[:, _column(self.events, cause)]

    def at_risk_at(self, times: Any) -> Counts:
        """Units at risk just before each of `times`: those of the next time here, 0 after the last.

        Exact without late entry; with it units that enter before the next time count already.
        """
        place = np.searchsorted(self.time, np.asarray(times, np.float64), side="left")
        return np.append(self.at_risk, 0)[place]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The counts of G groups at the same T times: those of any group's events and exits.

    ======== ========= ===============================
    labels   G         the levels that make the group
    time     T         ascending
    at_risk  G x T     as in `Steps`
    events   G x T x C
    censored G x T
    ======== ========= ===============================
    """

    labels: tuple[tuple[Any, ...], ...]
    time: Floats
    at_risk: Counts
    events: Counts
    censored: Counts

    def happened(self, cause: int | None = 1) -> Counts:
        """Events of `cause` (1, 2 ...; None: of all) by group and time, [G, T]."""
        if cause is None:
            return np.asarray(self.events.sum(axis=2), np.int64)
        return self.events[:, :, _column(self.events, cause)]

    def steps(self, group: int) -> Steps:
        """The counts of one group, at its own times."""
        own = (self.events[group].sum(axis=1) + self.censored[group]) > 0
        return Steps(
            self.time[own],
            self.at_risk[group, own],
            self.events[group, own],
            self.censored[group, own],
        )


def steps(table: LifeTable) -> Steps:
    """Counts by time over all cells of `table`; empty arrays where it has no row."""
    return _grid(table, np.zeros(table.cells, np.intp), ((),)).steps(0)


def steps_of(stop: Any, cause: Any, n: Any = None, start: Any = None, causes: int = 1) -> Steps:
    """Counts by time of arrays of shape (rows,), which need not be unique or sorted.

    Rows that cannot be used (see `LifeTable.of`) are left out. Raises ValueError as it does.
    """
    names = [str(k + 1) for k in range(causes)]
    return steps(LifeTable.of(stop, cause, n, start, causes=names))


def grid(table: LifeTable, *keys: str) -> Grid:
    """Counts by group and time, a group for each combination of levels of `keys`, sorted.

    Raises KeyError where the table is not split by one of `keys`.
    """
    for key in keys:
        if key not in table.keys:
            raise KeyError(f"the life table is not split by {key!r}{did_you_mean(key, table.keys)}")
    code, levels = distinct({k: table.levels[k] for k in keys}, table.cells)
    labels = zip(*(levels[k].tolist() for k in keys), strict=True) if keys else [()]
    return _grid(table, code, tuple(labels))


def _grid(table: LifeTable, group: Any, labels: tuple[tuple[Any, ...], ...]) -> Grid:
    """`group` is the position in `labels` of each cell of `table`."""
    groups, width = len(labels), len(table.causes) + 1
    mine = group[table.cell]
    code, levels = times_of(table.stop)
    shape = (groups, len(levels), width)
    counts = np.zeros(groups * len(levels) * width, np.int64)
    np.add.at(counts, (mine * len(levels) + code) * width + table.cause, table.n)
    by_cause = counts.reshape(shape)
    leaving = by_cause.sum(axis=2)
    seen = leaving.any(axis=0)
    time, by_cause, leaving = levels[seen], by_cause[:, seen], leaving[:, seen]
    at_risk = _from_here_on(leaving)
    late = table.start > -np.inf
    if late.any():
        # Who starts at or after a time is not yet at risk at it.
        last = np.searchsorted(time, table.start[late], side="right")
        entered = np.zeros((groups, len(time) + 1), np.int64)
        np.add.at(entered, (mine[late], last), table.n[late])
        at_risk = at_risk - _from_here_on(entered)[:, 1:]
    return Grid(labels, time, at_risk, by_cause[:, :, 1:], by_cause[:, :, 0])


def _from_here_on(counts: Counts) -> Counts:
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1], np.int64)


def _column(events: Counts, cause: int) -> int:
    if not 1 <= cause <= events.shape[-1]:
        raise ValueError(f"cause {cause} is not in 1 .. {events.shape[-1]}")
    return cause - 1
