"""Sums over customers of repeated events, by group, in; their means compared out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from retention_lab.data.repeats import Repeats
from retention_lab.data.sums import Floats
from retention_lab.survival.intervals import critical
from retention_lab.survival.recurrent import (
    NO_EVENTS,
    NO_VARIANCE,
    TOO_FEW,
    Process,
    Value,
    mean_cumulative,
    process,
    unknown,
)

ONE_GROUP = "one_group: there is nothing to compare with"


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """A test of groups' mean cumulative functions; `scores` by group, in their order."""

    statistic: float | None = None
    df: int | None = None
    p_value: float | None = None
    scores: tuple[float, ...] = ()
    note: str | None = None


def differences(
    arm: Repeats | Process, base: Repeats | Process, days: Sequence[float], alpha: float = 0.05
) -> list[Value]:
    """M of `arm` less M of `base` on chosen days; the groups share no customer."""
    one, two = (mean_cumulative(g, alpha).at(days) for g in (arm, base))
    return [_compared(a, b, alpha) for a, b in zip(one, two, strict=True)]


def equal_means(
    groups: Mapping[Any, Repeats | Process] | Sequence[Repeats | Process], tau: float
) -> Test:
    """Robust test that K groups have the same mean cumulative function up to `tau`.

    U_g = sum over s <= tau of (dN_g - Y_g dN / Y), where dN and Y are of all groups: most powerful
    where rates are proportional. U' V^-1 U is chi-squared with K - 1 degrees of freedom; V adds up
    squares of what each customer contributes, so that events of one customer may depend on each
    other in any way. Source: Lawless and Nadeau (1995), section 3; Cook, Lawless and Nadeau (1996),
    "Robust tests for treatment comparisons based on recurrent event responses", Biometrics 52(2),
    557-571.
    """
    given = groups.values() if isinstance(groups, Mapping) else groups
    parts = [g if isinstance(g, Process) else process(g) for g in given]
    parts = [p for p in parts if p.customers]
    if len(parts) < 2:
        return Test(note=ONE_GROUP)
    note = next((n for p in parts if (n := unknown(p, tau))), None)
    if note is not None or min(p.customers for p in parts) < 2:
        return Test(note=note or TOO_FEW)
    time = np.unique(np.concatenate([p.time for p in parts]))
    time = time[time <= tau]
    grown = [_until(p, tau).on(time) for p in parts]
    coefficients = _coefficients(parts, time)
    scores = np.array(
        [
            sum(row @ p.increments for row, p in zip(rows, grown, strict=True))
            for rows in coefficients
        ]
    )
    variance = np.zeros((len(parts), len(parts)))
    for i, p in enumerate(grown):
        variance += coefficients[:, i] @ p.spread @ coefficients[:, i].T
    kept = slice(1, None)
    scale = np.sqrt(np.maximum(np.diag(variance), 0.0))
    if not np.all(scale[kept] > 0.0):
        return Test(note=NO_EVENTS if not len(time) else NO_VARIANCE, scores=tuple(scores))
    z = scores[kept] / scale[kept]
    correlation = variance[kept, kept] / scale[kept][:, None] / scale[kept]
    statistic = float(z @ np.linalg.pinv(correlation, hermitian=True) @ z)
    df = int(np.linalg.matrix_rank(correlation, hermitian=True))
    return Test(statistic, df, float(special.chdtrc(df, statistic)), tuple(map(float, scores)))


def _coefficients(parts: Sequence[Process], time: Floats) -> Floats:
    """What each group's increments count in each score: [score, group, time]."""
    count = len(parts)
    out = np.zeros((count, count, len(time)))
    at_risk = np.array([p.at_risk_at(time) for p in parts])
    whole = at_risk.sum(axis=0)
    for g in range(count):
        for h in range(count):
            out[g, h] = ((g == h) - at_risk[g] / whole) * at_risk[h]
    return out


def _compared(a: Value, b: Value, alpha: float) -> Value:
    if a.estimate is None or b.estimate is None:
        return Value(a.day, note=a.note or b.note)
    estimate = a.estimate - b.estimate
    error = math.hypot(a.std_error or 0.0, b.std_error or 0.0)
    notes = {a.note, b.note}
    if error == 0.0 or TOO_FEW in notes:
        return Value(a.day, estimate, note=TOO_FEW if TOO_FEW in notes else a.note or b.note)
    half = critical(alpha) * error
    p_value = 2.0 * float(special.ndtr(-abs(estimate) / error))
    return Value(a.day, estimate, error, estimate - half, estimate + half, p_value)


def _until(p: Process, tau: float) -> Process:
    used = p.time <= tau
    parts = {k: getattr(p, k)[used] for k in ("time", "at_risk", "events")}
    return dataclasses.replace(p, spread=p.spread[np.ix_(used, used)], **parts)
