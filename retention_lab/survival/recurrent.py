"""Sums over customers of repeated events in; their mean cumulative function out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from retention_lab.data.repeats import Repeats
from retention_lab.data.sums import Floats
from retention_lab.errors import DataError
from retention_lab.survival.intervals import critical

Scale = Literal["log", "plain"]
MOST_TIMES = 5_000
EPS = float(np.finfo(np.float64).eps)

BEYOND = "beyond_follow_up: no customer is at risk as late as this; the last day is {last:g}"
TOO_FEW = "too_few_customers: fewer than two customers, so there is no error"
NO_EVENTS = "no_events: nothing has happened by then, so there is no error"
NO_VARIANCE = "zero_variance: every customer has the same history, so there is no error"
EMPTY = "no_customers: there are no customers"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Process:
    """Events of one group of customers at the T distinct times at which any happened.

    ========== ===== ==========================================================
    time       T     ascending
    at_risk    T     customers at risk
    events     T     events of them all
    spread     T x T covariance of the estimated increments events / at_risk
    mark       M     when customers leave or enter, ascending
    leaving    M     customers who leave then, less those who enter then
    ========== ===== ==========================================================

    `customers` is how many there are.
    """

    time: Floats
    at_risk: Floats
    events: Floats
    spread: Floats
    mark: Floats
    leaving: Floats
    customers: int

    @property
    def increments(self) -> Floats:
        """Events per customer at risk, by time."""
        return self.events / np.maximum(self.at_risk, 1.0)

    @property
    def until(self) -> float:
        """The last time at which a customer is at risk; nan where there are none."""
        return float(self.mark[-1]) if len(self.mark) else math.nan

    def at_risk_at(self, times: Any) -> Floats:
        """Customers at risk at each of `times`."""
        later = np.append(np.cumsum(self.leaving[::-1])[::-1], 0.0)
        place = np.searchsorted(self.mark, np.asarray(times, np.float64), side="left")
        return np.asarray(later[place], np.float64)

    def on(self, time: Floats) -> Process:
        """The same on `time`, which holds all of the process's own; elsewhere nothing happens."""
        at = np.searchsorted(time, self.time)
        events, spread = np.zeros(len(time)), np.zeros((len(time), len(time)))
        events[at] = self.events
        spread[np.ix_(at, at)] = self.spread
        new: dict[str, Any] = {"time": time, "events": events, "spread": spread}
        return dataclasses.replace(self, at_risk=self.at_risk_at(time), **new)


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """An estimate on a day with its interval; None where there is none, and `note` says why."""

    day: float
    estimate: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MeanCumulative:
    """Events per customer up to and including each of T times, with pointwise intervals.

    Bounds are nan where there is no error. `process` is what it was made from.
    """

    time: Floats
    estimate: Floats
    std_error: Floats
    low: Floats
    high: Floats
    process: Process
    alpha: float
    scale: Scale

    def at(self, days: Sequence[float]) -> list[Value]:
        """The estimate on chosen days; beyond the last customer's time at risk there is none."""
        return [self._on(float(day)) for day in days]

    def _on(self, day: float) -> Value:
        process = self.process
        note = unknown(process, day)
        if note is not None:
            return Value(day, note=note)
        i = int(np.searchsorted(process.time, day, side="right")) - 1
        if i < 0:
            return Value(day, 0.0, note=NO_EVENTS)
        estimate, error = float(self.estimate[i]), float(self.std_error[i])
        if not math.isfinite(self.low[i]):
            few = TOO_FEW if process.customers < 2 else NO_VARIANCE
            return Value(day, estimate, note=few)
        return Value(day, estimate, error, float(self.low[i]), float(self.high[i]))


def process(repeats: Repeats) -> Process:
    """The events of all cells of `repeats` together, with the covariance of their increments.

    With w = 1 / Y and g = dN / Y^2 the increments' covariance at s and t is the sum over customers
    of (w(s) n_i(s) - g(s) Y_i(s)) (w(t) n_i(t) - g(t) Y_i(t)), from the sums of n_i(s) n_i(t), of
    n_i(s) Y_i(t) and of Y_i(s) Y_i(t) that the reduction holds.
    Source: Lawless and Nadeau (1995), "Some simple robust methods for the analysis of recurrent
    events", Technometrics 37(2), 158-168, equation 2.2.
    Raises DataError for more than 5,000 distinct times, which want rounding.
    """
    _, day, _, count = repeats.rows("event")
    _, one, two, pairs = repeats.rows("event event")
    time = np.union1d(day, one)
    size = len(time)
    if size > MOST_TIMES:
        raise DataError(f"{size:,} distinct times of events; round them to days or longer steps")
    events = _table([(time, day, False)], count)
    _, mark, _, sign = repeats.rows("mark")
    marks, place = np.unique(mark, return_inverse=True)
    leaving = np.bincount(place, weights=sign, minlength=len(marks)).astype(np.float64)
    at_risk = _later(_table([(time, mark, True)], sign))
    ee = _symmetric(time, one, two, pairs, False)
    _, when, mark, both = repeats.rows("event mark")
    ey = _later(_table([(time, when, False), (time, mark, True)], both), axis=1)
    _, one, two, signs = repeats.rows("mark mark")
    yy = _later(_later(_symmetric(time, one, two, signs, True), axis=0), axis=1)
    w = 1.0 / at_risk
    g = events * w * w
    cross = w[:, None] * ey * g
    parts = (w[:, None] * ee * w, g[:, None] * yy * g)
    spread = parts[0] - cross - cross.T + parts[1]
    customers = int(repeats.customers.sum())
    # What is below the rounding of its parts is 0: all customers alike have no variance.
    grain = 64 * EPS * (np.abs(parts[0]) + np.abs(cross) + np.abs(cross.T) + parts[1])
    spread[np.abs(spread) <= grain] = 0.0
    return Process(time, at_risk, events, spread, marks, leaving, customers)


def mean_cumulative(
    repeats: Repeats | Process, alpha: float = 0.05, scale: Scale = "log"
) -> MeanCumulative:
    """Nelson's estimate of the mean number of events per customer, with robust intervals.

    M(t) = sum over s <= t of dN(s) / Y(s); its variance is that of Lawless and Nadeau (1995), which
    asks nothing of how a customer's events depend on each other: the infinitesimal jackknife.
    Intervals are M exp(+- z se / M) on the scale "log", which stay positive, M +- z se on "plain".
    Source: Nelson (1995), "Confidence limits for recurrence data", Technometrics 37(2), 147-157.
    """
    p = repeats if isinstance(repeats, Process) else process(repeats)
    estimate = np.cumsum(p.increments)
    error = np.sqrt(_running(p.spread))
    known = (p.customers > 1) & (error > 0.0)
    z = critical(alpha)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if scale == "log":
            factor = np.exp(z * error / np.abs(estimate))
            one, two = estimate / factor, estimate * factor
            low, high = np.minimum(one, two), np.maximum(one, two)
            known &= estimate != 0.0
        else:
            low, high = estimate - z * error, estimate + z * error
    low, high = (np.where(known, bound, np.nan) for bound in (low, high))
    return MeanCumulative(p.time, estimate, error, low, high, p, alpha, scale)


def unknown(p: Process, day: float) -> str | None:
    """Why nothing can be said of `day`, or None."""
    if p.customers == 0:
        return EMPTY
    return None if day <= p.until else BEYOND.format(last=p.until)


def _running(spread: Floats) -> Floats:
    """Variances of the running sums of increments with covariance `spread`."""
    below = np.tril(spread, -1).sum(axis=1)
    return np.asarray(np.maximum(np.cumsum(2.0 * below + np.diag(spread)), 0.0), np.float64)


def _symmetric(time: Floats, one: Floats, two: Floats, value: Floats, mark: bool) -> Floats:
    """The whole table of pairs of which only those with `one` <= `two` are given."""
    apart = one != two
    half = _table([(time, one, mark), (time, two, mark)], value * np.where(apart, 1.0, 0.5))
    return half + half.T


def _table(sides: Sequence[tuple[Floats, Floats, bool]], value: Floats) -> Floats:
    """Sums of `value` by the places of its days among the times of each side.

    The place of a mark is the last time that is not after it; marks before all times count nowhere.
    """
    places = [
        np.searchsorted(time, day, side="right" if mark else "left") - int(mark)
        for time, day, mark in sides
    ]
    shape = tuple(len(time) for time, _, _ in sides)
    kept = np.all([p >= 0 for p in places], axis=0)
    index = np.zeros(int(kept.sum()), np.intp)
    for place, size in zip(places, shape, strict=True):
        index = index * size + place[kept]
    found = np.bincount(index, value[kept], math.prod(shape)).astype(np.float64)
    return found.reshape(shape)


def _later(table: Floats, axis: int = 0) -> Floats:
    """Sums over this place and all later ones."""
    return np.asarray(np.flip(np.cumsum(np.flip(table, axis), axis), axis), np.float64)
