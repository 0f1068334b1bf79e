"""Steps of one group in; its survival curve with limits, quantiles and fixed days, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from retention_lab.survival.intervals import (
    NO_ERROR,
    Estimate,
    Kind,
    limits,
    wald,
    wilson,
)
from retention_lab.survival.steps import Counts, Floats, Steps

TOLERANCE = math.sqrt(float(np.finfo(np.float64).eps))  # of equality in quantiles

NOBODY = "empty: there are no units"
BEYOND = "beyond_follow_up: nobody was observed for so long"
ALL_HAD_IT = (
    "survival_zero: everybody still at risk has had the event, so the error has no estimate"
)
NO_EVENT_YET = "no_event_yet: nobody has had the event by then, so there is no log-log interval"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Points:
    """A curve at fixed times, every array [times]; nan where there is no number, with a note."""

    time: Floats
    at_risk: Counts
    estimate: Floats
    std_error: Floats
    low: Floats
    high: Floats
    notes: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """Times by which the shares `p` have had the event, with limits; nan where not reached."""

    p: Floats
    time: Floats
    low: Floats
    high: Floats


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Survival at the T times of `steps`; right-continuous, 1 before the first of them.

    `std_error` is that of survival itself; it and the limits are nan where survival is 0.
    """

    steps: Steps
    survival: Floats
    std_error: Floats
    low: Floats
    high: Floats
    kind: Kind
    alpha: float

    @property
    def time(self) -> Floats:
        return self.steps.time

    def at(self, times: Any) -> Points:
        """Survival just after each of `times` (shape (times,)), with those at risk just before.

        After the last time survival is unknown (nan with a note), unless it is 0 already.
        """
        when = np.atleast_1d(np.asarray(times, np.float64))
        place = np.searchsorted(self.time, when, side="right")
        columns = {
            "estimate": np.append(1.0, self.survival)[place],
            "std_error": np.append(0.0, self.std_error)[place],
            "low": np.append(1.0, self.low)[place],
            "high": np.append(1.0, self.high)[place],
        }
        empty = len(self.time) == 0
        end = -math.inf if empty else float(self.time[-1])
        unknown = ~(when <= end) & (columns["estimate"] > 0.0)
        for values in columns.values():
            values[unknown] = np.nan
        notes = tuple(
            (NOBODY if empty else BEYOND) if off else self._note(columns["estimate"][i], low)
            for i, (off, low) in enumerate(zip(unknown, columns["low"], strict=True))
        )
        return Points(when, self.steps.at_risk_at(when), **columns, notes=notes)

    def _note(self, survival: float, low: float) -> str | None:
        if survival == 0.0:
            return ALL_HAD_IT
        return NO_EVENT_YET if survival == 1.0 and math.isnan(low) else None

    def quantiles(self, p: Sequence[float] | Floats = (0.25, 0.5, 0.75)) -> Quantiles:
        """The times at which survival falls to 1 - p, with Brookmeyer and Crowley's limits.

        Where survival equals 1 - p over an interval, its middle; the limits are the same of the
        lower and upper confidence limits of survival. ValueError unless 0 <= p <= 1.
        Source: Brookmeyer and Crowley (1982), Biometrics 38, 29-41.
        """
        share = np.atleast_1d(np.asarray(p, np.float64))
        if not np.all((share >= 0.0) & (share <= 1.0)):
            raise ValueError("p must lie in 0 .. 1")
        found = [_crossing(self.time, s, share) for s in (self.survival, self.low, self.high)]
        return Quantiles(share, *found)


def kaplan_meier(
    steps: Steps, kind: Kind = "log-log", alpha: float = 0.05, cause: int | None = 1
) -> Curve:
    """Product of (1 - d / n), with Greenwood's error S sqrt(sum d / (n (n - d))).

    Events of other causes than `cause` end the time at risk as censoring does; None: any cause.
    Source: Kaplan and Meier (1958), JASA 53, 457-481; Greenwood (1926).
    """
    n, d = steps.at_risk.astype(np.float64), steps.happened(cause).astype(np.float64)
    survival = np.asarray(np.cumprod((n - d) / n), np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(np.cumsum(d / (n * (n - d))))
        std_error = np.where(survival == 0.0, np.nan, survival * relative)
    return _curve(steps, survival, std_error, kind, alpha)


def fleming_harrington(
    steps: Steps,
    kind: Kind = "log-log",
    alpha: float = 0.05,
    cause: int | None = 1,
    one_by_one: bool = False,
) -> Curve:
    """exp(-cumulative hazard), with the error of the hazard by the delta method.

    Source: Fleming and Harrington (1984), Communications in Statistics 13, 2469-2486.
    """
    hazard = nelson_aalen(steps, cause, one_by_one=one_by_one)
    survival = np.asarray(np.exp(-hazard.hazard), np.float64)
    return _curve(steps, survival, survival * hazard.std_error, kind, alpha)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CumulativeHazard:
    """The cumulative hazard and its standard error at the times of the steps, [T]."""

    time: Floats
    hazard: Floats
    std_error: Floats

    def at(self, times: Any) -> tuple[Floats, Floats]:
        """Hazard and error just after each of `times`; 0 before the first, nan after the last."""
        when = np.atleast_1d(np.asarray(times, np.float64))
        place = np.searchsorted(self.time, when, side="right")
        off = ~(when <= (self.time[-1] if len(self.time) else -math.inf))
        found = [np.append(0.0, v)[place] for v in (self.hazard, self.std_error)]
        for values in found:
            values[off] = np.nan
        return found[0], found[1]


def nelson_aalen(
    steps: Steps, cause: int | None = 1, binomial: bool = False, one_by_one: bool = False
) -> CumulativeHazard:
    """Sum of d / n, with the variance sum d / n^2, or `binomial` sum d (n - d) / n^3.

    `one_by_one`: tied events are taken in turn, 1 / n + 1 / (n - 1) + ..., and so their squares.
    Source: Aalen (1978), Annals of Statistics 6, 701-726; Klein (1991), Scandinavian Journal of
    Statistics 18, 333-340, compares the variances (the first is the less biased).
    """
    n, d = steps.at_risk.astype(np.float64), steps.happened(cause).astype(np.float64)
    if one_by_one:
        if binomial:
            raise ValueError("tied events in turn have no binomial variance")
        turns = [1.0 / (at - np.arange(tied)) for at, tied in zip(n, d, strict=True)]
        jump, square = (np.array([float((t**k).sum()) for t in turns]) for k in (1, 2))
    else:
        jump, square = d / n, d * (n - d) / n**3 if binomial else d / n**2
    return CumulativeHazard(steps.time, np.cumsum(jump), np.sqrt(np.cumsum(square)))


def hazard_by_day(
    steps: Steps, days: Any = None, cause: int | None = 1, alpha: float = 0.05
) -> Points:
    """Events per unit at risk at each of `days` (default: the steps' times), Wilson's interval.

    A day when nobody was at risk has no hazard. The standard error is the binomial one.
    Source: Wilson (1927), Journal of the American Statistical Association 22, 209-212.
    """
    when = steps.time if days is None else np.atleast_1d(np.asarray(days, np.float64))
    at_risk = steps.at_risk_at(when)
    place = np.searchsorted(steps.time, when)
    same = np.append(steps.time, np.nan)[place] == when
    d = np.where(same, np.append(steps.happened(cause), 0)[place], 0)
    n = np.where(at_risk > 0, at_risk, np.nan)
    share = d / n
    low, high = wilson(d, n, alpha)
    error = np.sqrt(share * (1 - share) / n)
    notes = tuple(None if a else BEYOND for a in at_risk)
    return Points(when, at_risk, share, error, low, high, notes)


def difference_at(arm: Curve, base: Curve, times: Any, alpha: float = 0.05) -> tuple[Estimate, ...]:
    """Survival of `arm` less that of `base` at each of `times`, independent groups, by Wald's test.

    Variance: the sum of Greenwood's. Where a curve has no number or no error the note says why.
    """
    one, two = arm.at(times), base.at(times)
    found = []
    for i in range(len(one.time)):
        gap = float(one.estimate[i] - two.estimate[i])
        both = math.hypot(one.std_error[i], two.std_error[i])
        result = wald(gap, both, alpha)
        if result.note == NO_ERROR:
            result = dataclasses.replace(result, note=_first_note(one.notes[i], two.notes[i]))
        found.append(result)
    return tuple(found)


def _first_note(*notes: str | None) -> str:
    return next((n for n in notes if n is not None and n != NO_EVENT_YET), NO_ERROR)


def _curve(steps: Steps, survival: Floats, std_error: Floats, kind: Kind, alpha: float) -> Curve:
    low, high = limits(survival, std_error, kind, alpha)
    return Curve(steps, survival, std_error, low, high, kind, alpha)


def _crossing(time: Floats, survival: Floats, p: Floats) -> Floats:
    """The times at which 1 - `survival` reaches `p`; the middle of an interval where it is p."""
    at = np.append(0.0, time)
    share = np.append(0.0, 1.0 - survival)
    end, last = at[-1], share[-1]
    share, first = np.unique(share, return_index=True)
    known = ~np.isnan(share)
    share, at = share[known], np.append(at[first][known], np.nan)
    reached = at[np.searchsorted(share + TOLERANCE, p, side="left")]
    passed = at[np.searchsorted(share - TOLERANCE, p, side="left")]
    found = (reached + passed) / 2.0
    found = np.where(np.abs(p - last) < TOLERANCE, (reached + end) / 2.0, found)
    return np.where(p == 0.0, 0.0, found)
