"""Customers active by age in; retention of matured customers, its average and contrasts, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.data.activity import LATE, Activity
from retention_lab.data.sums import Floats
from retention_lab.survival.intervals import critical, score_limits, wilson

Counts = npt.NDArray[np.int64]
FARTHEST, HALVINGS = 40.0, 60  # standard errors between which a p-value is looked for

IMMATURE = "immature: no customer has reached the end of day {day:g}"
PARTLY = "partly_matured: not all of the customers have reached the end of day {day:g}"
BEFORE = "before_origin: the window begins before the customer's first day"
ONE_COHORT = "one_cohort: the interval is of these customers, not of cohorts"


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Retention of one cohort at one age; `share` is None where nobody has reached it."""

    levels: tuple[Any, ...]
    begin: float
    end: float
    size: int
    matured: int
    active: int | None = None
    share: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Triangle:
    """Retention of G cohorts (or groups) at A ages.

    ========== ===== =========================================================================
    cohorts    G     the levels of each, in the order of `keys`
    begin, end A     the days of age from which and up to which activity counts, both included
    size       G     customers
    matured    G x A customers of whom all these days are complete: the denominators
    active     G x A those of them who were active
    share      G x A active / matured; nan where nobody is matured, never 0
    low, high  G x A interval of the share (Wilson's)
    ========== ===== =========================================================================

    `end` is inf where activity counts up to the last complete day. Cells are small where `matured`
    is: what is shown is the caller's decision. `left_out` customers were not seen from their
    origin on.
    """

    keys: tuple[str, ...]
    cohorts: tuple[tuple[Any, ...], ...]
    begin: Floats
    end: Floats
    size: Counts
    matured: Counts
    active: Counts
    share: Floats
    low: Floats
    high: Floats
    alpha: float
    left_out: int = 0

    def cells(self) -> Iterator[Cell]:
        """Every cell, cohort by cohort."""
        for g in range(len(self.cohorts)):
            for a in range(len(self.begin)):
                yield self.cell(g, a)

    def cell(self, cohort: int, age: int) -> Cell:
        """The cell at these positions, with None and the reason where there is no number."""
        begin, end = float(self.begin[age]), float(self.end[age])
        size, matured = int(self.size[cohort]), int(self.matured[cohort, age])
        where = (self.cohorts[cohort], begin, end, size, matured)
        reached = begin if math.isinf(end) else end
        if begin < 0:
            return Cell(*where, note=BEFORE)
        if matured == 0:
            return Cell(*where, note=IMMATURE.format(day=reached))
        note = PARTLY.format(day=reached) if matured < size else None
        at = (cohort, age)
        bounds = (float(self.share[at]), float(self.low[at]), float(self.high[at]))
        return Cell(*where, int(self.active[at]), *bounds, note)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Average:
    """Retention at A ages over the cohorts that have matured customers there.

    `share` is active / matured over them all; `cohorts`, `matured` and `active` are what it rests
    on, and change with the age: a later age has fewer, older cohorts. nan where there is none, and
    `notes` says why.
    """

    begin: Floats
    end: Floats
    share: Floats
    std_error: Floats
    low: Floats
    high: Floats
    cohorts: Counts
    matured: Counts
    active: Counts
    notes: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """Retention of one group less that of another on days `begin` to `end` of their age."""

    begin: float
    end: float
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    note: str | None = None


def on_day(activity: Activity, days: Sequence[int], alpha: float = 0.05) -> Triangle:
    """N-day retention: customers active on day N of their age, by cell of `activity`."""
    at = np.asarray(days, np.float64)
    active = _at(_table(activity, "day"), at)
    return _triangle(activity, at, at, active, alpha)


def from_day(activity: Activity, days: Sequence[int], alpha: float = 0.05) -> Triangle:
    """Unbounded retention: customers active on day N or later, up to the last complete day.

    Of customers who have reached day N. Those who began earlier have had more time to come back, so
    that younger cohorts still grow.
    """
    at = np.asarray(days, np.float64)
    day, table = _table(activity, "final")
    later = np.zeros((activity.cells, len(day) + 1), np.int64)
    later[:, :-1] = np.cumsum(table[:, ::-1], axis=1)[:, ::-1]
    active = later[:, np.searchsorted(day, at, side="left")]
    return _triangle(activity, at, np.full(len(at), np.inf), active, alpha)


def in_brackets(activity: Activity, alpha: float = 0.05) -> Triangle:
    """Bracket retention: customers active on any day of [edge, next edge), by bracket reduced.

    Only customers of whom the whole bracket is complete count, above the line as below it.
    """
    cell, first, _, count = activity.rows("bracket")
    begin, end = (np.array(e, np.float64) for e in (activity.edges[:-1], activity.edges[1:]))
    active = np.zeros((activity.cells, len(begin)), np.int64)
    np.add.at(active, (cell, np.searchsorted(begin, first)), count.astype(np.int64))
    return _triangle(activity, begin, end - 1.0, active, alpha)


def rolling(activity: Activity, days: Sequence[int], window: int, alpha: float = 0.05) -> Triangle:
    """Rolling retention: customers active in the `window` days that end with day N.

    No number where the window begins before day 0. Raises ValueError for a window not reduced.
    """
    if window not in activity.windows:
        raise ValueError(f"the reduction has no window of {window} days: {activity.windows}")
    cell, first, second, count = activity.rows("rolling")
    mine = second == window
    at = np.asarray(days, np.float64)
    moves = np.unique(first[mine])
    table = np.zeros((activity.cells, len(moves) + 1), np.int64)
    np.add.at(
        table,
        (cell[mine], np.searchsorted(moves, first[mine]) + 1),
        count[mine].astype(np.int64),
    )
    active = np.cumsum(table, axis=1)[:, np.searchsorted(moves, at, side="right")]
    return _triangle(activity, at - window + 1.0, at, active, alpha)


def average(triangle: Triangle) -> Average:
    """The average retention curve, with its error between cohorts.

    R = sum x / sum n over the C cohorts with matured customers, and w = n / sum n their weights. By
    the delta method its variance is sum r^2 / (sum n)^2 with r = (x - R n) / sqrt(1 - w), so that
    it says how a cohort like these would do. The interval is on the scale of the log odds, with the
    degrees of freedom of these residuals where x varies as n does: tr(B)^2 / tr(B B), at least 1,
    B = A (I - w 1') diag(w) (I - 1 w') A and A = diag(1 / sqrt(1 - w)). They are C - 1 for cohorts
    of one size, and close to 1 where two make up nearly all. Of one cohort, or where cohorts do not
    differ, the interval is Wilson's of the customers. Source: Bell and McCaffrey (2002), "Bias
    reduction in standard errors for linear regression with multi-stage samples", Survey Methodology
    28(2), 169-181.
    """
    x = triangle.active.astype(np.float64)
    n = triangle.matured.astype(np.float64)
    cohorts, matured, active = (n > 0).sum(axis=0), n.sum(axis=0), x.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = active / matured
        weight = n / matured
        spread = np.sum((x - share * n) ** 2 / (1.0 - weight), axis=0)
        error = np.sqrt(spread) / matured
        odds = special.logit(share)
        t = special.stdtrit(_freedom(weight), 1.0 - triangle.alpha / 2.0)
        half = t * error / (share * (1.0 - share))
        low, high = special.expit(odds - half), special.expit(odds + half)
    of_customers = wilson(active, matured, triangle.alpha)
    alone = (cohorts == 1) | (np.isfinite(error) & (error == 0.0))
    alone |= (matured > 0) & ((active == 0) | (active == matured))
    binomial = np.sqrt(share * (1.0 - share) / np.maximum(matured, 1.0))
    known = matured > 0
    notes = tuple(
        BEFORE
        if begin < 0
        else IMMATURE.format(day=begin if math.isinf(end) else end)
        if not some
        else ONE_COHORT
        if one
        else None
        for begin, end, some, one in zip(triangle.begin, triangle.end, known, alone, strict=True)
    )
    return Average(
        begin=triangle.begin,
        end=triangle.end,
        share=share,
        std_error=np.where(known, np.where(alone, binomial, error), np.nan),
        low=np.where(alone, of_customers[0], low),
        high=np.where(alone, of_customers[1], high),
        cohorts=cohorts,
        matured=matured.astype(np.int64),
        active=active.astype(np.int64),
        notes=notes,
    )


def _freedom(weight: Floats) -> Floats:
    """Bell and McCaffrey's degrees of freedom by age, of the cohorts' weights, [C, A] -> [A].

    Without the matrices: the diagonal of B is w, which adds up to 1, and elsewhere its squares are
    u_g u_h with u = w^2 / (1 - w).
    """
    u = weight**2 / (1.0 - weight)
    square = np.sum(weight**2, axis=0) + np.sum(u, axis=0) ** 2 - np.sum(u**2, axis=0)
    return np.asarray(np.maximum(1.0 / square, 1.0), np.float64)


def differences(triangle: Triangle, cohort: int, base: int) -> list[Difference]:
    """Retention of the group at position `cohort` less that at `base`, by age.

    The interval is Newcombe's, of both groups' Wilson intervals; the p-value is the level at which
    it just excludes 0. Customers are in one of the groups only. Source: Newcombe (1998), "Interval
    estimation for the difference between independent proportions", Statistics in Medicine 17(8),
    873-890, method 10.
    """
    x, n = triangle.active[[cohort, base]], triangle.matured[[cohort, base]]
    share = triangle.share[[cohort, base]]
    estimate = share[0] - share[1]
    low, high = _newcombe(x, n, critical(triangle.alpha))
    least, most = np.zeros(len(estimate)), np.full(len(estimate), FARTHEST)
    for _ in range(HALVINGS):
        z = (least + most) / 2.0
        below, above = _newcombe(x, n, z)
        apart = np.where(estimate > 0, below > 0, above < 0)
        least, most = np.where(apart, z, least), np.where(apart, most, z)
    p_value = np.where(estimate == 0, 1.0, 2.0 * special.ndtr(-least))
    found = []
    for a, (begin, end) in enumerate(zip(triangle.begin, triangle.end, strict=True)):
        if not np.isfinite(estimate[a]):
            cells = (triangle.cell(g, a) for g in (cohort, base))
            note = next(c.note for c in cells if c.share is None)
            found.append(Difference(float(begin), float(end), note=note))
            continue
        bounds = float(low[a]), float(high[a])
        days = float(begin), float(end)
        found.append(Difference(*days, float(estimate[a]), *bounds, float(p_value[a])))
    return found


def _triangle(
    activity: Activity, begin: Floats, end: Floats, active: Counts, alpha: float
) -> Triangle:
    reached = np.where(np.isinf(end), begin, end)
    day, table = _table(activity, "last")
    later = np.zeros((activity.cells, len(day) + 1), np.int64)
    later[:, :-1] = np.cumsum(table[:, ::-1], axis=1)[:, ::-1]
    matured = later[:, np.searchsorted(day, reached, side="left")]
    early = begin < 0
    matured = np.where(early, 0, matured)
    active = np.where(early, 0, active)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = active / np.where(matured > 0, matured, np.nan)
    low, high = wilson(active, matured, alpha)
    levels = (activity.levels[k].tolist() for k in activity.keys)
    cohorts = tuple(zip(*levels, strict=True)) if activity.keys else ((),) * activity.cells
    left_out = int(activity.rows(LATE)[3].sum())
    size = activity.customers
    arrays = (begin, end, size, matured, active, share, low, high)
    return Triangle(activity.keys, cohorts, *arrays, alpha, left_out)


def _table(activity: Activity, kind: str) -> tuple[Floats, Counts]:
    """The days of a kind of rows, and its counts by cell and day."""
    cell, first, _, count = activity.rows(kind)
    day, place = np.unique(first, return_inverse=True)
    table = np.zeros((activity.cells, len(day)), np.int64)
    np.add.at(table, (cell, place), count.astype(np.int64))
    return day, table


def _at(found: tuple[Floats, Counts], days: Floats) -> Counts:
    """The counts on `days`, 0 on days that have none."""
    known, table = found
    place = np.searchsorted(known, days)
    there = np.append(known, np.nan)[place] == days
    padded = np.concatenate([table, np.zeros((len(table), 1), np.int64)], axis=1)
    return np.where(there, padded[:, place], 0)


def _newcombe(x: Counts, n: Counts, z: float | Floats) -> tuple[Floats, Floats]:
    """Interval of the first share less the second, at z standard errors."""
    low, high = score_limits(x, n, z)
    share = x / np.where(n > 0, n, np.nan)
    difference = share[0] - share[1]
    below = np.hypot(share[0] - low[0], high[1] - share[1])
    above = np.hypot(high[0] - share[0], share[1] - low[1])
    return difference - below, difference + above
