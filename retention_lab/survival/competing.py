"""Steps with several causes in; the cumulative incidence of one of them with limits out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from retention_lab.survival.curves import BEYOND, NOBODY, Points
from retention_lab.survival.intervals import NO_ERROR, Estimate, Kind, limits, wald
from retention_lab.survival.steps import Floats, Steps

NONE_YET = "no_event_yet: nobody has had this event by then, so there is no interval"
CERTAIN = "certain: everybody has had this event, so there is no interval"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Incidence:
    """Share of units in which `cause` has happened, at the T times of `steps`; 0 before the first.

    Right-continuous; the limits are nan where the transformation has no value.
    """

    steps: Steps
    cause: int
    incidence: Floats
    std_error: Floats
    low: Floats
    high: Floats
    event_free: Floats
    kind: Kind
    alpha: float

    @property
    def time(self) -> Floats:
        return self.steps.time

    def at(self, times: Any) -> Points:
        """Incidence just after each of `times` (shape (times,)), with those at risk just before.

        After the last time it is unknown (nan with a note), unless nobody was left.
        """
        when = np.atleast_1d(np.asarray(times, np.float64))
        place = np.searchsorted(self.time, when, side="right")
        values = (self.incidence, self.std_error, self.low, self.high)
        columns = [np.asarray(np.append(0.0, v)[place], np.float64) for v in values]
        empty = len(self.time) == 0
        end = -math.inf if empty else float(self.time[-1])
        unknown = ~(when <= end) & (np.append(1.0, self.event_free)[place] > 0.0)
        for column in columns:
            column[unknown] = np.nan
        notes: list[str | None] = []
        estimate, error, low, high = columns
        for off, share, lower in zip(unknown, estimate, low, strict=True):
            reason = (NONE_YET if share == 0.0 else CERTAIN) if math.isnan(lower) else None
            notes.append((NOBODY if empty else BEYOND) if off else reason)
        at_risk = self.steps.at_risk_at(when)
        return Points(when, at_risk, estimate, error, low, high, tuple(notes))


def cumulative_incidence(
    steps: Steps, cause: int = 1, kind: Kind = "log-log", alpha: float = 0.05
) -> Incidence:
    """Aalen and Johansen's estimate F_k = sum S(t-) d_k / n, S the share without any event.

    Its variance is of Greenwood's type, with the multinomial covariance of tied causes. For
    h = d / n, h_k = d_k / n, at each time

        Var F_k  grows by  2 h_k Cov(S, F_k) + h_k^2 Var S + S^2 h_k (1 - h_k) / n

    with Var S by Greenwood and Cov(S, F_k) / S growing by h_k Var S / S - S h_k / n, everything on
    the right just before that time. Without late entry it equals the infinitesimal jackknife.
    Raises ValueError where `cause` is not one of the steps' causes.
    Source: Aalen and Johansen (1978), Scandinavian Journal of Statistics 5, 141-150; Andersen,
    Borgan, Gill and Keiding (1993), Statistical Models Based on Counting Processes, section IV.4.
    """
    n, d = steps.at_risk.astype(np.float64), steps.total.astype(np.float64)
    share = steps.happened(cause) / n
    after = np.asarray(np.cumprod((n - d) / n), np.float64)
    free = np.append(1.0, after)[:-1]
    left = n - d
    relative = np.cumsum(np.divide(d, n * left, out=np.zeros_like(d), where=left > 0))
    relative = np.append(0.0, relative)[:-1]  # Var S / S^2
    both = np.append(0.0, np.cumsum(share * (free * relative - free / n)))[:-1]  # Cov / S
    grows = 2.0 * share * free * both + (share * free) ** 2 * relative
    variance = np.cumsum(grows + free**2 * share * (1.0 - share) / n)
    incidence = np.cumsum(free * share)
    std_error = np.sqrt(np.maximum(variance, 0.0))
    low, high = limits(incidence, std_error, kind, alpha)
    return Incidence(steps, cause, incidence, std_error, low, high, after, kind, alpha)


def difference_at(
    arm: Incidence, base: Incidence, times: Any, alpha: float = 0.05
) -> tuple[Estimate, ...]:
    """Incidence in `arm` less that in `base` at `times`, independent groups, Wald's test."""
    one, two = arm.at(times), base.at(times)
    found = []
    for i in range(len(one.time)):
        gap = float(one.estimate[i] - two.estimate[i])
        result = wald(gap, math.hypot(one.std_error[i], two.std_error[i]), alpha)
        if result.note == NO_ERROR:
            why = next((n for n in (one.notes[i], two.notes[i]) if n in (NOBODY, BEYOND)), NO_ERROR)
            result = dataclasses.replace(result, note=why)
        found.append(result)
    return tuple(found)
